"""What a run starts from: the bars it continues, and the present state of that market."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from parfait.bars import (
    BAR_COLUMNS,
    BAR_FIELDS,
    bars_to_tensor,
    check_bars,
    estimate_bars_per_year,
)
from parfait.data import LoadReport, embedded_bars, load_bars
from parfait.labels import label_windows
from parfait.outlook import LOOK_BACK, outlook
from parfait.regime import MarketContext
from parfait.utils.errors import UserError

CONTEXT_BARS = 60  # bars that decide the present volatility and trend
MIN_BARS = 2  # one return
MIN_BARS_FOR_LABELS = 3
EMBEDDED = "SP500"


@dataclass(frozen=True, eq=False)
class History:
    """The bars of one series.

    Args:
        bars: valid bars with the columns ``BAR_COLUMNS``.
        name: where they come from, for a person.
        embedded: whether they are the series that ships with Parfait.
        warnings: what had to be mended on the way in.
        symbol: what the series is called; empty where it is the only one.
        source: the file they were read from, as it was given.

    Raises:
        UserError: invalid bars, or too few.
    """

    bars: pl.DataFrame
    name: str
    embedded: bool = False
    warnings: tuple[str, ...] = ()
    symbol: str = ""
    source: str | None = None

    def __post_init__(self) -> None:
        check_bars(self.bars, f"the history ({self.name})")
        if self.bars.height < MIN_BARS:
            raise UserError(
                f"the history ({self.name}) has {self.bars.height} bars; give at least {MIN_BARS}"
            )
        object.__setattr__(self, "bars", self.bars.select(BAR_COLUMNS))

    @classmethod
    def load(
        cls,
        source: pl.DataFrame | str | Path | None,
        options: Mapping[str, Any] | None = None,
    ) -> "list[History]":
        """A frame, a file (with ``options`` for its reader), or the embedded S&P 500 for ``None``.

        Returns:
            One history for each symbol that the source holds, in its order.

        Raises:
            UserError: the source cannot be read, holds invalid bars or too few.
        """
        if source is None:
            return [cls(embedded_bars()[EMBEDDED], "the embedded daily S&P 500", embedded=True)]
        if isinstance(source, pl.DataFrame):
            return cls._by_symbol(_typed(source), "the given frame")
        if isinstance(source, str | Path):
            frame, report = load_bars(source, **(options or {}))
            mended = mending_sentences(report)
            return cls._by_symbol(frame, Path(source).name, mended, str(source))
        raise UserError(
            f"the history is a {type(source).__name__}; give a polars frame or a file's path, or "
            "a mapping of symbols to them"
        )

    @classmethod
    def _by_symbol(
        cls,
        frame: pl.DataFrame,
        name: str,
        warnings: tuple[str, ...] = (),
        source: str | None = None,
    ) -> "list[History]":
        """What had to be mended is told once, with the first symbol."""
        if "symbol" not in frame.columns or frame["symbol"].n_unique() <= 1:
            return [cls(frame, name, warnings=warnings, source=source)]
        if frame["symbol"].null_count():
            raise UserError(f"the history ({name}) has bars without a symbol; name each bar's")
        found = []
        for part in frame.partition_by("symbol", maintain_order=True):
            symbol = str(part["symbol"][0])
            told = () if found else warnings
            found.append(cls(part, f"{symbol} of {name}", False, told, symbol, source))
        return found

    @property
    def label(self) -> str:
        """The symbol; of a series without one the stem of its file."""
        if self.symbol or self.embedded:
            return self.symbol or EMBEDDED
        return "history" if self.source is None else stem(Path(self.source))

    @property
    def last_close(self) -> float:
        """S_0, where the paths start."""
        return float(self.bars["close"][-1])

    def remarks(self, looked_back: int, asset_class: str) -> list[str]:
        """Sentences about what these bars cannot give.

        Args:
            looked_back: bars that the generator would use.
            asset_class: what the reading is about.
        """
        said = list(self.warnings)
        if self.bars.height < looked_back:
            said.append(
                f"The history has {self.bars.height} bars, fewer than the {looked_back} the model "
                "looks back on; it was used as it is."
            )
        if not (self.bars["volume"] > 0).any():
            said.append("The history has no volume, so the generated bars have none.")
        if self.embedded and asset_class not in ("equity", "stock"):
            said.append(
                f"The reading is about {asset_class}, but no history was given: the paths "
                "continue the embedded S&P 500."
            )
        return said

    def context(self, bars_per_year: float | None, asset: str | None) -> MarketContext:
        """Present total volatility, labelled on the most recent bars, their realised trend, and the
        outlook of the volatility from all of them.

        The trend is ln(C_n / C_1) a year: what "the trend continues" speaks of is what was seen. As
        an estimate of a drift it is far too sure, and the label of 60 bars keeps next to nothing.

        Args:
            bars_per_year: bar frequency; ``None`` estimates it from the timestamps.
            asset: asset class of the series, ``None`` when the sentence shall decide.

        Raises:
            UserError: the recent prices do not move.
        """
        frequency = (
            estimate_bars_per_year(self.bars["timestamp"])
            if bars_per_year is None
            else bars_per_year
        )
        known = MarketContext(asset_class=asset, bars_per_year=frequency)
        if self.bars.height < MIN_BARS_FOR_LABELS:
            return known
        recent = bars_to_tensor(self.bars.tail(CONTEXT_BARS)).unsqueeze(0)
        label, n = label_windows(recent, frequency), recent.shape[1]
        volatility = float(label.total_volatility[0])
        if not volatility > 0:
            raise UserError(
                f"the prices of {self.name} do not move in the last {n} bars, so there is nothing "
                "to continue; give bars that were traded"
            )
        return replace(
            known,
            volatility=volatility,
            trend=float((recent[0, -1, 3] / recent[0, 0, 3]).log()) * frequency / (n - 1),
            outlook=outlook(bars_to_tensor(self.bars.tail(LOOK_BACK)), frequency),
        )


def stem(path: Path) -> str:
    """A file's name without its suffixes, which is what its series is called."""
    return path.name[:-3].rsplit(".", 1)[0] if path.suffix.lower() == ".gz" else path.stem


def mending_sentences(report: LoadReport) -> tuple[str, ...]:
    """What the loader dropped, repaired or found odd in a file, a sentence for each reason."""
    name = Path(report.path).name
    said = []
    for verb in ("dropped", "repaired", "flagged"):
        for reason, entry in getattr(report, verb).items():
            rows = ", ".join(map(str, entry["rows"]))
            said.append(f"{name}: {entry['count']} row(s) {verb} ({reason}), first {rows}.")
    return (*said, *report.notes)


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the types of a frame of bars, where a plain cast gives them."""
    types = {"timestamp": pl.Datetime("us")} | dict.fromkeys(BAR_FIELDS, pl.Float64())
    try:
        return frame.cast({name: t for name, t in types.items() if name in frame.columns})
    except pl.exceptions.PolarsError as error:
        raise UserError(f"the history (the given frame) cannot be used: {error}") from error
