"""The notebooks run, with the small values that each names in its metadata, and are kept as they
should be: without outputs, and with a page in the documentation that shows the same cells.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ids = [file.stem for file in NOTEBOOKS]
assert ids


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=ids)
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own assertions hold, too."""
    monkeypatch.chdir(tmp_path)
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    notebook = read(file)
    tiny, known = notebook["metadata"]["parfait"]["tiny"], {"__name__": file.stem}
    for cell in code(notebook):
        exec(compile(source(cell), str(file), "exec"), known)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert tiny.keys() <= known.keys(), "a small value of no setting"
            known |= tiny
    matplotlib.use(backend)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=ids)
def test_a_notebook_holds_no_outputs_and_its_page_shows_its_cells(file: Path) -> None:
    """A page is remade by ``scripts/render_notebooks.py``."""
    notebook = read(file)
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code(notebook))
    page = (ROOT / "docs" / "notebooks" / f"{file.stem}.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)\n```", page, flags=re.DOTALL)
    assert [ast.dump(ast.parse(text)) for text in shown] == [
        ast.dump(ast.parse(source(cell))) for cell in code(notebook)
    ]
    assert "/tmp/" not in page
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / "notebooks" / name).is_file()
