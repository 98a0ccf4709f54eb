"""Executes the notebooks at their full settings and writes docs/notebooks/NAME.md with pictures.

python scripts/render_notebooks.py [NAME ...]
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
NOTEBOOKS, PAGES = ROOT / "notebooks", ROOT / "docs" / "notebooks"


def render(file: Path) -> Path:
    """Writes the page of one notebook; its outputs stay out of the notebook."""
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:  # logs name folders and times that no other run has
        shown = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"]
        cell.update({"outputs": shown} if cell.cell_type == "code" else {})
    page, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": file.stem, "output_files_dir": file.stem}
    )
    shutil.rmtree(PAGES / file.stem, ignore_errors=True)
    for name, data in resources["outputs"].items():
        (PAGES / name).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / name).write_bytes(data)
    target = PAGES / f"{file.stem}.md"
    page = page.replace("](../docs/", "](../")  # a page lies one folder deeper than a notebook
    page = re.sub(r"<style>.*?</style>\s*", "", page, flags=re.DOTALL)  # shown as text by many
    page = re.sub(r"[ \t]+$", "", page, flags=re.MULTILINE).strip()
    target.write_text(f"{page}\n", encoding="utf-8")
    return target


def main() -> None:
    """Renders those that are named, or all."""
    PAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")):
        print(f"wrote {render(NOTEBOOKS / f'{name}.ipynb')}")


if __name__ == "__main__":
    main()
