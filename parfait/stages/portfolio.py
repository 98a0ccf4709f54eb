"""The portfolio of ``simulate``: checked before anything is generated, told afterwards."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from parfait.stages.schema import SimulateConfig, plain
from parfait.utils.errors import UserError
from parfait.utils.printable import printable

if TYPE_CHECKING:
    from parfait.basket import Basket
    from parfait.holdings import Holdings
    from parfait.simulation import Simulation
    from parfait.stress import Stress


def read_portfolio(settings: SimulateConfig) -> "Holdings | None":
    """What ``portfolio`` holds, with the symbols of ``history``; ``None`` where there is none.

    Raises:
        UserError: a file that cannot be read, or a symbol without a history.
    """
    if settings.portfolio is None:
        return None
    from parfait.histories import load_histories
    from parfait.holdings import read_holdings

    pasts = load_histories(plain(settings.history, text=True), plain(settings.history_options))
    return read_holdings(settings.portfolio, [past.label for past in pasts])


def hold(result: "Simulation | Basket", holdings: "Holdings | None") -> "Stress | None":
    """What the paths do to the portfolio, if there is one."""
    from parfait.stress import stress

    return None if holdings is None else stress(result, holdings)


def refuse_streamed(settings: SimulateConfig) -> None:
    """``UserError`` for a portfolio of a run in parts."""
    if settings.portfolio is not None:
        from parfait.stress import STREAMED

        raise UserError(STREAMED)


def show_portfolio(stress: "Stress | None", console: Console) -> None:
    """Print the risk of the portfolio, if there is one, and its worst path."""
    if stress is None:
        return
    risk, worst = stress.risk, stress.worst(1)[0]
    parts = [f"{name} {risk[name]:.1%}" for name in ("VaR95", "ES95", "VaR99", "ES99")]
    scenario = printable(worst["scenario"])
    line = (
        f"Portfolio: mean P&L {float(stress.pnl.mean()):+.1%}, {', '.join(parts)}, worst path "
        f"{worst['path']} {worst['pnl']:+.1%} ({scenario}); cash {stress.cash:.1%}"
    )
    console.print(Text(line))
