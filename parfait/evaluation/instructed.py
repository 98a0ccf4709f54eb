"""What an instruction asks of its paths, and what their bars tell: from words to bars and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.history import History
from parfait.labels import Labels, label_windows
from parfait.metrics.functional.control import Recovery, recovery
from parfait.metrics.measured import Measured
from parfait.metrics.probes import probe
from parfait.microstructure import Microstructure
from parfait.regime import FIELD_NAMES, MarketContext, RegimeDistribution, mean_volatility
from parfait.regime.fields import to_coordinate
from parfait.semantic import Reader
from parfait.utils.errors import UserError
from parfait.utils.seeding import derive_seed

BARS_PER_YEAR = 252.0
FIELDS = ("volatility", "jump_intensity", "hurst", "mean_reversion")
ENOUGH = 2.0  # standard errors between two drifts whose order can be told
LIVELY, CALM = None, 4600  # last bar of the history: December 2018, April 2017
CONFLICT = "Global conflict escalates, leading to a liquidity crisis and gold price surge"
INSTRUCTIONS = (  # instruction, asset class, end of the history
    ("World War III breaks out", "equity", LIVELY),
    (CONFLICT, "equity", CALM),
    (CONFLICT, "gold", CALM),
    ("The central bank announces an unexpected 50bps rate hike", "equity", LIVELY),
    ("The Fed unexpectedly cuts rates by 50 bps", "equity", LIVELY),
    ("如果现在央行意外加息，且市场出现恐慌性抛售，但随后有国家队入场救市", "equity", CALM),
    ("A calm market, rising slowly", "equity", LIVELY),
    ("Stocks crash and liquidity dries up", "equity", CALM),
    ("股市崩盘，投资者恐慌", "equity", LIVELY),
    ("A strong bull market with persistent momentum", "equity", CALM),
    ("Gold trades sideways in a narrow range", "gold", LIVELY),
    ("Bitcoin crashes", "crypto", LIVELY),
    ("The euro is stable", "currency", CALM),
    ("Annualised volatility of 60%", "equity", CALM),
    ("年化波动率10%", "equity", LIVELY),
    ("Volatility doubles", "equity", CALM),
    ("Volatility of 30%, 24 jumps a year of -6% on average, spread 2%", "equity", LIVELY),
    ("Volatility of 20%, Hurst exponent of 0.7", "equity", LIVELY),
    ("Volatility of 20%, mean reversion half-life of 3 days", "equity", LIVELY),
    ("Drift of -60%, volatility of 25%", "equity", CALM),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Instructed:
    """One instruction, its paths, and what they are recognised by.

    Args:
        asked: coordinates of the drawn regimes; volatility is the one expected over the horizon.
        bars, path: labels of the bars, and of the SDE paths they follow (the ceiling).
        drift: ln mean e^{mu T} / T of the drawn regimes.
        growth: ln mean S_T/S_0 / T of the bars. The last close of every path is that of its SDE
            path, so it is both what arrived and its ceiling.
    """

    asked: Float64[Tensor, "paths 11"]
    bars: Labels
    path: Labels
    drift: float
    growth: Measured


def instructed(
    model: Microstructure,
    scenarios: RegimeDistribution,
    history: Float64[Tensor, "bars 5"],
    context: MarketContext,
    *,
    paths: int,
    steps: int,
    seed: int,
) -> Instructed:
    """Draws regimes from the scenarios of an instruction, makes bars of them, and labels both.

    Args:
        model: guide and history to bars.
        scenarios: a reading without phases; price targets are not imposed.
        history: bars to continue.
        context: the market that was read against; with volatility and bars_per_year.
        paths: of the instruction.
        steps: bars of each path.
        seed: of everything random.

    Raises:
        UserError: scenarios with phases, or a context without volatility and frequency.
    """
    if any(c.phases for c in scenarios.components):
        raise UserError("scenarios with phases ask for no single regime; leave them out")
    now, frequency = context.volatility, context.bars_per_year
    if now is None or frequency is None:
        raise UserError("the context must know volatility and bars_per_year")
    draw = torch.Generator().manual_seed(derive_seed(seed, "instructed"))
    regime = scenarios.resolve(now).sample(paths, draw)
    made = probe(model, history, regime, steps, bars_per_year=frequency, seed=seed)
    spot, years = float(history[-1, 3]), steps / frequency
    asked = regime.to_unconstrained()
    total = mean_volatility(regime, 0.0, years)
    asked[:, FIELD_NAMES.index("volatility")] = to_coordinate("volatility", total)
    bars, path = (label_windows(made.windows(spot, w), frequency) for w in ("bars", "path"))
    ratio = made.bars[:, -1, 3] / spot
    mean, error = float(ratio.mean()), float(ratio.std()) / math.sqrt(paths)
    grown = torch.exp(torch.as_tensor(regime.drift) * years)
    return Instructed(
        asked,
        bars,
        path,
        math.log(float(grown.mean())) / years,
        Measured(math.log(mean) / years, error / (mean * years)),
    )


def follow(
    reader: Reader,
    model: Microstructure,
    instructions: Sequence[tuple[str, str, int | None]],
    *,
    paths: int,
    steps: int,
) -> list[Instructed]:
    """Every instruction after the embedded S&P 500, in order.

    Args:
        reader: of the instructions.
        model: guide and history to bars.
        instructions: text, asset class, and the number of bars that the history ends with.
        paths, steps: of each; instruction k has the seed k + 1.
    """
    bars = embedded_bars()["SP500"]
    found = []
    for seed, (text, asset, end) in enumerate(instructions, 1):
        past = bars if end is None else bars.head(end)
        context = History(past, "S&P 500").context(BARS_PER_YEAR, asset)
        history = bars_to_tensor(past.tail(model.history_length + 1))
        sizes = {"paths": paths, "steps": steps, "seed": seed}
        found.append(instructed(model, reader.read(text, context), history, context, **sizes))
    return found


def by_instruction(found: Sequence[Instructed], field: str) -> tuple[Recovery, Recovery]:
    """Recovery of a field's mean coordinate over instructions: from bars, and from SDE paths."""
    j = FIELD_NAMES.index(field)
    asked = torch.stack([one.asked[:, j].mean() for one in found])
    rows = (
        torch.stack([labels.loc[:, j].mean() for labels in side])
        for side in ([one.bars for one in found], [one.path for one in found])
    )
    first, second = (recovery(asked, row) for row in rows)
    return first, second


def by_path(found: Sequence[Instructed], field: str) -> tuple[Recovery, Recovery]:
    """Recovery of a field over all paths of all instructions: from bars, and from SDE paths."""
    j = FIELD_NAMES.index(field)
    asked = torch.cat([one.asked[:, j] for one in found])
    bars = torch.cat([one.bars.loc[:, j] for one in found])
    path = torch.cat([one.path.loc[:, j] for one in found])
    return recovery(asked, bars), recovery(asked, path)


def drift_control(found: Sequence[Instructed]) -> tuple[Measured, Measured]:
    """Slope of the growth on the drift asked for, weighted by 1/error^2, and the share of pairs of
    instructions in the right order among those whose drifts are ``ENOUGH`` errors apart.
    """
    asked = torch.tensor([one.drift for one in found], dtype=torch.float64)
    grown = torch.tensor([one.growth.value or 0.0 for one in found], dtype=torch.float64)
    error = torch.tensor([one.growth.error or math.inf for one in found], dtype=torch.float64)
    weight = error**-2
    x = asked - (weight @ asked) / weight.sum()
    spread = float(weight @ x.square())
    if not spread > 0:
        none = Measured(None, None, "all drifts asked for are alike")
        return none, none
    slope = Measured(float((weight * x) @ grown) / spread, spread**-0.5)
    gap = asked[:, None] - asked
    known = gap > ENOUGH * (error[:, None].square() + error.square()).sqrt()
    pairs = int(known.sum())
    if not pairs:
        return slope, Measured(None, None, "no two drifts are far enough apart")
    right = ((grown[:, None] > grown) & known).sum()
    return slope, Measured(float(right) / pairs, None, f"{pairs} pairs")
