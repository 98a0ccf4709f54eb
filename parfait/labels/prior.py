"""What is known of a regime before a window is seen."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.jump_posterior import INTENSITY, INTENSITY_SD, SIZE
from parfait.labels.jumps import MEAN_SD
from parfait.labels.reversion import HIGH, LOW
from parfait.regime import FIELD_NAMES, Regime

DAILY = 252.0
VOL_OF_VOL = 2.0  # xi / sigma, as a regime without one has it

# Centre (natural units) and spread (unconstrained units). Jumps and mean reversion are rates per
# bar, given here at 252 bars a year: one prior then serves every bar length. The jump fields, the
# mean reversion and H are those of their grids, so a window that says nothing returns them.
PRIOR: dict[str, tuple[float, float]] = {
    "drift": (0.0, 1.0),
    "volatility": (0.2, 0.8),
    "jump_intensity": (INTENSITY * DAILY, INTENSITY_SD),
    "jump_mean": (0.0, MEAN_SD),
    "jump_std": (SIZE, 0.6),  # the sd of the t distribution's bulk
    "mean_reversion": (math.sqrt(LOW * HIGH) * DAILY, math.log(HIGH / LOW) / math.sqrt(12)),
    "hurst": (0.5, 1.73),
    "variance_reversion": (5.0, 1.0),
    "vol_of_vol": (0.4, 0.9),
    "leverage": (-0.4, 0.4),
    "initial_volatility": (0.2, 0.8),
}
RATES = ("jump_intensity", "mean_reversion")

# "None", where memory and reversion would explain the same thing twice: 0 and 1/2, spreads of the
# coordinate that keep 90 % of kappa below 0.06 a year and of H within 0.04.
NONE = {"mean_reversion": (0.0, 0.5), "hurst": (0.5, 0.1)}


def prior_coordinates(
    bars_per_year: Float64[Tensor, " windows"],
) -> tuple[Float64[Tensor, "windows 11"], Float64[Tensor, "windows 11"]]:
    """Centre and spread of every coordinate for windows of bars of these frequencies."""
    ones = torch.ones_like(bars_per_year)
    values = {name: value * ones for name, (value, _) in PRIOR.items()}
    for name in RATES:
        values[name] = (values[name] * bars_per_year / DAILY).clamp_max(1000.0)
    spread = torch.tensor([PRIOR[name][1] for name in FIELD_NAMES], dtype=torch.float64)
    return Regime(**values).to_unconstrained(), spread.repeat(len(ones), 1)
