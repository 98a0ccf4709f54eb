"""Scores of an evaluation as tables: on the terminal, and as text for the page."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

TITLES = {
    "validity": "Validity: a gate, no score",
    "facts": "Stylised facts (returns in units of the history)",
    "facts distance": "Distance of facts from the real ones [sampling errors], below 2 within them",
    "memorisation": "Memorisation: nearest training windows; beside it what real windows get",
    "calibration": "Calibration of forecasts without an instruction (CRPS in training deviations)",
    "skill": "Skill of the forecast, 1 - CRPS / CRPS of the rival (above 0 is better)",
    "growth": "Growth of prices under a drift of 5 % a year",
    "control": "Control: regimes asked for, and recovered from the bars",
    "c2st": "C2ST: what judges get above a coin flip (0 indistinguishable, .5 certain)",
    "ablation": "What the history is worth: the network with it, and without",
    "rollout": "Long facts: paths of a year",
    "rollout distance": "Distance of the long facts from the real ones [sampling errors]",
    "legacy": "Legacy columns: the TimeGAN protocol, which a copy of the training set passes",
    "understanding": "Understanding: share of expectations that the reading meets",
    "topics": "Sign and order, by topic",
    "monotone": "Doses: a larger one moves the field further, 39 steps",
    "speed": "Speed [milliseconds]",
    "taught": "A teacher's mixtures on sentences that are held out (ceiling: the teacher itself)",
    "taught fields": "The same, field by field, over all held-out sentences",
    "taught weights": "Weights of the typed scenarios",
    "pairs": "Contrast pairs and paraphrases",
    "abstention": "Nonsense among instructions",
    "followed": "Dated events: what was said the day before, and what followed within 20 bars",
    "followed early": "The same, events up to 2011: effect sizes were fitted on them",
    "followed late": "The same, events from 2012 on: no size was fitted on them",
    "followed skill": "Skill on dated events, 1 - score / score of the rival (above 0 is better)",
    "followed by type": "Dated events by type; whatever is fitted has not seen the type",
}
Rows = dict[str, dict[str, dict[str, Any]]]  # row -> column -> score


def by_question(scores: Iterable[Mapping[str, Any]]) -> dict[str, Rows]:
    """question -> row -> column -> score, in order of appearance."""
    found: dict[str, Rows] = {}
    for score in scores:
        rows = found.setdefault(score["question"], {})
        rows.setdefault(score["row"], {})[score["column"]] = dict(score)
    return found


def laid_out(rows: Rows) -> Rows:
    """The table as it is shown: many columns of few rows lie on their side."""
    columns = columns_of(rows)
    if len(columns) <= max(len(rows), 8):
        return rows
    return {c: {name: row[c] for name, row in rows.items() if c in row} for c in columns}


def columns_of(rows: Rows) -> list[str]:
    """Columns of a table, in order of appearance."""
    return list(dict.fromkeys(column for row in rows.values() for column in row))


def number(value: float) -> str:
    """Three decimals where they say something, else two digits and a power of ten."""
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.3f}"


def cell_text(score: Mapping[str, Any] | None) -> str:
    """A number with its error, or why there is none."""
    if score is None:
        return ""
    if score["value"] is None:
        return f"n/a ({score['note']})" if score["note"] else "n/a"
    text = number(score["value"])
    text = text if score["error"] is None else f"{text} ± {number(score['error'])}"
    return f"{text} ({score['note']})" if score["note"] else text


def show(told: Mapping[str, Any], console: Console) -> None:
    """Prints a table for every question, cut where the terminal ends; files have 160 columns."""
    console = console if console.is_terminal else Console(file=console.file, width=160)
    for question, rows in by_question(told["scores"]).items():
        rows = laid_out(rows)
        title = TITLES.get(question, question)
        label = min(max(map(len, rows)), _LABEL)
        for columns in _fitting(rows, columns_of(rows), console.width):
            table = Table(title=Text(title), title_justify="left")
            table.add_column("", min_width=label)
            for column in columns:
                table.add_column(Text(column), justify="right")
            for name, row in rows.items():
                if any(column in row for column in columns):
                    cells = (Text(cell_text(row.get(column))) for column in columns)
                    table.add_row(Text(name), *cells)
            console.print(table)
            title = f"{TITLES.get(question, question)} (continued)"


_LABEL, _CELL = 42, 36  # characters; longer texts are folded


def _fitting(rows: Rows, columns: list[str], width: int) -> list[list[str]]:
    """Columns in groups that fit beside the names of the rows."""
    label = min(max(map(len, rows)), _LABEL) + 4
    groups: list[list[str]] = [[]]
    used = label
    for column in columns:
        texts = [column, *(cell_text(row.get(column)) for row in rows.values())]
        wide = min(max(map(len, texts)), _CELL) + 3
        if groups[-1] and used + wide > width:
            groups.append([])
            used = label
        groups[-1].append(column)
        used += wide
    return groups
