"""Parfait's own forecast: the simulation without an instruction, from many origins of a series;
and what any readings say of the returns to come.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from parfait.outlook import LOOK_BACK, outlook
from parfait.regime import MarketContext, Regime, RegimeDistribution
from parfait.sde import load_process
from parfait.semantic import Reader, load_reader
from parfait.utils.errors import UserError

ORIGINS = 64  # sampled together, which bounds memory


def neutral_paths(
    bars: Float64[Tensor, "bars 5"],
    origins: Int64[Tensor, " origins"],
    steps: int,
    paths: int,
    *,
    bars_per_year: float,
    asset: str,
    generator: torch.Generator,
    reader: Reader | None = None,
    sde: str = "regime",
) -> Float64[Tensor, "origins paths steps"]:
    """Log returns of the SDE of the neutral reading after each origin: the guide curves of
    ``Pipeline.run("", ...)``, before any bar is drawn.

    Args:
        bars: one series, columns as ``BAR_FIELDS``.
        origins: row of the last bar that is known; nothing after it is read.
        steps, paths: bars and paths for each origin.
        bars_per_year: frequency of the bars.
        asset: asset class.
        generator: of everything random.
        reader: of the empty instruction; the default one unless given.
        sde: name of the process.

    Raises:
        UserError: an origin outside the bars, or with too few moving bars before it.
    """
    if len(origins) and (int(origins.min()) < 0 or int(origins.max()) >= len(bars)):
        raise UserError(
            f"origins run from {int(origins.min())} to {int(origins.max())}; they must be rows of "
            f"the {len(bars)} bars"
        )
    reader = load_reader() if reader is None else reader
    parts = []
    for group in origins.split(ORIGINS):
        told = []
        for origin in group.tolist():
            past = bars[max(origin + 1 - LOOK_BACK, 0) : origin + 1]
            found = outlook(past, bars_per_year)
            if found is None:
                raise UserError(f"origin {origin}: too few bars before it moved to forecast from")
            context = MarketContext(
                asset, found.present, bars_per_year=bars_per_year, outlook=found
            )
            told.append(reader.read("", context).resolve(found.present))
        parts.append(
            scenario_returns(
                told, steps, paths, bars_per_year=bars_per_year, generator=generator, sde=sde
            )
        )
    return torch.cat(parts) if parts else torch.zeros(0, paths, steps, dtype=torch.float64)


def scenario_returns(
    told: Sequence[RegimeDistribution],
    steps: int,
    paths: int,
    *,
    bars_per_year: float,
    generator: torch.Generator,
    sde: str = "regime",
) -> Float64[Tensor, "readings paths steps"]:
    """Log returns of the SDE of every reading; conditions and later phases of scenarios count
    nothing.

    Args:
        told: readings whose initial volatility is resolved.
        steps, paths: bars and paths for each.
        bars_per_year: frequency of the bars.
        generator: of everything random.
        sde: name of the process.
    """
    process, parts = load_process(sde), []
    for start in range(0, len(told), ORIGINS):
        group = told[start : start + ORIGINS]
        drawn = [one.sample(paths, generator).to_unconstrained() for one in group]
        sampled = process.from_regime(Regime.from_unconstrained(torch.cat(drawn))).sample(
            len(group) * paths,
            steps,
            steps / bars_per_year,
            generator=generator,
            dtype=torch.float64,
        )
        parts.append(sampled.log_price.diff(dim=1).reshape(len(group), paths, steps))
    return torch.cat(parts) if parts else torch.zeros(0, paths, steps, dtype=torch.float64)
