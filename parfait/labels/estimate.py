"""``label_windows``: windows of bars -> posteriors over regimes, in closed form."""

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels.posterior import Labels
from parfait.labels.volatility import log_returns, volatility_posterior
from parfait.regime import FIELD_NAMES, FIELDS, Regime
from parfait.regime.fields import to_coordinate
from parfait.utils.errors import UserError

SHARPE_SD = 1.0  # prior spread of log drift / volatility, 1/sqrt(year): most assets live below 1
MEASURED = ("drift", "volatility", "initial_volatility")

# Centre (natural units) and spread (unconstrained units) of what a window does not tell.
# Twenty daily bars hold 0.08 years: jumps a few times a year, mean reversion and the variance
# process leave next to no trace there, so the prior is what is known.
_PRIOR = {
    "drift": (0.0, 1.0),
    "volatility": (0.2, 0.8),
    "jump_intensity": (2.0, 1.5),
    "jump_mean": (0.0, 0.03),
    "jump_std": (0.03, 0.6),
    "mean_reversion": (0.5, 1.5),
    "hurst": (0.5, 0.4),
    "variance_reversion": (5.0, 1.0),
    "vol_of_vol": (0.4, 0.9),
    "leverage": (-0.4, 0.4),
    "initial_volatility": (0.2, 0.8),
}
_Z95 = 1.6448536269514722
_LEAST_SD = 1e-7  # per bar: below this, prices do not move and nothing is measured


def label_windows(
    bars: Float64[Tensor, "windows n 5"],
    bars_per_year: float | Float64[Tensor, " windows"],
    before: Float64[Tensor, "windows m 5"] | None = None,
) -> Labels:
    """Posterior over the regime of every window.

    Volatility: Yang-Zhang of the window's n - 1 returns, Gaussian in ln sigma. It is the *total*
    volatility: a jump inside the window counts as diffusion, so the jump fields, which keep their
    prior, must not be added to it.

    Drift: with mean log return g/year over T years and prior g ~ N(0, (S sigma)^2), S = 1,
    g | window ~ N(T g / (T + 1/S^2), sigma^2 / (T + 1/S^2)) and mu = g + sigma^2 / 2; the Gaussian
    in the drift coordinate has the same 5 % and 95 % quantiles.

    Initial volatility: Yang-Zhang of the bars ``before`` the window, of the window itself without.

    Args:
        bars: valid bars as ``BAR_FIELDS``; the first serves as "before" only.
        bars_per_year: frequency, one for all windows or one each.
        before: the bars that precede each window.

    Raises:
        UserError: fewer than 3 bars, a wrong shape, invalid prices, or ``bars_per_year`` <= 0.
    """
    _check(bars, "bars")
    windows = bars.shape[0]
    frequency = torch.as_tensor(bars_per_year, dtype=torch.float64).expand(windows)
    if not bool(((frequency > 0) & torch.isfinite(frequency)).all()):
        raise UserError(f"bars_per_year = {bars_per_year} must be finite and above 0")
    prior_loc, prior_scale = _prior()
    loc, scale = prior_loc.repeat(windows, 1), prior_scale.repeat(windows, 1)

    sigma, error, fallback = _annual_volatility(bars, frequency)
    start, start_error = sigma, error
    if before is not None:
        _check(before, "before")
        start, start_error, _ = _annual_volatility(before, frequency)
    years = (bars.shape[1] - 1) / frequency
    growth = log_returns(bars).mean(dim=1) * frequency
    precision = years + 1 / SHARPE_SD**2
    centre = years * growth / precision + sigma.square() / 2
    spread = sigma / precision.sqrt()
    high = to_coordinate("drift", centre + _Z95 * spread)
    low = to_coordinate("drift", centre - _Z95 * spread)

    measured = {
        "drift": ((high + low) / 2, (high - low) / (2 * _Z95)),
        "volatility": (to_coordinate("volatility", sigma), error),
        # ln(sqrt(v0) + shift) moves by less than ln sqrt(v0) does, the more so near zero.
        "initial_volatility": (
            to_coordinate("initial_volatility", start),
            start_error * start / to_coordinate("initial_volatility", start).exp(),
        ),
    }
    for name, (centres, spreads) in measured.items():
        j = FIELD_NAMES.index(name)
        loc[:, j], scale[:, j] = centres, spreads
    identified = torch.tensor([name in MEASURED for name in FIELD_NAMES])
    return Labels(loc, scale, identified, fallback)


def _annual_volatility(bars: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    sd, error, fallback = volatility_posterior(bars)
    still = sd < _LEAST_SD
    centre, spread = _PRIOR["volatility"]
    field = FIELDS[FIELD_NAMES.index("volatility")]
    sigma = torch.where(still, centre, (sd * frequency.sqrt()).clamp(field.low, field.high))
    return sigma, torch.where(still, spread, error), fallback | still


def _prior() -> tuple[Float64[Tensor, "11"], Float64[Tensor, "11"]]:
    centre = Regime(**{name: value for name, (value, _) in _PRIOR.items()})
    spread = torch.tensor([_PRIOR[name][1] for name in FIELD_NAMES], dtype=torch.float64)
    return centre.to_unconstrained(), spread


def _check(bars: Tensor, what: str) -> None:
    if bars.ndim != 3 or bars.shape[2] != 5:
        raise UserError(f"{what} has shape {tuple(bars.shape)} instead of (windows, bars, 5)")
    if bars.shape[1] < 3:
        raise UserError(f"{what} has {bars.shape[1]} bars a window; a label needs at least 3")
    prices = bars[..., :4]
    if bars.dtype != torch.float64 or not bool((torch.isfinite(prices) & (prices > 0)).all()):
        raise UserError(f"{what} must be float64 with finite prices above 0")
