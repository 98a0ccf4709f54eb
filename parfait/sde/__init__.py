"""Theory layer: from a regime to price paths, and from paths to the guide that bars must follow."""

from parfait.sde.assets import Correlations, MultiAsset
from parfait.sde.bates import Bates
from parfait.sde.condition import MODES, Conditioned, Mode, Target, conditioned, pin
from parfait.sde.correlation import nearest_correlation
from parfait.sde.fgbm import FractionalGBM
from parfait.sde.gbm import GBM
from parfait.sde.guide import Guide, make_guide
from parfait.sde.heston import Heston
from parfait.sde.kou import Kou
from parfait.sde.merton import Merton
from parfait.sde.ou import OU
from parfait.sde.process import Paths, Process, SdeWarning
from parfait.sde.regime_sde import RegimeSDE
from parfait.sde.rough_bergomi import RoughBergomi
from parfait.sde.schedule import Schedule
from parfait.utils.errors import UserError

PROCESSES: dict[str, type[Process]] = {
    "gbm": GBM,
    "merton": Merton,
    "kou": Kou,
    "heston": Heston,
    "bates": Bates,
    "ou": OU,
    "fgbm": FractionalGBM,
    "rough_bergomi": RoughBergomi,
    "regime": RegimeSDE,
}


def load_process(name: str) -> type[Process]:
    """The process class of that name; ``UserError`` listing the names when there is none."""
    if name not in PROCESSES:
        raise UserError(f"process {name!r} is unknown; use one of {', '.join(PROCESSES)}")
    return PROCESSES[name]


__all__ = [
    "GBM",
    "MODES",
    "OU",
    "PROCESSES",
    "Bates",
    "Conditioned",
    "Correlations",
    "FractionalGBM",
    "Guide",
    "Heston",
    "Kou",
    "Merton",
    "Mode",
    "MultiAsset",
    "Paths",
    "Process",
    "RegimeSDE",
    "RoughBergomi",
    "Schedule",
    "SdeWarning",
    "Target",
    "conditioned",
    "load_process",
    "make_guide",
    "nearest_correlation",
    "pin",
]
