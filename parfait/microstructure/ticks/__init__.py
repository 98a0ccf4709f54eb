"""Bars -> trades: price, bid, ask and size of every tick, the bar met exactly."""

from parfait.microstructure.ticks.intraday import Intraday, parametric_day
from parfait.microstructure.ticks.learn import learn_day, load_minutes
from parfait.microstructure.ticks.model import TICK_COLUMNS, TickModel, refine_ticks
from parfait.microstructure.ticks.spread import edge, roll
from parfait.microstructure.ticks.writing import write_ticks

__all__ = [
    "TICK_COLUMNS",
    "Intraday",
    "TickModel",
    "edge",
    "learn_day",
    "load_minutes",
    "parametric_day",
    "refine_ticks",
    "roll",
    "write_ticks",
]
