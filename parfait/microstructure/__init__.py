"""Guide + history + regime -> OHLCV bars: codec, exact constraint, diffusion, network."""

from parfait.microstructure.generate import Microstructure
from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.noise import Mix
from parfait.microstructure.samplers import SAMPLERS
from parfait.microstructure.ticks import refine_ticks

__all__ = ["SAMPLERS", "DenoiserModel", "Microstructure", "Mix", "refine_ticks"]
