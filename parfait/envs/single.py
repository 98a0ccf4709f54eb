"""``TradingEnv``: one account, the Gymnasium environment ``parfait/Trading-v0``."""

from typing import Any

import gymnasium
import numpy as np
from numpy import ndarray

from parfait.envs.core import Core
from parfait.envs.modes import RENDER_MODES, checked
from parfait.utils.errors import UserError


class TradingEnv(gymnasium.Env):
    """One account; also ``gymnasium.make("parfait/Trading-v0", ...)``.

    Args:
        source: the paths: ``LiveScenarios``, or what ``load_market`` takes.
        render_mode: ``rgb_array`` or nothing.
        **settings: of ``Core``.

    Raises:
        UserError: settings that do not fit each other or the source.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 10}  # noqa: RUF012

    def __init__(
        self, source: Any = None, *, render_mode: str | None = None, **settings: Any
    ) -> None:
        self.render_mode = render_mode
        self.core = Core(source, 1, **settings)
        self.action_space = self.core.action_space
        self.observation_space = self.core.observation_space
        self._over = True
        if checked(render_mode):
            self.core.record()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ndarray, dict[str, Any]]:
        """Begins an episode: the observation, and its ``path`` and ``scenario``.

        Args:
            seed: fixes this episode and those after it.
            options: ``path`` and ``bar`` of the first decision in place of random ones.
        """
        super().reset(seed=seed)
        if seed is not None or not self.core.episodes.seeded:
            self.core.seed([self.np_random])
        self.core.begin(np.arange(1), options)
        self._over = False
        path = int(self.core.path[0])
        scenario = int(self.core.market.scenario[path])
        return self.core.observe()[0], {"path": path, "scenario": scenario}

    def step(self, action: Any) -> tuple[ndarray, float, bool, bool, dict[str, Any]]:
        """One bar: observation, reward, terminated, truncated, info, at the end with ``episode``.

        Raises:
            UserError: an action that is none, or an episode that is over.
        """
        if self._over:
            raise UserError("the episode is over or never began; call reset() before step()")
        rewards, terminated, truncated = self.core.step(action)
        self._over = bool(terminated[0] or truncated[0])
        told: dict[str, Any] = {}
        if self._over:
            ended = self.core.told(np.arange(1))
            told["episode"] = {name: value[0].item() for name, value in ended.items()}
        seen = self.core.observe()[0]
        return seen, float(rewards[0]), bool(terminated[0]), bool(truncated[0]), told

    def render(self) -> ndarray | None:
        """A picture (480, 640, 3) uint8 of the episode so far; ``None`` without a render mode."""
        if self.render_mode is None or not self.core.episodes.seeded:
            return None
        from parfait.envs.render import picture

        return picture(self.core, 0)
