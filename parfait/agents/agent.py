"""``Agent``: a small network from what an environment shows to the weight of a position."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from parfait.utils.errors import MISFITS, UserError, first_line

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

FORMAT = 1


class Agent(nn.Module):
    """tanh layers and a linear one; the action is clipped to the bounds.

    Args:
        sizes: numbers of an observation, units of every hidden layer, and 1.
        low, high: least and largest weight of the position.
        about: how it came to be, and ``settings`` of the environment it was trained in.
    """

    def __init__(
        self, sizes: list[int], low: float, high: float, about: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.sizes, self.low, self.high, self.about = list(sizes), low, high, dict(about or {})
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.Tanh()]
        self.net = nn.Sequential(*layers[:-1])

    @torch.inference_mode()
    def act(self, observations: Float32[ndarray, "envs numbers"]) -> Float32[ndarray, "envs 1"]:
        """Weights of the positions, without noise.

        Raises:
            UserError: observations of another size.
        """
        if observations.ndim != 2 or observations.shape[1] != self.sizes[0]:
            raise UserError(
                f"observations of shape {observations.shape} do not fit an agent that sees "
                f"{self.sizes[0]} numbers; give the environment its window"
            )
        return self.net(torch.from_numpy(observations)).clamp(self.low, self.high).numpy()

    def to_bytes(self) -> bytes:
        """A safetensors file; equal agents give equal bytes."""
        told = {"format": FORMAT, "sizes": self.sizes, "low": self.low, "high": self.high}
        tensors = {name: value.contiguous() for name, value in self.net.state_dict().items()}
        return save(tensors, {"agent": json.dumps({**told, "about": self.about}, sort_keys=True)})

    @classmethod
    def load(cls, file: str | Path) -> "Agent":
        """The agent that ``to_bytes`` wrote.

        Raises:
            UserError: there is no such file, or it holds no agent.
        """
        if not Path(file).is_file():
            raise UserError(f"{file} is no file; give agents/ARM_K.safetensors of a run")
        try:
            with safe_open(file, "pt") as opened:
                told = json.loads(opened.metadata()["agent"])
                if told["format"] != FORMAT:
                    raise UserError(f"{file} is of format {told['format']}, not {FORMAT}")
                agent = cls(told["sizes"], told["low"], told["high"], told["about"])
                agent.net.load_state_dict({k: opened.get_tensor(k) for k in opened.keys()})  # noqa: SIM118
        except UserError:
            raise
        except (*MISFITS, SafetensorError) as error:
            raise UserError(f"{file} holds no agent: {first_line(error)}") from error
        return agent


def replay(agent: Agent | str | Path, env: "VectorEnv", *, seed: int = 0) -> pl.DataFrame:
    """Lets an agent trade one episode in every account of an environment.

    Args:
        agent: it, or its file.
        env: a ``TradingVectorEnv`` whose observations are as large as those of its training.
        seed: of the episodes that are drawn.

    Returns:
        A row per account and bar until its episode ended: ``account``, ``step``, ``weight`` that
        was asked for, ``reward``.

    Raises:
        UserError: a file without an agent, or an environment that shows other observations.
    """
    agent = agent if isinstance(agent, Agent) else Agent.load(agent)
    seen, _ = env.reset(seed=seed)
    running = np.ones(env.num_envs, dtype=bool)
    rows, step = list[pl.DataFrame](), 0
    while running.any():
        weight = agent.act(seen)
        seen, rewards, terminated, truncated, _ = env.step(weight)
        accounts = np.flatnonzero(running)
        rows.append(
            pl.DataFrame(
                {
                    "account": accounts,
                    "step": np.full(len(accounts), step),
                    "weight": weight[accounts, 0].astype(np.float64),
                    "reward": rewards[accounts],
                }
            )
        )
        running &= ~(terminated | truncated)
        step += 1
    return pl.concat(rows).sort("account", "step")
