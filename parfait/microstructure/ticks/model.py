"""``TickModel``: everything that turns bars into ticks, and the table it makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from parfait.bars import BAR_FIELDS, check_bars
from parfait.microstructure.ticks.intraday import Intraday, parametric_day
from parfait.microstructure.ticks.refine import Draws, narrowed, refine
from parfait.microstructure.ticks.sessions import Session, clock, read_session
from parfait.microstructure.ticks.spread import MAX_SPREAD, MIN_SPREAD, choose_spread
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed

TICK_COLUMNS = ("path", "step", "tick", "timestamp", "price", "bid", "ask", "size")
MAX_TICKS = 200_000_000  # rows of one table, 6 GB of parquet
DEFAULT_TICKS = 100
_MOST_PER_BAR = 100_000
_BATCH = 200_000  # ticks refined at a time
_SMALLEST, _LARGEST = 1e-290, 1e290  # of prices and volumes: below, float64 loses places


@dataclass(frozen=True, kw_only=True, eq=False)
class TickModel:
    """How bars are refined into ticks.

    Args:
        per_bar: ticks of every bar.
        spread: S = log ask - log bid.
        spread_source: where it comes from, for a person.
        persistence: phi, correlation of the sides of neighbouring trades.
        day: shape of the session.
        session: its hours, and the length of a bar.
        seed, symbol: what the randomness comes from, beside the number of the path.
        command: settings of ``simulate.py`` that asked for it.

    Raises:
        UserError: a setting outside its bounds.
    """

    per_bar: int
    spread: float
    spread_source: str
    persistence: float
    day: Intraday
    session: Session
    seed: int = 0
    symbol: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.per_bar, bool) or not isinstance(self.per_bar, int):
            raise UserError(f"ticks.per_bar={self.per_bar!r} must be a whole number")
        if self.per_bar < 4:
            raise UserError(
                f"ticks.per_bar={self.per_bar} must be at least 4: the open, the high, the low and "
                "the close are trades of their own"
            )
        require("ticks.per_bar", self.per_bar, 4, _MOST_PER_BAR)
        require("ticks.spread", self.spread, MIN_SPREAD, MAX_SPREAD)
        require("ticks.persistence", self.persistence, 0, 0.95)

    @classmethod
    def of(
        cls,
        bars: pl.DataFrame,
        history: pl.DataFrame | None = None,
        *,
        per_bar: int = DEFAULT_TICKS,
        spread: float | None = None,
        persistence: float = 0.0,
        day: Intraday | None = None,
        session: str | None = None,
        seed: int = 0,
        symbol: str = "",
        command: str = "",
    ) -> "TickModel":
        """The model for some bars.

        Args:
            bars: the bars that will be refined; without ``history`` their times tell the session.
            history: bars before them, which tell the session and, by EDGE, the spread.
            per_bar: ticks of every bar, at least 4.
            spread: S = log ask - log bid; ``None`` is that of ``day``, else by ``choose_spread``.
            persistence: phi in [0, 0.95].
            day: of ``learn_day``; ``None`` is the parametric one.
            session: "09:30-16:00", the clock of the timestamps.
            seed, symbol: what the randomness comes from, beside the number of the path.
            command: settings of ``simulate.py`` that ask for it.

        Raises:
            UserError: a setting outside its bounds, or bars without an intraday session.
        """
        times = (bars if history is None else history)["timestamp"]
        if history is None and "path" in bars.columns:
            times = bars.filter(pl.col("path") == bars["path"][0])["timestamp"]
        hours = read_session(times, session, None if day is None else day.session)
        source = "given"
        if spread is None and day is not None and day.spread is not None:
            spread, source = min(max(day.spread, MIN_SPREAD), MAX_SPREAD), "EDGE of minute bars"
        elif spread is None:
            spread, source = choose_spread(history, bars)
        if day is not None and isinstance(per_bar, int):
            day = day.for_rate(per_bar * hours.bars)
        return cls(
            per_bar=per_bar,
            spread=float(spread),
            spread_source=source,
            persistence=float(persistence),
            day=parametric_day(hours.round_the_clock) if day is None else day,
            session=hours,
            seed=seed,
            symbol=symbol,
            command=command,
        )

    def describe(self, bars: pl.DataFrame) -> dict[str, Any]:
        """Plain data for ``summary.json`` and the metadata of the table."""
        narrow = narrowed(bars.select(BAR_FIELDS).to_numpy(), self.spread)
        hours = self.session
        return {
            "model": self.day.source,
            "per_bar": self.per_bar,
            "spread": self.spread,
            "spread_source": self.spread_source,
            "bars_with_narrower_spread": float(np.mean(narrow < self.spread)),
            "persistence": self.persistence,
            "branching": self.day.branching,
            "delay": self.day.delay,
            "size_sigma": self.day.size_sigma,
            "session": f"{clock(hours.open)}-{clock(hours.close)} ({hours.source})",
            "rows": bars.height * self.per_bar,
        }

    def frames(self, bars: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The ticks of bars, some paths at a time, in the order of the bars.

        Path i has random streams of its own, so its ticks depend on no other path.

        Args:
            bars: valid bars; ``path`` and ``step`` where they hold several paths.

        Raises:
            UserError: invalid bars, too many, or numbers too small or large for a spread.
        """
        self.check(bars)
        if "path" not in bars.columns:
            bars = bars.with_columns(path=pl.lit(0, pl.Int32))
        if "step" not in bars.columns:
            bars = bars.with_columns(step=pl.int_range(pl.len(), dtype=pl.Int32).over("path"))
        units: list[pl.DataFrame] = []
        for unit in self._units(bars):
            units.append(unit)
            if sum(u.height for u in units) * self.per_bar >= _BATCH:
                yield self._refined(units)
                units = []
        if units:
            yield self._refined(units)

    def table(self, bars: pl.DataFrame) -> pl.DataFrame:
        """All of ``frames`` in one."""
        return pl.concat(self.frames(bars))

    @cached_property
    def _block(self) -> int:
        """Bars that share a random stream: bounds the memory of long paths."""
        return min(max(_BATCH // self.per_bar, 1), 256)

    def check(self, bars: pl.DataFrame) -> None:
        """``UserError`` for bars that ``frames`` cannot refine."""
        check_bars(bars, "the bars to refine")
        if bars.height * self.per_bar > MAX_TICKS:
            raise UserError(
                f"{bars.height:,} bars x ticks.per_bar={self.per_bar} are above the {MAX_TICKS:,} "
                "ticks of one table; refine fewer paths, or set fewer ticks.per_bar"
            )
        tiny = pl.any_horizontal(pl.col("low") < _SMALLEST, pl.col("high") > _LARGEST)
        odd = pl.col("volume").is_between(0, _SMALLEST, closed="none")
        if bars.select((tiny | odd | (pl.col("volume") > _LARGEST)).any()).item():
            raise UserError(
                f"ticks need prices and volumes between {_SMALLEST:g} and {_LARGEST:g}; "
                "change their unit"
            )

    def _units(self, bars: pl.DataFrame) -> Iterator[pl.DataFrame]:
        paths = bars["path"].to_numpy()
        cuts = [0, *(np.flatnonzero(np.diff(paths)) + 1).tolist(), len(paths)]
        for start, end in pairwise(cuts):
            for place in range(start, end, self._block):
                yield bars.slice(place, min(self._block, end - place))

    def _refined(self, units: Sequence[pl.DataFrame]) -> pl.DataFrame:
        seed = derive_seed(self.seed, "ticks", self.symbol)
        parts = []
        for unit in units:
            place = [0, 0, int(unit["step"][0]), 0]
            stream = np.random.Philox(key=[seed, int(unit["path"][0])], counter=place)
            parts.append(Draws.of(np.random.Generator(stream), unit.height, self.per_bar))
        bars = pl.concat(units)
        times = bars["timestamp"].cast(pl.Int64).to_numpy()
        begin, length, start, end = self.session.spans(times)
        ticks = refine(
            bars.select(BAR_FIELDS).to_numpy(),
            Draws.join(parts),
            self.day,
            (start, end),
            self.spread,
            self.persistence,
        )
        n = self.per_bar
        inside = (ticks.fraction - start[:, None]) / (end - start)[:, None]
        late = np.floor(np.clip(inside, 0, 1) * (length - 1)[:, None]).astype(np.int64)
        late = np.minimum(late, (length - 2)[:, None]) + 1  # strictly inside
        stamps = begin[:, None] + late
        return pl.DataFrame(
            {
                "path": np.repeat(bars["path"].cast(pl.Int32).to_numpy(), n),
                "step": np.repeat(bars["step"].cast(pl.Int32).to_numpy(), n),
                "tick": np.tile(np.arange(n, dtype=np.int32), bars.height),
                "timestamp": pl.Series(stamps.ravel()).cast(pl.Datetime("us")),
                **{x: getattr(ticks, x).ravel() for x in ("price", "bid", "ask", "size")},
            }
        )


def refine_ticks(bars: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Bars refined into trades whose aggregate is each bar exactly.

    First price = open, highest = high, lowest = low, last = close, sizes sum to the volume (in any
    order), times lie inside the bar. See ``TickModel.of`` for the options.

    Args:
        bars: valid bars, one series, or several numbered by ``path``.
        options: of ``TickModel.of``.

    Returns:
        ``TICK_COLUMNS``: path i32, step i32 (row of the bar in its path where the bars have no
        ``step``), tick i32, timestamp, price, bid, ask, size f64.

    Raises:
        UserError: whatever cannot be used, in one sentence.
    """
    return TickModel.of(bars, **options).table(bars)
