"""``Market``: many paths of bars, laid out for stepping through thousands of them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray
from scipy.signal import lfilter

from parfait.metrics.functional.validity import rule_passes
from parfait.regime import N_FIELDS
from parfait.utils.errors import UserError, require

FEATURES = 5  # numbers of a bar in an observation
LIMIT = 10.0  # their largest absolute value
PAD = 16  # rows before the first bar and after the last, so that readers may reach beyond
NO_VOLUME = 1e-100  # in the place of 0, so that shares of a volume need no exceptions
_FADE = 0.5 ** (1 / 20)  # half of the weight of scale and usual volume is in the last 20 bars
_BLOCK = 2**20  # bars whose features are computed at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Market:
    """Paths of bars, one after another in flat arrays, all read-only.

    Args:
        prices: of every bar the open over the close before (1 at the first bar of a path), the
            close over the open, and the traded value, volume times open; after and before ``PAD``
            rows of ones.
        features: what an observation shows of a bar, see ``bar_features``; likewise padded.
        close: of every bar, not padded.
        scale: volatility of a bar as it was known at its close, from the ranges so far.
        first: row of the first bar of every path, and the number of rows at the end.
        past: bars of every path that are history: decisions begin at the last of them.
        weight: of every path, the chance that an episode takes it; they sum to 1.
        scenario: of every path, an index into ``scenarios``.
        scenarios: what they are called.
        regime: of every path, unconstrained coordinates within ``LIMIT``; ``None`` where it is not
            known.
        bars_per_year: of all paths.
    """

    prices: Float64[ndarray, "padded 3"]
    features: Float32[ndarray, "padded 5"]
    close: Float64[ndarray, " rows"]
    scale: Float64[ndarray, " rows"]
    first: Int64[ndarray, " paths+1"]
    past: Int64[ndarray, " paths"]
    weight: Float64[ndarray, " paths"]
    scenario: Int64[ndarray, " paths"]
    scenarios: tuple[str, ...]
    regime: Float32[ndarray, "paths 11"] | None
    bars_per_year: float

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, ndarray):
                value.flags.writeable = False

    @classmethod
    def of(
        cls,
        bars: ndarray | Sequence[ndarray],
        *,
        bars_per_year: float,
        past: int = 0,
        weight: Sequence[float] | ndarray | None = None,
        scenario: Sequence[int] | ndarray | None = None,
        scenarios: Sequence[str] = ("",),
        regime: ndarray | None = None,
    ) -> "Market":
        """Lays out bars.

        Args:
            bars: (paths, bars, 5) with open, high, low, close, volume, a memory map if you like; or
                one (bars, 5) per path.
            bars_per_year: never guessed.
            past: bars at the head of every path that are history.
            weight: of every path; equal unless given.
            scenario: of every path; all are the first of ``scenarios`` unless given.
            scenarios: what they are called.
            regime: (paths, 11) unconstrained coordinates, where they are known.

        Raises:
            UserError: bars of another shape, bars that are not valid, or settings that do not fit.
        """
        require("bars_per_year", bars_per_year, 1e-3, 1e9)
        shapes = {np.shape(path) for path in bars}
        if not shapes or any(len(s) != 2 or s[0] < 2 or s[1] != FEATURES for s in shapes):
            raise UserError(
                f"bars of shape {sorted(shapes) or 'nothing'} are no paths; give (paths, bars, 5) "
                "with open, high, low, close, volume and at least 2 bars"
            )
        n = len(bars)
        first = np.concatenate([[0], np.cumsum([len(path) for path in bars])])
        prices = np.ones((first[-1] + 2 * PAD, 3))
        features = np.zeros((first[-1] + 2 * PAD, FEATURES), dtype=np.float32)
        close, scale = np.empty((2, first[-1]))
        for begin, block in _blocks(bars):
            _check(block, begin)
            span = slice(first[begin], first[begin + len(block)])
            padded = slice(span.start + PAD, span.stop + PAD)
            shown, spread = bar_features(block)
            features[padded] = shown.reshape(-1, FEATURES)
            prices[padded] = _ratios(block).reshape(-1, 3)
            close[span], scale[span] = block[..., 3].ravel(), spread.ravel()
        scenario = np.zeros(n, dtype=np.int64) if scenario is None else np.asarray(scenario)
        if scenario.shape != (n,) or not ((scenario >= 0) & (scenario < len(scenarios))).all():
            raise UserError(f"scenario must be {n} indices into the {len(scenarios)} scenarios")
        if regime is not None and np.shape(regime) != (n, N_FIELDS):
            raise UserError(f"regime has shape {np.shape(regime)} instead of ({n}, {N_FIELDS})")
        return cls(
            prices=prices,
            features=features,
            close=close,
            scale=scale,
            first=first,
            past=np.full(n, past),
            weight=chances("weight", weight, n),
            scenario=scenario.astype(np.int64),
            scenarios=tuple(scenarios),
            regime=None if regime is None else np.clip(regime, -LIMIT, LIMIT, dtype=np.float32),
            bars_per_year=float(bars_per_year),
        )

    @classmethod
    def join(cls, markets: "Sequence[Market]", weight: Sequence[float] | None = None) -> "Market":
        """All paths of several markets, each market as likely as its ``weight``; equal by default.
        Scenarios of the same name are one.

        Raises:
            UserError: markets of several bar frequencies, or weights that are no chances.
        """
        shares = chances("weight", weight, len(markets))
        if len(markets) == 1:
            return markets[0]
        if len({m.bars_per_year for m in markets}) > 1:
            raise UserError("markets of several bars_per_year cannot be joined; give one each")
        names = list(dict.fromkeys(name for m in markets for name in m.scenarios))
        rows = np.cumsum([0, *(len(m.close) for m in markets)])
        codes = [np.array([names.index(name) for name in m.scenarios]) for m in markets]
        regimes = [m.regime for m in markets if m.regime is not None]

        def all_of(field: str) -> ndarray:
            return np.concatenate([getattr(m, field) for m in markets])

        return cls(
            **{name: all_of(name) for name in ("close", "scale", "past")},
            prices=_padded([m.prices for m in markets]),
            features=_padded([m.features for m in markets]),
            first=np.concatenate(
                [[0], *(m.first[1:] + k for m, k in zip(markets, rows, strict=False))]
            ),
            weight=np.concatenate([m.weight * w for m, w in zip(markets, shares, strict=True)]),
            scenario=np.concatenate([c[m.scenario] for m, c in zip(markets, codes, strict=True)]),
            scenarios=tuple(names),
            regime=np.concatenate(regimes) if len(regimes) == len(markets) else None,
            bars_per_year=markets[0].bars_per_year,
        )

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return len(self.past)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Market":
        # Gymnasium deep-copies what an environment was made with; nothing here ever changes.
        return self


def chances(name: str, weight: Sequence[float] | ndarray | None, n: int) -> Float64[ndarray, " n"]:
    """Weights as chances that sum to 1; equal where none are given.

    Args:
        name: of the setting, for its errors.
        weight: of each.
        n: how many there are.

    Raises:
        UserError: another number of weights, one that is negative or no number, or none above 0.
    """
    try:
        shares = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.zeros(0)
    if shares.shape != (n,) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise UserError(f"{name} must be {n} finite numbers, none negative, that do not sum to 0")
    return shares / shares.sum()


def bar_features(
    bars: Float64[ndarray, "paths bars 5"],
) -> tuple[Float64[ndarray, "paths bars 5"], Float64[ndarray, "paths bars"]]:
    """What an observation shows of each bar, and the scale; of bar t only bars <= t are used.

    With the scale ``s``, ``s**2`` the exponential mean of the squared true log ranges so far over
    4 ln 2 (the variance of a bar, if prices move as a Brownian motion), and the exponential mean
    ``m`` of volumes so far: ``ln(O/C')/s, ln(C/O)/s, ln(H/max(O,C))/s, ln(L/min(O,C))/s, ln(V/m)``,
    where C' is the close before (the open at the first bar), all within ``LIMIT``.
    """
    o, h, low, c, v = np.moveaxis(bars, -1, 0)
    before = np.concatenate([o[:, :1], c[:, :-1]], axis=1)
    ranges = np.log(np.maximum(h, before) / np.minimum(low, before))
    scale = np.sqrt(np.maximum(_recent(ranges**2) / (4 * np.log(2)), 1e-16))
    top, bottom = np.maximum(o, c), np.minimum(o, c)
    moves = np.log(np.stack([o / before, c / o, h / top, low / bottom], axis=-1)) / scale[..., None]
    tiny = np.finfo(np.float64).tiny
    volume = np.log((v + tiny) / (_recent(v) + tiny))
    made = np.concatenate([moves, volume[..., None]], axis=-1)
    return np.clip(made, -LIMIT, LIMIT), scale


def _recent(x: Float64[ndarray, "paths bars"]) -> Float64[ndarray, "paths bars"]:
    """Exponential mean of the values so far, their weights summing to 1."""
    weight = 1 - _FADE ** np.arange(1, x.shape[1] + 1)
    return lfilter([1 - _FADE], [1, -_FADE], x, axis=1) / weight


def _ratios(bars: Float64[ndarray, "paths bars 5"]) -> Float64[ndarray, "paths bars 3"]:
    """The columns of ``Market.prices``."""
    o, c, v = bars[..., 0], bars[..., 3], bars[..., 4]
    gap = np.ones_like(o)
    gap[:, 1:] = o[:, 1:] / c[:, :-1]
    return np.stack([gap, c / o, np.maximum(v * o, NO_VOLUME)], axis=-1)


def _padded(arrays: Sequence[ndarray]) -> ndarray:
    """Padded arrays one after another, padded at the ends only."""
    inner = [array[PAD:-PAD] for array in arrays]
    return np.concatenate([arrays[0][:PAD], *inner, arrays[0][-PAD:]])


def _blocks(bars: ndarray | Sequence[ndarray]) -> Iterator[tuple[int, ndarray]]:
    """First path and float64 bars (paths, bars, 5) of parts that fit memory."""
    if isinstance(bars, ndarray):
        step = max(1, _BLOCK // bars.shape[1])
        for begin in range(0, len(bars), step):
            yield begin, np.array(bars[begin : begin + step], dtype=np.float64)
    else:
        for k, path in enumerate(bars):
            yield k, np.array(path, dtype=np.float64)[None]


def _check(block: Float64[ndarray, "paths bars 5"], begin: int) -> None:
    kept = rule_passes(torch.from_numpy(block)).values()
    valid = torch.stack(list(kept)).all(0).numpy()
    if not valid.all():
        path, bar = np.argwhere(~valid)[0]
        raise UserError(
            f"bar {bar} of path {begin + path} is no valid bar: {block[path, bar].tolist()}; it "
            "needs 0 < low <= open, close <= high and volume >= 0"
        )
