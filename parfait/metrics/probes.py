"""Bars beside the SDE paths they follow: what the measures of control compare."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.microstructure import Microstructure
from parfait.regime import Regime
from parfait.sde import Guide, Paths, make_guide
from parfait.sde.regime_sde import RegimeSDE
from parfait.utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Probe:
    """Generated bars and the bars of their own SDE paths, one seed.

    Args:
        bars: by the network through the guide.
        path: the paths themselves as bars (``path_bars``), for the ceiling.
        guide: what the bars obey.
    """

    bars: Float64[Tensor, "paths steps 5"]
    path: Float64[Tensor, "paths steps 5"]
    guide: Guide

    def windows(self, spot: float, which: str = "bars") -> Float64[Tensor, "paths points 5"]:
        """Windows for ``label_windows``: the close before, then the bars of ``bars`` or ``path``.

        Raises:
            UserError: neither of the two.
        """
        if which not in ("bars", "path"):
            raise UserError(f"a probe has 'bars' and 'path', not {which!r}")
        steps = getattr(self, which)
        return torch.cat([torch.full_like(steps[:, :1], spot), steps], dim=1)


def probe(
    model: Microstructure,
    history: Float64[Tensor, "bars 5"],
    regime: Regime,
    steps: int,
    *,
    bars_per_year: float,
    seed: int,
    every: int = 4,
    jump_sigmas: float = 3.0,
) -> Probe:
    """A path of ``steps`` bars for every regime, and its bars. Regimes that differ in one field
    alone have the same noise, path by path, in every layer.

    Args:
        model: guide and history to bars.
        history: bars to continue.
        regime: (paths,), resolved.
        steps: bars of each path.
        bars_per_year: frequency.
        seed: of everything random.
        every, jump_sigmas: of the guide.
    """

    def stream(k: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed * 3 + k)

    n, spot = len(regime), float(history[-1, 3])
    paths = RegimeSDE.from_regime(regime).sample(
        n, steps, steps / bars_per_year, generator=stream(0), dtype=torch.float64
    )
    deviation = torch.as_tensor(regime.volatility) / math.sqrt(bars_per_year)
    guide, _ = make_guide(paths, spot, every=every, jump_sigmas=jump_sigmas, bar_sd=deviation)
    bars = model.generate(history, guide, regime, bars_per_year=bars_per_year, generator=stream(1))
    return Probe(bars, path_bars(paths, spot, 1 / bars_per_year, stream(2)), guide)


def path_bars(
    paths: Paths, spot: float, dt: float, generator: torch.Generator
) -> Float64[Tensor, "paths steps 5"]:
    """Bars of an SDE path: open at the last close, high and low of a Brownian bridge of the bar's
    variance, a jump at the end of its bar, volume 1.

        max = (a + b + sqrt((b - a)^2 - 2 v dt ln U)) / 2,    min likewise with -sqrt

    Both extremes have their own law exactly; they are drawn independently, so the range's
    spread is approximate and the Rogers-Satchell variance unbiased.

    Args:
        paths: with the variance of every point.
        spot: S_0.
        dt: length of a bar in years.
        generator: of the extremes.

    Raises:
        UserError: paths without a variance.
    """
    if paths.variance is None:
        raise UserError("path_bars needs paths with a variance, as those of RegimeSDE")
    x = paths.log_price.to(torch.float64)
    start, close = x[:, :-1], x[:, 1:]
    jump = torch.zeros_like(close) if paths.jumps is None else paths.jumps.to(torch.float64)
    end = close - jump
    spread = 2 * paths.variance[:, :-1].to(torch.float64) * dt
    u = torch.rand((2, *close.shape), generator=generator, dtype=torch.float64)
    reach = ((end - start).square() - spread * torch.log1p(-u)).sqrt()
    high = torch.maximum((start + end + reach[0]) / 2, torch.maximum(close, start))
    low = torch.minimum((start + end - reach[1]) / 2, torch.minimum(close, start))
    prices = torch.stack([start, high, low, close], dim=-1).exp() * spot
    return torch.cat([prices, torch.ones_like(prices[..., :1])], dim=-1)
