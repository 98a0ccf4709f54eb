"""The code on the how-to pages runs as it stands, its own assertions included."""

import re
from pathlib import Path

import pytest

from parfait.sde import PROCESSES

PAGES = sorted((Path(__file__).parents[1] / "docs" / "howto").glob("*.md"))
BLOCKS = {
    page: re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    for page in PAGES
}
assert any(BLOCKS.values())


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCKS[p]], ids=lambda p: p.stem)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in PROCESSES:  # a page adds one, which is to be gone afterwards
        monkeypatch.setitem(PROCESSES, name, PROCESSES[name])
    known = {"__name__": page.stem}
    for block in BLOCKS[page]:
        exec(compile(block, str(page), "exec"), known)
    PROCESSES.pop("cev", None)
