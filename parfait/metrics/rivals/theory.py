"""Our own theory layer without the network: bars by a Brownian bridge along paths of an SDE whose
parameters are what the history tells. Shows what the network adds."""

from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.labels import total_variance
from parfait.metrics.baselines import bars_between
from parfait.regime import Regime
from parfait.sde import GBM, Guide, Heston

TheoryName = Literal["gbm", "heston"]


def theory_bars(
    history: Float64[Tensor, "windows bars 5"],
    steps: int,
    *,
    process: TheoryName,
    bars_per_year: float,
    guide: Guide | None = None,
    generator: torch.Generator,
) -> Float64[Tensor, "windows steps 5"]:
    """Bars along GBM or Heston paths without drift, one per history.

    Volatility (the long-run one, where the variance starts) is that of all moves of the history
    (``labels.total_variance``); Heston's other parameters are the defaults of ``Regime``.

    Args:
        history: windows to continue.
        steps: bars to generate.
        process: ``gbm`` or ``heston``.
        bars_per_year: frequency of the bars.
        guide: levels and anchors, one row per window; each segment's surplus is spread evenly.
        generator: of paths, bridges and volume.
    """
    windows = history.shape[0]
    sigma = (total_variance(history) * bars_per_year).sqrt().clamp(1e-3, 5.0)
    regime = Regime(drift=torch.zeros_like(sigma), volatility=sigma)
    law = (GBM if process == "gbm" else Heston).from_regime(regime)
    years = steps / bars_per_year
    paths = law.sample(windows, steps, years, generator=generator, dtype=torch.float64)
    returns = paths.log_price.diff(dim=1)
    if paths.variance is None:
        variance = sigma.square()[:, None].expand(-1, steps)
    else:
        variance = (paths.variance[:, 1:] + paths.variance[:, :-1]) / 2
    deviation = (variance / bars_per_year).sqrt()
    return bars_between(history, returns, deviation, guide=guide, generator=generator)
