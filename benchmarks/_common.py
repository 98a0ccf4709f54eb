"""What the benchmarks share: the held-out windows, tables, files, and honest timing."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table as RichTable
from torch import Tensor

from parfait.data import WindowIndex, embedded_bars, make_segments, split_windows
from parfait.microstructure import Microstructure
from parfait.sde import Guide

HISTORY, HORIZON, EVERY = 60, 32, 4
TRAIN_END = "2014-12-31"
_DAY_MICROSECONDS = 86_400_000_000
PURGE_DAYS = round((HISTORY + HORIZON) * 365.25 / 252)
QUARTER_DAYS = 91


@dataclass(frozen=True)
class Windows:
    """Real windows: 61 bars of history (60 returns), 32 bars of future, end of history in days."""

    history: Tensor
    future: Tensor
    days: Tensor
    bars_per_year: float

    def __len__(self) -> int:
        return len(self.days)

    def rows(self, rows: Tensor) -> "Windows":
        """A subset."""
        picked = self.history[rows], self.future[rows], self.days[rows]
        return Windows(*picked, self.bars_per_year)

    def guide(self, every: int = EVERY) -> Guide:
        """The true closes as guide, anchored every ``every`` bars and at the last."""
        anchored = torch.zeros(self.future.shape[:2], dtype=torch.bool)
        anchored[:, every - 1 :: every] = True
        anchored[:, -1] = True
        return Guide(self.future[..., 3].clone(), anchored)


def load_windows(stride: int = 2, train_stride: int = 8) -> tuple[Windows, Windows]:
    """(train, held out) windows of the embedded data, cut at ``TRAIN_END`` with an embargo."""
    segments = make_segments(embedded_bars())
    train, held = split_windows(segments, HISTORY + 1, HORIZON, TRAIN_END)
    return _gather(train, train_stride), _gather(held, stride)


def _gather(index: WindowIndex, stride: int) -> Windows:
    rows = torch.arange(0, len(index), stride)
    bars = index.gather(rows)
    days = index.last_time(rows) // _DAY_MICROSECONDS
    frequency = float(index.bars_per_year(rows[:1])[0])
    return Windows(bars[:, : HISTORY + 1], bars[:, HISTORY + 1 :], days, frequency)


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
