"""``TradingVectorEnv``: thousands of accounts in one process, stepped together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy import ndarray

from parfait.envs.core import Core
from parfait.envs.modes import RENDER_MODES, checked
from parfait.utils.errors import UserError

AUTORESET = {"same_step": AutoresetMode.SAME_STEP, "next_step": AutoresetMode.NEXT_STEP}


class TradingVectorEnv(VectorEnv):
    """``num_envs`` environments ``parfait/Trading-v0``; also ``gymnasium.make_vec``.

    Account i of ``reset(seed=s)`` lives what a single environment does after ``reset(seed=s+i)``;
    not so of ``LiveScenarios``, whose paths all accounts share, made with the seed of the first.

    Args:
        source: the paths: ``LiveScenarios``, or what ``load_market`` takes.
        num_envs: number of accounts.
        autoreset: ``same_step``: the step that ends an episode returns the first observation of
            the next, and the last one in ``info["final_obs"]``. ``next_step``: the step after the
            end ignores its action, begins the next episode and pays 0.
        render_mode: ``rgb_array`` or nothing.
        **settings: of ``Core``.

    Raises:
        UserError: settings that do not fit each other or the source.
    """

    def __init__(
        self,
        source: Any = None,
        num_envs: int = 1,
        *,
        autoreset: str = "same_step",
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if autoreset not in AUTORESET:
            raise UserError(f"autoreset={autoreset} must be one of {', '.join(AUTORESET)}")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {"render_modes": RENDER_MODES, "autoreset_mode": AUTORESET[autoreset]}
        self.core = Core(source, num_envs, **settings)
        self.single_action_space = self.core.action_space
        self.single_observation_space = self.core.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        if checked(render_mode):
            self.core.record()
        self._same_step = autoreset == "same_step"
        self._again = np.zeros(0, dtype=np.int64)  # accounts that the next step begins anew

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[ndarray, dict[str, Any]]:
        """Begins an episode in every account.

        Args:
            seed: account i takes ``seed + i``, or the i-th of a list; ``None`` goes on.
            options: ``path`` and ``bar`` of the first decision, one or one each, in place of
                random ones.
        """
        n = self.num_envs
        if seed is not None:
            seeds = (
                [seed + i for i in range(n)] if isinstance(seed, int | np.integer) else list(seed)
            )
            if len(seeds) != n:
                raise UserError(f"{len(seeds)} seeds for {n} environments; give one each")
            super().reset(seed=seeds[0])
            self.core.seed([seeding.np_random(s)[0] for s in seeds])
        elif not self.core.episodes.seeded:
            self.core.seed(self.np_random.spawn(n))
        self._again = self._again[:0]
        self.core.begin(np.arange(n), options)
        return self.core.observe(), {}

    def step(self, actions: ndarray) -> tuple[ndarray, ndarray, ndarray, ndarray, dict[str, Any]]:
        """One bar in every account: observations, rewards, terminated, truncated, info.

        Where episodes end, ``info["episode"]`` holds r, l, t and what ``Core.told`` tells, 0
        elsewhere, and ``info["_episode"]`` says where; likewise ``final_obs`` and ``final_info``.
        """
        core, again = self.core, self._again
        if not core.episodes.seeded:
            raise UserError("the environments were never reset; call reset() before step()")
        if len(again):
            core.begin(again)
        rewards, terminated, truncated = core.step(actions)
        if len(again):
            core.begin_again(again)
            rewards[again], terminated[again], truncated[again] = 0.0, False, False
            self._again = again[:0]
        ended = terminated | truncated
        seen = core.observe()
        if not np.count_nonzero(ended):
            return seen, rewards, terminated, truncated, {}
        envs = np.flatnonzero(ended)
        told = self._told(envs, ended)
        if self._same_step:
            last = np.full(self.num_envs, None, dtype=object)
            for i, row in zip(envs, seen[envs], strict=True):
                last[i] = row
            told |= {"final_info": dict(told), "_final_info": ended.copy()}
            told |= {"final_obs": last, "_final_obs": ended.copy()}
            core.begin(envs)
            seen[envs] = core.observe(envs)
        else:
            self._again = envs
        return seen, rewards, terminated, truncated, told

    def _told(self, envs: ndarray, ended: ndarray) -> dict[str, Any]:
        episode = {}
        for name, value in self.core.told(envs).items():
            episode[name] = np.zeros(self.num_envs, dtype=value.dtype)
            episode[name][envs] = value
            episode[f"_{name}"] = ended.copy()
        return {"episode": episode, "_episode": ended.copy()}

    def render(self) -> tuple[ndarray, ...] | None:
        """A picture of each account's episode so far; ``None`` without a render mode."""
        if self.render_mode is None or not self.core.episodes.seeded:
            return None
        from parfait.envs.render import picture

        return tuple(picture(self.core, i) for i in range(self.num_envs))
