"""Scenarios like a stretch of history: labels of its windows in the place of a sentence."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from jaxtyping import Float64
from torch import Tensor

from parfait.bars import bars_to_tensor, estimate_bars_per_year
from parfait.correlation import Common
from parfait.histories import Given, load_histories
from parfait.history import History
from parfait.labels import Labels, label_windows
from parfait.labels.amortised import knows
from parfait.regime import FIELD_NAMES, Component, MarketContext, RegimeDistribution
from parfait.regime.distribution import MAX_COMPONENTS
from parfait.utils.errors import UserError
from parfait.window_regimes import merge_neighbours, window_component

LIKE = "like"  # the source of such scenarios
SHORTEST = 12  # returns: of fewer a label says little but its prior
WINDOW = 60  # returns; longer windows hold several regimes
MOST_WINDOWS = 64  # of a longer range, with more returns each
BEFORE = 20  # returns before a window that its label knows
_TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?"
_SPAN = re.compile(rf"\s*({_TIME})\s*:\s*({_TIME})\s*")
_PAUSE = timedelta(days=8)  # without bars, which holidays explain


@dataclass(frozen=True, eq=False)
class Like:
    """A stretch of history whose regimes the scenarios have; ``Pipeline.run`` takes it in the place
    of a sentence.

    Args:
        span: "2008-09-01:2008-12-31", both ends included; times as 2024-05-06T09:30.
        history: where the stretch is, as ``Pipeline.run`` takes histories; ``None`` is the history
            of the run. One series serves every asset, else each has that of its symbol.
        options: of ``parfait.data.load_bars`` for its files.

    Raises:
        UserError: no span, or one that ends before it begins.
    """

    span: str
    history: Given = None
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        first, last = self.ends
        if last < first:
            raise UserError(f"like={self.span} ends before it begins; put the earlier date first")

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """First and last moment; a date without a clock is its whole day."""
        match = _SPAN.fullmatch(self.span) if isinstance(self.span, str) else None
        try:
            if match is None:
                raise ValueError
            first, last = (datetime.fromisoformat(text) for text in match.groups())
        except ValueError as error:
            raise UserError(
                f"like={self.span} is no stretch of time; give two dates such as "
                "2008-09-01:2008-12-31"
            ) from error
        return first, datetime.combine(last, time.max) if len(match[2]) <= 10 else last

    def stretches(self, pasts: Sequence[History]) -> list[History]:
        """The history of every asset from its first bar to the end of the span.

        Raises:
            UserError: one without the symbol of an asset, or whose bars lie elsewhere.
        """
        found = list(pasts)
        if self.history is not None:
            found = load_histories(self.history, self.options)
            by_symbol = {past.symbol: past for past in found}
            absent = [past.symbol for past in pasts if past.symbol not in by_symbol]
            if len(found) == 1:
                found *= len(pasts)
            elif absent:
                raise UserError(
                    f"like_history holds {', '.join(by_symbol)} and nothing for "
                    f"{absent[0] or 'a history without a symbol'}; give one series, or each symbol"
                )
            else:
                found = [by_symbol[past.symbol] for past in pasts]
        return [self._until_its_end(past) for past in found]

    def _until_its_end(self, past: History) -> History:
        first, last = self.ends
        times = past.bars["timestamp"]
        if last < times[0] or first > times[-1]:
            raise UserError(
                f"like={self.span} lies outside {past.name}, which has bars from "
                f"{times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}; give a range within"
            )
        bars = past.bars.filter(pl.col("timestamp") <= last)
        inside = bars.filter(pl.col("timestamp") >= first).height
        returns = min(inside, bars.height - 1)
        if returns < SHORTEST:
            raise UserError(
                f"like={self.span} holds {returns} returns of {past.name}, fewer than the "
                f"{SHORTEST} that a regime can be read from; give a longer range"
            )
        return replace(past, bars=bars)

    def read(
        self, pasts: Sequence[History], contexts: Sequence[MarketContext]
    ) -> list[RegimeDistribution]:
        """The scenarios of every asset.

        The range is cut into windows of about 60 returns that do not overlap. Each is a Gaussian
        (``window_component``) weighed by its share of the returns; neighbours are merged to 8 at
        most (``merge_neighbours``).

        Args:
            pasts: what ``stretches`` gives.
            contexts: the present market of every asset.

        Raises:
            UserError: prices that do not move.
        """
        own = self.history is not None
        return [
            self._scenarios(past, None if own else context.bars_per_year, context.asset_class)
            for past, context in zip(pasts, contexts, strict=True)
        ]

    def correlated(self, pasts: Sequence[History]) -> list[History] | None:
        """The bars within the span, where several assets have enough of them in common."""
        first, _ = self.ends
        some = [p.bars.filter(pl.col("timestamp") >= first) for p in pasts]
        cut = [replace(past, bars=bars) for past, bars in zip(pasts, some, strict=True)]
        try:
            _ = Common(cut).matrix
        except UserError:
            return None
        return cut

    def _scenarios(
        self, past: History, frequency: float | None, asset: str | None
    ) -> RegimeDistribution:
        first, last = self.ends
        times = past.bars["timestamp"]
        rate = frequency or estimate_bars_per_year(times)
        begin = max(int((times < first).sum()), 1)  # of the first return
        count = len(times) - begin
        windows = min(math.ceil(count / WINDOW), MOST_WINDOWS)
        edges = [begin + round(k * count / windows) for k in range(windows + 1)]
        rows = list(pairwise(edges))
        days = [(f"{times[a]:%Y-%m-%d}", f"{times[b - 1]:%Y-%m-%d}") for a, b in rows]
        bars = bars_to_tensor(past.bars)
        labels = [_label(bars, a, b, rate) for a, b in rows]
        moving = [k for k, label in enumerate(labels) if not bool(label.flagged("still"))]
        if not moving:
            raise UserError(
                f"the prices of {past.name} do not move in like={self.span}; give another range"
            )
        count = sum(rows[k][1] - rows[k][0] for k in moving)
        each = [window_component(labels[k], (rows[k][1] - rows[k][0]) / count) for k in moving]
        merged = [
            _named(component, past.name, [days[moving[k]] for k in numbers])
            for component, numbers in merge_neighbours(each, MAX_COMPONENTS)
        ]
        closes = [bars[a - 1 : b, 3] for a, b in rows]
        reading = {
            "like": self.span,
            "history": past.name,
            **({"like_history": past.source} if self.history is not None and past.source else {}),
            "realised_volatility": _realised(bars[begin - 1 :, 3], rate),
            "windows": [_told(*w, rate) for w in zip(labels, days, closes, strict=True)],
        }
        return RegimeDistribution(
            tuple(merged),
            source=LIKE,
            warnings=tuple(self._cautions(past, first, last, labels)),
            asset_class=asset or "equity",
            reading=reading,
        )

    def _cautions(
        self, past: History, first: datetime, last: datetime, labels: Sequence[Labels]
    ) -> list[str]:
        times, said = past.bars["timestamp"], []
        if times[0] - first > _PAUSE or last - times[-1] > _PAUSE:
            begin = max(times[0], first)
            said.append(
                f"Of like={self.span} {past.name} has bars from {begin:%Y-%m-%d} to "
                f"{times[-1]:%Y-%m-%d}."
            )
        still = sum(bool(label.flagged("still")) for label in labels)
        if still:
            said.append(
                f"In {still} of {len(labels)} windows of like={self.span} prices hardly move; they "
                "are left out."
            )
        strange = sum(bool(label.flagged("foreign")) for label in labels)
        if strange:
            said.append(
                f"{strange} of {len(labels)} windows of like={self.span} are unlike any that "
                "labels are trained on; their regimes are wide."
            )
        return said


def like_summary(scenarios: RegimeDistribution) -> dict[str, Any]:
    """Where the regimes of a stretch come from, under ``like``; nothing for other scenarios."""
    return {LIKE: scenarios.reading} if scenarios.source == LIKE else {}


def _label(bars: Float64[Tensor, "n 5"], begin: int, end: int, rate: float) -> Labels:
    """Of the returns of bars [begin, end)."""
    start = max(begin - 1 - BEFORE, 0)
    before = bars[None, start:begin] if begin - start > 2 else None
    method = "amortised" if knows(end - begin) else "closed"
    return label_windows(bars[None, begin - 1 : end], rate, before, method)


def _told(label: Labels, day: tuple[str, str], close: Tensor, rate: float) -> dict[str, Any]:
    """A window with its posterior: mean, 5 % and 95 % quantile of every field."""
    values = (label.mean, label.quantile(0.05), label.quantile(0.95))
    posterior = {name: [float(getattr(v, name)) for v in values] for name in FIELD_NAMES}
    return {
        "from": day[0],
        "to": day[1],
        "returns": len(close) - 1,
        "total_volatility": float(label.total_volatility),
        "realised_volatility": _realised(close, rate),
        "posterior": posterior,
    }


def _realised(close: Tensor, rate: float) -> float:
    """Root of the mean squared log return, annualised."""
    return float((close.log().diff().square().mean() * rate).sqrt())


def _named(component: Component, past: str, days: Sequence[tuple[str, str]]) -> Component:
    of = "its bars" if len(days) == 1 else f"the bars of {len(days)} windows"
    name = f"{days[0][0]} to {days[-1][1]}"
    return replace(component, name=name, rationale=f"As {past} was then, read off {of}.")
