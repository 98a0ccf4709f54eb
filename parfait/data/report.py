"""What a loader did to a file: counted, with the first rows concerned, never silent."""

from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SHOWN_ROWS = 5


@dataclass
class LoadReport:
    """The account of one ``load_bars`` call.

    ``rows_in == rows_out + the counts of dropped + repaired["exact duplicates"]`` always holds.

    Args:
        path: the file.
        sha256: of its bytes as they lie on disk.
        rows_in, rows_out: data rows read and bars returned.
        columns: role ("time", "open", ...) -> name in the file.
        ignored_columns: names that play no role.
        symbols: names of the series returned.
        time_format: how times were written.
        timezone: what their clock was taken to be.
        bars_per_year: estimated from the result.
        segments: runs of bars without a long gap.
        repaired, dropped, flagged: reason -> {"count": rows, "rows": the first five row numbers},
            line numbers of a text file (the header is line 1), positions from 1 in a Parquet file.
        notes: sentences.
    """

    path: str
    sha256: str = ""
    rows_in: int = 0
    rows_out: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    ignored_columns: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    time_format: str = ""
    timezone: str = ""
    bars_per_year: float = 0.0
    segments: int = 0
    repaired: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)
    flagged: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, category: str, reason: str, rows: list[int]) -> None:
        """Adds these rows to ``repaired``, ``dropped`` or ``flagged``; nothing for no rows."""
        if rows:
            entry = getattr(self, category).setdefault(reason, {"count": 0, "rows": []})
            entry["count"] += len(rows)
            entry["rows"] = sorted({*entry["rows"], *rows})[:SHOWN_ROWS]

    def merge(self, other: "LoadReport") -> "LoadReport":
        """The account of both: two series of one file. The longer series gives the frequency."""
        longer = max(self, other, key=lambda report: report.rows_out)
        total = replace(
            deepcopy(self),
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            symbols=[*self.symbols, *other.symbols],
            bars_per_year=longer.bars_per_year,
            segments=self.segments + other.segments,
            notes=[*self.notes, *other.notes],
        )
        for category in ("repaired", "dropped", "flagged"):
            for reason, entry in getattr(other, category).items():
                mine = getattr(total, category).setdefault(reason, {"count": 0, "rows": []})
                mine["count"] += entry["count"]
                mine["rows"] = sorted({*mine["rows"], *entry["rows"]})[:SHOWN_ROWS]
        return total

    @property
    def dropped_rows(self) -> int:
        """Rows left out for any reason, exact duplicates not among them."""
        return sum(entry["count"] for entry in self.dropped.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; categories without an entry are present and empty."""
        return asdict(self)

    def summary(self) -> str:
        """One readable line."""
        parts = [f"{self.path}: {self.rows_out} of {self.rows_in} rows"]
        for category in ("repaired", "dropped", "flagged"):
            entries: dict[str, dict[str, Any]] = getattr(self, category)
            if entries:
                listed = ", ".join(f"{reason} {e['count']}" for reason, e in entries.items())
                parts.append(f"{category} {listed}")
        parts.append(f"{self.bars_per_year:g} bars a year in {self.segments} segment(s)")
        return "; ".join(parts)
