"""Windows to learn labels from: a regime per window, its bars, and what disturbs real ones."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.hurst import autocovariance
from parfait.labels.prior import DAILY
from parfait.labels.synthetic import bars_around, jump_sums
from parfait.regime.fields import FIELD_NAMES, to_coordinate
from parfait.utils.draws import Draw

_MEMORIES = (8, 32)  # different H of one batch, and fewer the longer the windows are
_ROWS = 4096
_PARTS = 4
_LEAST_VARIANCE = 0.02  # of the long-run level, so that ln sqrt(v) stays finite


@dataclass(frozen=True, eq=False)
class Simulated:
    """Windows and their truth.

    Args:
        bars: n + 1 bars a window.
        before: the bars that precede them; ``None`` where there are none.
        truth: coordinates of the regime, then ln of the total volatility; NaN is no target.
        growth: of the expected log price, a year.
    """

    bars: Float64[Tensor, "windows bars 5"]
    before: Float64[Tensor, "windows earlier 5"] | None
    truth: Float64[Tensor, "windows 12"]
    growth: Float64[Tensor, " windows"]


@dataclass(frozen=True)
class RegimeSimulator:
    """Draws regimes from a prior and bars from the regimes, 252 bars a year.

    H ~ U(.05, .95) with probability ``memory``, else 1/2; sigma log-uniform on .05 to .8;
    lambda ~ U(0, 50); s log-uniform on .02 to .1; m ~ N(0, .02^2); log growth ~ N(0, sigma^2), a
    Sharpe ratio of sd 1; kappa log-uniform on .3 to 200 with probability ``reverting``, else on
    .003 to .3, which no window can see. Log price: fractional noise, pulled to a line, plus jumps.
    Each nuisance is there with its probability.

    Args:
        memory: share of windows whose H is drawn.
        reverting: share of windows with a pull to a trend line.
        jumpless: share without jumps; their jump fields are no target.
        tails: t innovations, degrees of freedom 3 to 30, half of them below 5.4; in every other
            such window the pace inside a bar is that of its return.
        clustering: square-root variance: kappa_v log-uniform on 1 to 50, xi on .3 to 4 times
            sigma, rho = tanh N(-.4, .4^2). Without it the variance is constant, and these and the
            initial volatility are no target.
        overnight: share of the variance between close and open U(0, .6); else .2.
        rounding: prices on a grid of .02 to 1 sd of a return.
        trades: 10 to 1000 prices seen in a session; else all.
        steps: prices seen at the ends of 5 to 40 steps of a session alone, as many in all windows
            of a batch.
        closes: bars that hold nothing but a close.
        plain: windows without any nuisance.
    """

    memory: float = 1.0
    reverting: float = 0.5
    jumpless: float = 0.1
    tails: float = 0.0
    clustering: float = 0.0
    overnight: float = 0.0
    rounding: float = 0.0
    trades: float = 0.0
    steps: float = 0.0
    closes: float = 0.0
    plain: float = 0.0

    def __call__(
        self, windows: int, n: int, generator: torch.Generator, before: int = 0
    ) -> Simulated:
        """Windows of n + 1 bars after ``before`` others.

        The volatility is what it was in the window, the root of the mean variance; the initial one
        that of the first return. The total adds the jumps there were. t innovations have the
        variance of normal ones.
        """
        draw = Draw(windows, generator)
        nuisance = draw.uniform() >= self.plain
        names = ("tails", "clustering", "overnight", "rounding", "trades", "steps", "closes")
        has = {name: draw.chance(getattr(self, name)) & nuisance for name in names}
        sigma = draw.log_uniform(0.05, 0.8)
        sharpe, m = draw.normal(), 0.02 * draw.normal()
        jumping = ~draw.chance(self.jumpless)
        intensity, s = 50 * draw.uniform(), draw.log_uniform(0.02, 0.1)
        kappa = draw.log_uniform(0.3, 200.0)
        kappa = torch.where(draw.chance(self.reverting), kappa, draw.log_uniform(0.003, 0.3))
        kappa_v, ratio = draw.log_uniform(1.0, 50.0), draw.log_uniform(0.3, 4.0)
        rho = torch.tanh(-0.4 + 0.4 * draw.normal())

        count = before + n + 1
        noise, innovations, hurst = _fractional(draw.chance(self.memory), count, generator)
        relative = torch.ones_like(noise)
        rows = has["clustering"].nonzero()[:, 0]
        if len(rows):
            process = (kappa_v[rows], ratio[rows], rho[rows])
            relative[rows] = _variance(innovations[rows], *process, generator)
        pace = (sigma.square() / DAILY)[:, None].float() * relative
        mixed = pace * _mixing(has["tails"], count, generator)
        variances = torch.where(draw.chance(0.5)[:, None], mixed, pace)
        jumps = jump_sums(windows, count, intensity * jumping / DAILY, m, s, generator).float()
        growth = (sigma * sharpe - intensity * m * jumping) / DAILY
        first = sigma / (2 * kappa).sqrt() * draw.normal()
        moves = _pulled(noise * mixed.sqrt(), jumps, kappa / DAILY, first)
        moves = moves + growth[:, None].float()
        bars = self._bars(draw, has, moves, variances, jumps, sigma)

        window = slice(before + 1, None)
        start = sigma * relative[:, before + 1].double().sqrt()
        realised = sigma * relative[:, window].double().mean(dim=1).sqrt()
        squares = jumps[:, window].double().square().mean(dim=1) * DAILY
        sizes = torch.expm1(m + s.square() / 2) - m
        drift = sigma * sharpe + realised.square() / 2 + intensity * jumping * sizes
        clustered, nothing = has["clustering"], torch.full_like(sigma, math.nan)
        truth = {
            "drift": drift,
            "volatility": realised,
            "jump_intensity": torch.where(jumping, intensity, nothing),
            "jump_mean": torch.where(jumping, m, nothing),
            "jump_std": torch.where(jumping, s, nothing),
            "mean_reversion": kappa,
            "hurst": hurst,
            "variance_reversion": torch.where(clustered, kappa_v, nothing),
            "vol_of_vol": torch.where(clustered, ratio * sigma, nothing),
            "leverage": torch.where(clustered, rho, nothing),
            "initial_volatility": torch.where(clustered, start, nothing),
        }
        columns = [to_coordinate(name, truth[name]) for name in FIELD_NAMES]
        columns.append((realised.square() + squares).log() / 2)
        earlier = bars[:, :before] if before else None
        return Simulated(bars[:, before:], earlier, torch.stack(columns, dim=1), sigma * sharpe)

    def _bars(
        self,
        draw: Draw,
        has: dict[str, Tensor],
        moves: Tensor,
        variances: Tensor,
        jumps: Tensor,
        sigma: Tensor,
    ) -> Tensor:
        """Bars around the moves, seen as the nuisances let them be."""
        night = torch.where(has["overnight"], 0.6 * draw.uniform(), 0.2)
        grain = torch.where(has["rounding"], draw.log_uniform(0.02, 1.0), 0.0)
        trades = torch.where(has["trades"], draw.log_uniform(10, 1000), math.inf)
        # Of the lowest price, lest a market that fell be nothing but rounding.
        lowest = (moves + jumps).cumsum(dim=1).amin(dim=1).clamp_max(0).double().exp()
        tick = 100.0 * lowest * grain * sigma / math.sqrt(DAILY)
        steps = round(float(5 * 8 ** draw.uniform()[0]))
        bars = moves.new_empty(*moves.shape, 5, dtype=torch.float64)
        for rows, watched, parts in ((~has["steps"], True, _PARTS), (has["steps"], False, steps)):
            if not bool(rows.any()):
                continue
            seen: dict[str, Any] = {
                "overnight": night[rows],
                "tick": tick[rows],
                "trades": trades[rows],
            }
            path = moves[rows], variances[rows], draw.generator, jumps[rows]
            bars[rows] = bars_around(*path, **seen, parts=parts, watched=watched)
        close = has["closes"][:, None, None] & torch.tensor([True] * 4 + [False])
        return torch.where(close, bars[..., 3:4], bars)


def _fractional(
    memory: Tensor, n: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Fractional noise of unit variance, the white noise it is made of, and H; H = 1/2 in windows
    without ``memory``.

    H takes one value in each of equal strata, so that a few factors serve a batch.
    """
    windows = len(memory)
    fewest, most = _MEMORIES
    groups = min(max(_ROWS // n, fewest), most, windows)
    place = torch.rand(groups, generator=generator, dtype=torch.float64)
    hurst = 0.05 + 0.9 * (torch.arange(groups) + place) / groups
    lag = torch.arange(n)
    rows = autocovariance(hurst, n)[:, (lag[:, None] - lag).abs()]
    factor = torch.linalg.cholesky(rows).float()
    each = -(-windows // groups)
    white = torch.randn(groups, n, each, generator=generator)
    noise = torch.bmm(factor, white)
    flat = [t.transpose(1, 2).reshape(groups * each, n) for t in (noise, white)]
    keep = torch.randperm(groups * each, generator=generator)[:windows]
    noise, white, hurst = flat[0][keep], flat[1][keep], hurst.repeat_interleave(each)[keep]
    return torch.where(memory[:, None], noise, white), white, torch.where(memory, hurst, 0.5)


def _mixing(tails: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Variances of mean 1 whose mixture of normals is a t, where there are ``tails``."""
    mixing = torch.ones(len(tails), n)
    rows = tails.nonzero()[:, 0]
    if len(rows):
        df = 3.0 * 10 ** torch.rand(len(rows), 1, generator=generator).square()
        shape = (df / 2).expand(len(rows), n).contiguous()
        draw_gamma = torch._standard_gamma  # pyright: ignore[reportPrivateImportUsage]
        gamma = draw_gamma(shape, generator=generator).clamp_min(1e-6)
        mixing[rows] = (df / 2 - 1) / gamma
    return mixing


def _variance(
    shocks: Tensor, kappa_v: Tensor, ratio: Tensor, rho: Tensor, generator: torch.Generator
) -> Tensor:
    """Square-root variance over its long-run level at the left of every bar, Euler."""
    windows, n = shocks.shape
    pull, size = (kappa_v / DAILY).float(), (ratio / math.sqrt(DAILY)).float()
    spread = (ratio / (2 * kappa_v).sqrt()).clamp_max(1.0).float()
    own = torch.randn(n + 1, windows, generator=generator)
    rho = rho.float()
    w = torch.exp(spread * own[-1] - spread.square() / 2).clamp_min(_LEAST_VARIANCE)
    driven = rho * shocks.T + (1 - rho.square()).sqrt() * own[:-1]
    columns = []
    for t in range(n):
        columns.append(w)
        w = (w + pull * (1 - w) + size * w.sqrt() * driven[t]).clamp_min(_LEAST_VARIANCE)
    return torch.stack(columns, dim=1)


def _pulled(moves: Tensor, jumps: Tensor, kappa: Tensor, first: Tensor) -> Tensor:
    """Moves without their jumps of a log price pulled to its line; kappa a bar, ``first`` the
    distance from the line before the first bar.
    """
    decay = torch.exp(-kappa)
    root = ((1 - decay.square()) / (2 * kappa)).sqrt().float()
    decay, steps = decay.float(), (moves * root[:, None] + jumps).T.contiguous()
    columns = [first.float()]
    for step in steps:
        columns.append(torch.addcmul(step, decay, columns[-1]))
    return torch.stack(columns, dim=1).diff(dim=1) - jumps
