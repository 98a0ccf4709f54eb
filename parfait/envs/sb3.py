"""``TradingVecEnv``: the vector environment as stable-baselines3 wants it."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy import ndarray

from parfait.envs.vector import TradingVectorEnv
from parfait.utils.errors import UserError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise UserError(
        'parfait.envs.sb3 needs the package stable-baselines3: pip install "parfait[rl]"'
    ) from error


class TradingVecEnv(VecEnv):
    """``PPO("MlpPolicy", TradingVecEnv(source, num_envs=64, ...))``.

    Args:
        source, num_envs, **settings: of ``TradingVectorEnv``; ``autoreset`` is ``same_step``.

    Raises:
        UserError: another ``autoreset``, or what ``TradingVectorEnv`` raises.
    """

    def __init__(self, source: Any = None, num_envs: int = 1, **settings: Any) -> None:
        if settings.pop("autoreset", "same_step") != "same_step":
            raise UserError("autoreset must be same_step: stable-baselines3 knows no other")
        self.env = TradingVectorEnv(source, num_envs, **settings)
        self._actions = np.zeros(0)
        super().__init__(num_envs, self.env.single_observation_space, self.env.single_action_space)

    def reset(self) -> ndarray:
        """First observations; the seed of ``seed(s)`` counts once."""
        seeds = None if self._seeds[0] is None else [int(s) for s in self._seeds if s is not None]
        options = {name: [each[name] for each in self._options] for name in self._options[0]}
        observations, _ = self.env.reset(seed=seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: ndarray) -> None:
        """Keeps the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[ndarray, ndarray, ndarray, list[dict[str, Any]]]:
        """Observations, float32 rewards, dones, and infos with ``episode``,
        ``terminal_observation`` and ``TimeLimit.truncated`` where an episode ended.
        """
        seen, rewards, terminated, truncated, told = self.env.step(self._actions)
        ended = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(ended):
            infos[i] = {
                "episode": {
                    name: value[i].item()
                    for name, value in told["episode"].items()
                    if not name.startswith("_")
                },
                "terminal_observation": told["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i]),
            }
        return seen, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Nothing is held."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once per account asked for."""
        return [getattr(self.env, attr_name)] * len(self._which(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets it for all accounts: they share one environment."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """A method of the vector environment, called once."""
        made = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [made] * len(self._which(indices))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None
    ) -> list[bool]:
        """Never."""
        return [False] * len(self._which(indices))

    def get_images(self) -> Sequence[ndarray | None]:
        """A picture per account."""
        return self.env.render() or [None] * self.num_envs

    def _which(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))
