"""The wheel carries its configuration and data, and works from anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the wheel is built with hatchling")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.slow
def test_everything_that_is_read_at_run_time_is_inside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for pattern, folder, inside in [
        ("*.yaml", "conf", "parfait/conf"),
        ("*.yaml", "parfait/semantic", "parfait/semantic"),
        ("*.parquet", "parfait/data/embedded", "parfait/data/embedded"),
        ("*.safetensors", "parfait/pretrained", "parfait/pretrained"),
        ("*.j2", "parfait/report", "parfait/report"),
        ("*.py", "parfait", "parfait"),
    ]:
        files = [p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob(pattern)]
        files = [p for p in files if p.parts[0] != "local"]
        assert files, f"no {pattern} in {folder}"
        assert {f"{inside}/{p.as_posix()}" for p in files} <= names
    assert "parfait/py.typed" in names
    assert not [n for n in names if n.startswith(("tests/", "conf/")) or n.endswith(".pyc")]
    assert wheel.stat().st_size < 20e6


@pytest.mark.slow
def test_commands_work_from_the_wheel_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(installed)}
    for arguments in (
        ["train", "--cfg", "job", "model=unet1d_tiny"],
        ["simulate", "--cfg", "job", "A calm, quiet market"],
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "parfait", *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "output_dir:" in done.stdout
    assert "A calm, quiet market" in done.stdout
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "parfait = parfait.cli:main" in entry.read_text()
