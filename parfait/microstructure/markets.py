r"""Markets that never were: windows of OHLCV bars to learn from before the few real ones.

Two indices hold a few hundred independent windows, which a network soon knows by heart. What
markets have in common is known well enough to be simulated: volatility that moves on two time
scales and rises as prices fall (Chernov, Gallant, Ghysels & Tauchen 2003), bursts that fade, fat
tails, moves at night, ranges that tell of the pace inside a bar, volume that follows both (Karpoff
1987). Every window is a market of its own, so that a network has to read from the history which.

    ln v_t = ln v + a_t + b_t + u_t,    r_t = v_t (sqrt(m_t) z_t + theta z_{t-1}) + J_t

with AR(1) factors a (slow) and b (fast) whose innovations correlate with z_{t-1}, bursts u that
come with a jump J or alone and decay, and m_t the mixing variable of Student's t.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.synthetic import bars_around
from parfait.utils.draws import Draw

YEAR = 252  # bars: rates and half-lives below are those of daily bars, whatever the bar is
_PARTS = 4  # of a session
_MOST_MIXED = 40.0  # of m_t: a wilder move is a jump
_STIRRED = 0.7  # of the jumps start a burst
_WIDEST = 2.2  # of ln v_t - ln v
_LEAST_UNIT = 2e-4  # of v: where the floor of a window's unit does not reach
# Bars a year, and the share of windows that have them.
_FREQUENCIES = (252.0, 126.0, 84.0, 52.0, 365.25, 3276.0, 98280.0, 525960.0)
_FREQUENCY_SHARES = (0.5, 0.12, 0.08, 0.06, 0.08, 0.06, 0.05, 0.05)


@dataclass(frozen=True)
class SimulatedMarkets:
    """Draws windows of bars, each from a market of its own.

    Args:
        stale: share of sources that open at the previous close at times.
        illiquid: share of sources with bars that do not trade.
        grain: share of sources whose prices lie on a grid coarse enough to see.
        thin: share of sources with 20 to 2000 trades in a bar.
    """

    stale: float = 0.2
    illiquid: float = 0.05
    grain: float = 0.4
    thin: float = 0.5

    def __call__(
        self, windows: int, bars: int, generator: torch.Generator
    ) -> tuple[Float64[Tensor, "windows bars 5"], Float64[Tensor, " windows"]]:
        """(valid bars, bars a year of each window)."""
        draw = Draw(windows, generator)
        z = torch.randn(windows, bars, generator=generator)
        shares = torch.tensor(_FREQUENCY_SHARES)
        picked = torch.multinomial(shares, windows, replacement=True, generator=generator)
        frequency = torch.tensor(_FREQUENCIES, dtype=torch.float64)[picked]
        unit = (draw.log_uniform(0.05, 0.8) / frequency.sqrt()).clamp_min(_LEAST_UNIT)

        size, jumped = _jumps(draw, bars)
        log_pace = _log_volatility(draw, z, jumped)
        pace = unit[:, None].float() * log_pace.exp()
        mixing = _mixing(draw, bars)
        ripple = 0.1 * draw.normal()[:, None].float() * draw.chance(0.5)[:, None]
        shock = mixing.sqrt() * z
        moves = pace * (shock + ripple * torch.nn.functional.pad(z[:, :-1], (1, 0)))
        moves = moves + (0.1 * unit * draw.normal())[:, None].float()
        jumps = pace * size
        # The pace inside a bar follows its move in part: a wild close may come out of a calm day.
        inside = pace.square() * mixing ** draw.uniform()[:, None].float()
        inside = inside * _wobble(draw, bars)
        quotes = _quotes(self, draw, unit)
        prices = bars_around(moves, inside, generator, jumps, parts=_PARTS, **quotes)
        prices = self._source(draw, prices)
        spread = torch.log(prices[..., 1] / prices[..., 2]).float() / unit[:, None].float()
        prices[..., 4] = _volume(draw, log_pace, (moves + jumps) / unit[:, None].float(), spread)
        return self._untraded(draw, prices), frequency

    def _source(self, draw: Draw, prices: Tensor) -> Tensor:
        """Opens that are the previous close, in some sources at times, in some always."""
        often = draw.chance(self.stale) * torch.where(draw.chance(0.3), 1.0, draw.uniform())
        stale = torch.rand(prices.shape[:2], generator=draw.generator) < often[:, None]
        before = torch.cat([prices[:, :1, 0], prices[:, :-1, 3]], dim=1)
        opens = torch.where(stale, before, prices[..., 0])
        high = torch.maximum(prices[..., 1], opens)
        low = torch.minimum(prices[..., 2], opens)
        return torch.stack([opens, high, low, prices[..., 3], prices[..., 4]], dim=-1)

    def _untraded(self, draw: Draw, prices: Tensor) -> Tensor:
        """Bars without a trade stand at the last close, and the next one opens where it may."""
        often = draw.chance(self.illiquid) * 0.5 * draw.uniform()
        silent = torch.rand(prices.shape[:2], generator=draw.generator) < often[:, None]
        silent[:, 0] = False
        place = torch.arange(prices.shape[1]).expand_as(silent)
        last = torch.where(silent, -1, place).cummax(dim=1).values
        close = prices[..., 3].gather(1, last)
        flat = torch.stack([*[close] * 4, torch.zeros_like(close)], dim=-1)
        return torch.where(silent[..., None], flat, prices)


def _jumps(draw: Draw, bars: int) -> tuple[Tensor, Tensor]:
    """Moves in units of the pace, mostly of 2 to 5, and whether there is one; 1 to 12 a year."""
    rate = draw.log_uniform(1.0, 12.0) / YEAR
    jumped = torch.rand(draw.windows, bars, generator=draw.generator) < rate[:, None]
    size = torch.randn(draw.windows, bars, generator=draw.generator) * 2.5 - 0.4
    return size * jumped, jumped


def _log_volatility(draw: Draw, z: Tensor, jumped: Tensor) -> Tensor:
    """ln v_t - ln v, from its stationary law."""
    windows, bars = z.shape
    column = lambda x: x.float()  # noqa: E731

    def factor(low: float, high: float, least: float, most: float) -> tuple[Tensor, Tensor]:
        decay = torch.exp(-math.log(2) / draw.log_uniform(low, high))
        sd = least + (most - least) * draw.uniform()
        return column(decay), column(sd)

    slow, slow_sd = factor(15.0, 150.0, 0.15, 0.55)
    fast, fast_sd = factor(0.7, 6.0, 0.05, 0.45)
    fade, _ = factor(2.0, 15.0, 0.0, 1.0)
    falls = torch.where(draw.chance(0.7), -0.3 - 0.65 * draw.uniform(), 0.6 * draw.uniform() - 0.3)
    rho = column(falls)
    # As much as |z| tells of the next pace, whatever its sign (Nelson 1991).
    size = 0.5 * column(draw.uniform())
    rate = column(draw.log_uniform(0.5, 8.0)) / YEAR
    height = column(0.3 + 0.7 * draw.uniform())
    noise = torch.randn(2, bars + 1, windows, generator=draw.generator)
    start = torch.rand(bars, windows, generator=draw.generator) < rate
    burst = -torch.log(torch.rand(bars, windows, generator=draw.generator).clamp_min(1e-6))
    burst = (
        burst
        * height
        * (start | (jumped.T & (torch.rand(bars, windows, generator=draw.generator) < 0.7)))
    )
    own = (1 - rho.square() - size.square()).clamp_min(0.02).sqrt()
    spread = math.sqrt(1 - 2 / math.pi)
    a, b, u = slow_sd * noise[0, -1], fast_sd * noise[1, -1], torch.zeros(windows)
    to_slow, to_fast = slow_sd * (1 - slow.square()).sqrt(), fast_sd * (1 - fast.square()).sqrt()
    columns = []
    for t, shock in enumerate(z.T):
        columns.append(a + b + u)
        told = rho * shock + size * (shock.abs() - math.sqrt(2 / math.pi)) / spread
        a = slow * a + to_slow * (told + own * noise[0, t])
        b = fast * b + to_fast * (told + own * noise[1, t])
        u = fade * (u + burst[t])
    return torch.stack(columns, dim=1).clamp(-_WIDEST, _WIDEST)


def _mixing(draw: Draw, bars: int) -> Tensor:
    """(nu - 2) / chi^2_nu, of mean 1; nu log-uniform on 4 to 40."""
    nu = draw.log_uniform(4.0, 40.0)[:, None].expand(draw.windows, bars).float().contiguous()
    draw_gamma = torch._standard_gamma  # pyright: ignore[reportPrivateImportUsage]
    gamma = draw_gamma(nu / 2, generator=draw.generator).clamp_min(1e-6)
    return ((nu / 2 - 1) / gamma).clamp_max(_MOST_MIXED)


def _wobble(draw: Draw, bars: int) -> Tensor:
    """What ranges have of their own beside the pace."""
    noise = torch.randn(draw.windows, bars, generator=draw.generator)
    sd = 0.5 * draw.uniform()[:, None].float()
    return torch.exp(sd * noise - sd.square() / 2)


def _quotes(source: SimulatedMarkets, draw: Draw, unit: Tensor) -> dict[str, Any]:
    """How prices are seen: share of the night, grid, trades."""
    night = torch.where(draw.chance(0.25), 0.02 * draw.uniform(), 0.05 + 0.55 * draw.uniform())
    grid = torch.where(draw.chance(source.grain), draw.log_uniform(0.003, 0.5), 0.0)
    trades = torch.where(draw.chance(source.thin), draw.log_uniform(20, 2000), math.inf)
    return {"overnight": night, "tick": 100.0 * grid * unit, "trades": trades}


def _volume(draw: Draw, log_pace: Tensor, moves: Tensor, spread: Tensor) -> Float64[Tensor, "w b"]:
    """Log-linear in the pace, the range and the size of the move, with memory of its own."""
    windows, bars = log_pace.shape
    share = lambda low, high: (low + (high - low) * draw.uniform())[:, None].float()  # noqa: E731
    memory = share(0.2, 0.95)
    noise = torch.randn(bars + 1, windows, 1, generator=draw.generator)
    left = (1 - memory.square()).sqrt()
    level, rows = noise[-1], []
    for t in range(bars):
        level = memory * level + left * noise[t]
        rows.append(level)
    own = torch.cat(rows, dim=1) * share(0.1, 0.6)
    surprise = torch.log(spread.clamp_min(1e-3)) - log_pace
    log_volume = 14.0 + own + share(0.1, 1.0) * log_pace + share(0.0, 0.6) * surprise.clamp(-2, 2)
    log_volume = log_volume + share(0.0, 0.15) * (moves.abs() * torch.exp(-log_pace)).clamp_max(5)
    return torch.exp(log_volume.double()).round()
