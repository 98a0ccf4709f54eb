"""The structure is a feature: imports point one way, and light layers stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "parfait"

# From left to right, as the data flow. A module may import its own row and those before it.
ORDER = [
    {"utils"},
    {"regime", "bars", "calendars"},
    {"data", "labels", "sde"},
    {"labelling"},
    {"semantic", "microstructure"},
    {"distill"},
    {"pipeline", "simulation", "conditions", "targets", "checks", "history"}
    | {"basket", "correlation", "courses", "draft", "guides", "histories", "likeness"}
    | {"outlook", "plan", "tables", "window_regimes"}
    | {"streaming", "holdings", "stress"},
    {"metrics", "report", "export", "envs"},
    {"play"},
    {"evaluation", "agents"},
    {"stages"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
# Layers of one row that know nothing of each other.
STRANGERS = [("data", "sde"), ("labels", "sde"), ("labels", "data"), ("semantic", "microstructure")]
HEAVY = {"lightning", "transformers", "peft", "wandb", "hydra", "matplotlib", "torchmetrics"}


def imports_of(file: Path) -> set[str]:
    """Top-level parts of parfait that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "parfait":
                names = [f"parfait.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("parfait.")}
    return found


def owner_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(f for f in PACKAGE.rglob("*.py") if f != PACKAGE / "__init__.py")


def test_every_part_has_its_place() -> None:
    assert {owner_of(f) for f in FILES} - {"pretrained"} <= set(RANK)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    owner = owner_of(file)
    for other in imports_of(file) - {"__version__", "Basket", "Pipeline", "Simulation"}:
        assert RANK[other] <= RANK[owner], f"{owner} must not import {other}"
        assert (owner, other) not in STRANGERS
        assert (other, owner) not in STRANGERS


@pytest.mark.parametrize(
    "module",
    [
        "regime",
        "bars",
        "data",
        "labels",
        "labelling",
        "sde",
        "semantic",
        "microstructure",
        "pipeline",
    ],
)
def test_importing_a_layer_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, parfait.{module}\n"
        f"print(sorted({HEAVY!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_package_itself_loads_nothing() -> None:
    code = "import sys, parfait; print('torch' in sys.modules, 'polars' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False False"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_stay_small(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 350
