"""Theory layer: from a regime to price paths, and from paths to the guide that bars must follow."""

from parfait.sde.bates import Bates
from parfait.sde.gbm import GBM
from parfait.sde.guide import Guide, make_guide
from parfait.sde.heston import Heston
from parfait.sde.kou import Kou
from parfait.sde.merton import Merton
from parfait.sde.process import Paths, Process, SdeWarning
from parfait.utils.errors import UserError

PROCESSES: dict[str, type[Process]] = {
    "gbm": GBM,
    "merton": Merton,
    "kou": Kou,
    "heston": Heston,
    "bates": Bates,
}


def load_process(name: str) -> type[Process]:
    """The process class of that name; ``UserError`` listing the names when there is none."""
    if name not in PROCESSES:
        raise UserError(f"process {name!r} is unknown; use one of {', '.join(PROCESSES)}")
    return PROCESSES[name]


__all__ = [
    "GBM",
    "PROCESSES",
    "Bates",
    "Guide",
    "Heston",
    "Kou",
    "Merton",
    "Paths",
    "Process",
    "SdeWarning",
    "load_process",
    "make_guide",
]
