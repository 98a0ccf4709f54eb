"""One account as a picture: prices, the account, and what it holds."""

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

from parfait.envs.core import Core
from parfait.report.style import INK, MUTED, SCENARIO_COLOURS, style


def picture(core: Core, i: int) -> UInt8[ndarray, "480 640 3"]:
    """The present episode of account i: closes of the window and since, account, and position."""
    first, now = core.began_at(i)
    equity, position = core.trail(i)
    market = core.market
    closes = market.close[first - core.window + 1 : now + 1]
    before = np.arange(1 - core.window, now - first + 1)
    since = np.arange(now - first + 1)
    with style():
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        price, account, held = figure.subplots(3, sharex=True, height_ratios=[3, 2, 1])
        price.plot(before, closes, color=INK, linewidth=1)
        price.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
        price.set_ylabel("close")
        name = market.scenarios[market.scenario[core.path[i]]]
        price.set_title(name[:60], parse_math=False)
        account.plot(since, equity, color=SCENARIO_COLOURS[0], linewidth=1.2)
        account.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
        account.set_ylabel("account / capital")
        colour = SCENARIO_COLOURS[1]
        held.fill_between(since, position, step="pre", color=colour, alpha=0.4)
        held.step(since, position, where="pre", color=colour, linewidth=1)
        held.set_ylabel("weight")
        held.set_xlabel("bars since the first decision")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
