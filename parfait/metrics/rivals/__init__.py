"""The trivial and the econometric generators that stand beside every claim."""

from collections.abc import Callable, Sequence
from functools import partial

from jaxtyping import Float64
from torch import Tensor

from parfait.metrics.baselines import bootstrap_bars, bridge_bars
from parfait.metrics.rivals.garch import Garch, GarchName, fit_garch
from parfait.metrics.rivals.theory import theory_bars
from parfait.utils.errors import UserError

Rival = Callable[..., Tensor]
GARCHES: tuple[GarchName, ...] = ("garch-t", "gjr-skewt")


def make_rivals(
    train_history: Float64[Tensor, "train bars 5"],
    train: Float64[Tensor, "train steps 5"],
    returns: Sequence[Float64[Tensor, " n"]],
    bars_per_year: float,
) -> dict[str, Rival | str]:
    """Generators ``rival(history, steps, *, guide=None, generator)`` of valid bars by name; for one
    that cannot be had, the reason instead.

    Every rival but ``copy`` also runs guided: its returns are projected on the guide. ``copy``
    continues each history by a random training window in the history's units.

    Args:
        train_history, train: training windows; ``train`` has at least 8 steps, and for ``copy`` as
            many as are asked for.
        returns: the training log returns of each asset in a row, for GARCH.
        bars_per_year: frequency of the bars.
    """
    pool = train_history, train
    theory = partial(theory_bars, bars_per_year=bars_per_year)
    rivals: dict[str, Rival | str] = {
        "copy": partial(bootstrap_bars, *pool, block=train.shape[1]),
        "bootstrap": partial(bootstrap_bars, *pool),
        "bridge": bridge_bars,
        "gbm": partial(theory, process="gbm"),
        "heston": partial(theory, process="heston"),
    }
    for name in GARCHES:
        try:
            rivals[name] = fit_garch(returns, name).bars
        except UserError as error:
            rivals[name] = str(error)
    return rivals


__all__ = ["GARCHES", "Garch", "GarchName", "Rival", "fit_garch", "make_rivals", "theory_bars"]
