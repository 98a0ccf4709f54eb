"""Bars as Gymnasium environments: ``parfait/Trading-v0``, alone or many at a time over one core.

Importing this package registers the environment; nothing else in Parfait does.
"""

from parfait.utils.errors import UserError

try:
    import gymnasium
except ImportError as error:
    raise UserError(
        'parfait.envs needs the package gymnasium: pip install "parfait[rl]"'
    ) from error

from parfait.envs.broker import Broker
from parfait.envs.live import LiveScenarios
from parfait.envs.market import Market
from parfait.envs.rewards import DifferentialSharpe, DrawdownPenalised, LogReturn
from parfait.envs.single import TradingEnv
from parfait.envs.vector import TradingVectorEnv

__all__ = [
    "Broker",
    "DifferentialSharpe",
    "DrawdownPenalised",
    "LiveScenarios",
    "LogReturn",
    "Market",
    "TradingEnv",
    "TradingVectorEnv",
]

ENV_ID = "parfait/Trading-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="parfait.envs.single:TradingEnv",
        vector_entry_point="parfait.envs.vector:TradingVectorEnv",
    )
