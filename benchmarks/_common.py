"""What the benchmarks share: tables, files, and honest timing."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from parfait.microstructure import Microstructure
from parfait.utils.errors import UserError


def load_model(run: str) -> Microstructure:
    """``embedded`` or a training run's folder."""
    return Microstructure.load(None if run == "embedded" else run)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads (the benchmarks use one)."""
    start = time.process_time()
    work()
    return time.process_time() - start


@dataclass
class Table:
    """Rows of text under named columns; prints itself and becomes markdown."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """One row; floats get three decimals."""
        self.rows.append(tuple(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells))

    def print(self) -> None:
        """On the terminal; numbers to the right."""
        table = RichTable(title=self.title, title_justify="left")
        for i, name in enumerate(self.columns):
            table.add_column(name, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        Console(width=None if Console().is_terminal else 200).print(table)

    def markdown(self) -> str:
        """The table for a document."""
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in (self.columns, *self.rows)]
        rule = ["---"] + ["---:"] * (len(self.columns) - 1)
        lines = [f"| {' | '.join(cells)} |" for cells in (escaped[0], rule, *escaped[1:])]
        return f"### {self.title}\n\n" + "\n".join(lines) + "\n"


def write_results(folder: str, name: str, tables: list[Table], data: dict[str, Any]) -> None:
    """``name.md`` with the tables and ``name.json`` with the numbers."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text("\n".join(table.markdown() for table in tables))
    (out / f"{name}.json").write_text(json.dumps(data, indent=1))
    print(f"wrote {out / name}.md and .json")


def run(main: Callable[[], None]) -> None:
    """``main``; a mistake of the user is one sentence and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
