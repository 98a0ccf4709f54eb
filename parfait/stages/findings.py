"""Results of stages as numbers and tables that a dashboard compares."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from parfait.bars import BAR_COLUMNS
from parfait.utils.tracking import Tracker, flat_numbers

if TYPE_CHECKING:
    from parfait.basket import Basket
    from parfait.simulation import Simulation

_ROWS = 2000  # of a table at most
_SYMBOLS = 4  # whose bars are shown
_LAST = 60  # of their bars

Rows = list[dict[str, Any]]


class Simulations:
    """What the instructions of a job came to, for its loggers and its lineage.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: list[dict[str, Any]] = []
        self._outputs: dict[str, Path] = {}
        self._figures: list[Path] = []

    def add(
        self, result: "Simulation | Basket", seconds: Mapping[str, float], files: Sequence[Path]
    ) -> None:
        """Adds an instruction.

        Args:
            result: what came of it.
            seconds: of what lies around the pipeline.
            files: that were written: figures, the page, and what later stages read.
        """
        self.found.append(simulation_findings(result, seconds))
        self._figures += [file for file in files if file.suffix == ".png"]
        # Not what tells how long it took: equal runs have equal lineage.
        kept = [f for f in files if f.name != "summary.json" and f.suffix not in (".png", ".html")]
        self._outputs |= {file.relative_to(self.folder).as_posix(): file for file in kept}

    def report(self, tracker: Tracker) -> None:
        """Tells the loggers, and writes the lineage."""
        told = joined(self.found)
        tracker.report(**told, kind="scenarios", outputs=self._outputs, figures=self._figures)


def simulation_findings(
    result: "Simulation | Basket", seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``metrics`` and ``tables`` (regimes asked for and found, candles) of one instruction.

    Args:
        result: what came of it.
        seconds: of what lies around the pipeline.
    """
    simulations = getattr(result, "simulations", {"": result})
    one = next(iter(simulations.values()))
    told = result.summary()
    kept = ("n_paths", "horizon", "bars_per_year", "checks", "risk", "assets")
    metrics = {name: told[name] for name in kept if name in told}
    metrics |= {
        "scenarios": len(one.resolved.components),
        "confidence": min(s.scenarios.confidence for s in simulations.values()),
        "warnings": len(result.warnings),
        "seconds": {**one.seconds, **seconds},
    }
    regimes: Rows = []
    candles: Rows = []
    for symbol, s in simulations.items():
        names = [c.name for c in s.resolved.components]
        regimes += [
            {
                "symbol": symbol,
                "scenario": "all" if a.scenario is None else names[a.scenario],
                "field": a.field,
                "requested": a.requested,
                "recovered": a.recovered,
                "standard_error": a.standard_error,
            }
            for a in s.alignment
        ]
        first = s.bars.group_by("scenario", maintain_order=True).agg(pl.col("path").first())
        shown = s.bars.filter(pl.col("path").is_in(first["path"].implode()))
        candles += _rows(shown.head(_ROWS), symbol=symbol)
    return {"metrics": metrics, "tables": {"regimes": regimes, "candles": candles}}


def joined(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Findings of several instructions as those of one job: means, and tables with their number."""
    if len(found) == 1:
        return dict(found[0])
    numbers = [dict(flat_numbers(f["metrics"])) for f in found]
    shared = [name for name in numbers[0] if all(name in other for other in numbers)]
    means = {name: sum(n[name] for n in numbers) / len(numbers) for name in shared}
    tables = {
        name: [
            {"instruction": k, **row} for k, f in enumerate(found, 1) for row in f["tables"][name]
        ]
        for name in found[0]["tables"]
    }
    each = [{"instruction": k, **{n: row[n] for n in shared}} for k, row in enumerate(numbers, 1)]
    tables = {"by_instruction": each} | {name: rows[:_ROWS] for name, rows in tables.items()}
    return {"metrics": {"instructions": len(found), **means}, "tables": tables}


def label_findings(
    summary: Mapping[str, Any], reports: Iterable[Mapping[str, Any]], made: int, bars: list[Path]
) -> dict[str, Any]:
    """``metrics`` (sizes, what was wrong with the rows) and ``tables`` (symbols, candles).

    Args:
        summary: of ``write_overview``.
        reports: of the loader, per symbol.
        made: symbols labelled by this job.
        bars: files of bars.
    """
    quality = {"rows_in": 0, "rows_out": 0, "dropped": 0, "repaired": 0, "flagged": 0}
    for report in reports:
        for name in quality:
            told = report[name]
            quality[name] += told if name in ("rows_in", "rows_out") else _count(told)
    sizes = ("symbols", "bars", "windows", "effective_windows", "longest_segment")
    metrics = {name: summary[name] for name in sizes} | {
        "labelled_now": made,
        "symbols_without_window": len(summary["symbols_without_window"]),
        "failed": len(summary["failed"]),
        "quality": quality | {"kept": quality["rows_out"] / max(quality["rows_in"], 1)},
    }
    symbols = [{"symbol": symbol, **told} for symbol, told in summary["files"].items()]
    candles: Rows = []
    for file in bars[:_SYMBOLS]:
        candles += _rows(pl.read_parquet(file).tail(_LAST), symbol=file.stem)
    return {"metrics": metrics, "tables": {"symbols": symbols[:_ROWS], "candles": candles}}


def distill_findings(card: Mapping[str, Any], examples: pl.DataFrame) -> dict[str, Any]:
    """``metrics`` (sizes, splits, what was thrown away) and ``tables`` (hashes, a sample)."""
    counts = {name: card["counts"][name] for name in ("split", "kind", "language")}
    sizes = ("examples", "distinct_texts", "pairs", "thrown_away")
    hashes = {"examples": card["sha256"], **card["hashes"]}
    shown = examples.head(_LAST).select("text", "language", "kind", "split", "target")
    return {
        "metrics": {**{name: card[name] for name in sizes}, **counts},
        "tables": {
            "hashes": [{"name": name, "sha256": told} for name, told in hashes.items()],
            "examples": shown.to_dicts(),
        },
    }


def _count(told: Mapping[str, Mapping[str, int]]) -> int:
    return sum(entry["count"] for entry in told.values())


def _rows(frame: pl.DataFrame, symbol: str) -> Rows:
    columns = [name for name in ("path", "scenario", "step") if name in frame.columns]
    return [{"symbol": symbol, **row} for row in frame.select(*columns, *BAR_COLUMNS).to_dicts()]
