"""What was labelled, and what was wrong with the data: one summary, one table to read."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parfait.labelling.rolling import Rolling
from parfait.labelling.store import FAILED, LABELS, read_json
from parfait.utils.files import json_bytes, write_files

SUMMARY, QUALITY = "summary.json", "quality.txt"
_CATEGORIES = ("dropped", "repaired", "flagged")
_SHOWN = 40  # lines of the table on a terminal


def write_overview(folder: Path, settings: Rolling) -> tuple[dict[str, Any], str]:
    """Writes ``summary.json`` and ``quality.txt`` from the accounts that lie in ``folder``.

    From the accounts alone, so that shards that end in any order leave the same files.

    Returns:
        The summary, and the table as far as a terminal shows it.
    """
    while True:
        names = _names(folder)
        accounts = [a for f in names if f.parent.name == LABELS and (a := read_json(f))]
        failures = [a for f in names if f.parent.name == FAILED and (a := read_json(f))]
        summary = _summary(accounts, failures, settings)
        head, lines = _quality(accounts, failures)
        text = "\n".join([*head, *lines]) + "\n"
        write_files(folder, {SUMMARY: json_bytes(summary), QUALITY: text.encode()})
        if _names(folder) == names:  # else another shard ended meanwhile
            break
    shown = [*head, *lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f"... {len(lines) - _SHOWN} more lines in {folder / QUALITY}")
    return summary, "\n".join(shown)


def _names(folder: Path) -> list[Path]:
    return sorted([*(folder / LABELS).glob("*.json"), *(folder / FAILED).glob("*.json")])


def _summary(
    accounts: list[dict[str, Any]], failures: list[dict[str, Any]], settings: Rolling
) -> dict[str, Any]:
    labelled = [a for a in accounts if a["windows"]]
    return {
        "symbols": len(labelled),
        "symbols_without_window": [a["symbol"] for a in accounts if not a["windows"]],
        "failed": {key: text for a in failures for key, text in a["failed"].items()},
        "bars": sum(a["bars"] for a in accounts),
        "windows": sum(a["windows"] for a in accounts),
        "effective_windows": round(sum(a["effective_windows"] for a in accounts), 1),
        "longest_segment": max((a["longest_segment"] for a in accounts), default=0),
        "settings": asdict(settings),
        "files": {
            a["symbol"]: {
                name: a[name] for name in ("windows", "bars_per_year", "range_correction", "sha256")
            }
            for a in labelled
        },
    }


def _quality(
    accounts: list[dict[str, Any]], failures: list[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """Totals, and the table: a line per symbol and problem."""
    rows = [(a["symbol"], *problem) for a in accounts for problem in _problems(a)]
    for told in failures:
        rows += [(told["symbol"], "FAILED", "", sentence) for sentence in told["failed"].values()]
    faulty = {row[0] for row in rows}
    clean = sum(a["symbol"] not in faulty for a in accounts)
    rows_in = sum(a["report"]["rows_in"] for a in accounts)
    rows_out = sum(a["report"]["rows_out"] for a in accounts)
    head = [
        f"{len(accounts)} symbols, {rows_out} of {rows_in} rows kept; "
        f"{clean} symbols without a remark, {len(failures)} with a failure."
    ]
    if not rows:
        return head, []
    widths = [max(len(str(row[i])) for row in rows) for i in range(3)]
    lines = [
        f"{symbol:<{widths[0]}}  {what:<{widths[1]}}  {count!s:>{widths[2]}}  {reason}".rstrip()
        for symbol, what, count, reason in rows
    ]
    return head, lines


def _problems(account: dict[str, Any]) -> Iterator[tuple[str, object, str]]:
    report = account["report"]
    for category in _CATEGORIES:
        for reason, entry in report[category].items():
            first = ", ".join(map(str, entry["rows"]))
            yield category, entry["count"], f"{reason} (rows {first}{_more(entry)})"
    for note in report["notes"]:
        yield "note", "", note
    if not account["windows"]:
        longest = account["longest_segment"]
        yield "NO WINDOW", "", f"the longest run without a gap has {longest} bars"


def _more(entry: dict[str, Any]) -> str:
    return ", ..." if entry["count"] > len(entry["rows"]) else ""
