"""``PPO``: proximal policy optimisation by stable-baselines3; its actor becomes an ``Agent``."""

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from parfait.agents.agent import Agent
from parfait.utils.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class PPO:
    """How an agent is trained: Schulman et al. 2017, with generalised advantages.

    The action is the target weight of the position, drawn from a normal law around the network's
    answer while training. The critic has a network of the same size; rewards are scaled for it.

    Args:
        steps: bars traded in training, over all accounts; rounded up to whole rollouts.
        accounts: that trade at once.
        rollout: bars of every account between two updates.
        epochs: passes over a rollout.
        batch_size: bars of a step of the optimiser.
        learning_rate: of Adam.
        discount: of a reward one bar later.
        gae: the lambda of the advantages.
        clip: of the ratio of probabilities.
        entropy: weight of the entropy bonus.
        log_std: of the actions at the start.
        width: units of each of the two hidden layers.
        window: bars that are observed.
        weights: least and largest weight of the position.
        reward: of the environment; see ``parfait.envs``.
        broker: costs and limits; see ``parfait.envs.Broker``.
        seeds: agents of every arm; they share nothing but what they are trained on.

    Raises:
        UserError: a setting out of range, or stable-baselines3 is not installed.
    """

    steps: int = 100_000
    accounts: int = 64
    rollout: int = 63
    epochs: int = 4
    batch_size: int = 1008
    learning_rate: float = 3e-4
    discount: float = 0.9
    gae: float = 0.9
    clip: float = 0.2
    entropy: float = 0.0
    log_std: float = -0.5
    width: int = 64
    window: int = 32
    weights: tuple[float, float] = (-1.0, 1.0)
    reward: str | Mapping[str, Any] = "differential_sharpe"
    broker: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 8

    def __post_init__(self) -> None:
        for name in ("steps", "accounts", "epochs", "width", "window", "seeds"):
            require(f"model.{name}", getattr(self, name), 1)
        require("model.rollout", self.rollout, 2)
        require("model.batch_size", self.batch_size, 2)
        for name in ("discount", "gae"):
            require(f"model.{name}", getattr(self, name), 0.0, 1.0)
        for name in ("learning_rate", "clip"):
            require(f"model.{name}", getattr(self, name), 1e-9, 1.0)
        if importlib.util.find_spec("stable_baselines3") is None:
            raise UserError(
                "agents are trained by the package stable-baselines3, which is missing: "
                'pip install "parfait[rl]"'
            )
        from parfait.envs import Broker
        from parfait.envs.core import action_space
        from parfait.envs.rewards import make_reward

        # Mistakes are told before anything is generated.
        Broker.read(self.broker)
        action_space("continuous", self.weights)
        make_reward(self.reward)

    @property
    def settings(self) -> dict[str, Any]:
        """Of the environment, in training and in the test."""
        return {
            "window": self.window,
            "weights": tuple(self.weights),
            "broker": dict(self.broker),
        }

    def train(self, market: Any, seed: int, about: Mapping[str, Any]) -> Agent:
        """An agent that traded in ``market``; the same for the same seed.

        Args:
            market: a ``parfait.envs.Market`` of episodes.
            seed: of its first weights, its actions and the order of the episodes.
            about: told with the agent.

        Raises:
            UserError: settings that the environment refuses.
        """
        import stable_baselines3
        from stable_baselines3.common.vec_env import VecNormalize

        from parfait.envs.sb3 import TradingVecEnv

        env = TradingVecEnv(market, self.accounts, reward=self.reward, **self.settings)
        layers = [self.width, self.width]
        learner = stable_baselines3.PPO(
            "MlpPolicy",
            VecNormalize(env, norm_obs=False, gamma=self.discount),
            n_steps=self.rollout,
            batch_size=self.batch_size,
            n_epochs=self.epochs,
            learning_rate=self.learning_rate,
            gamma=self.discount,
            gae_lambda=self.gae,
            clip_range=self.clip,
            ent_coef=self.entropy,
            policy_kwargs={
                "net_arch": {"pi": layers, "vf": layers},
                "log_std_init": self.log_std,
            },
            seed=seed % 2**32,
            device="cpu",
        )
        learner.learn(self.steps)
        last = [episode["r"] for episode in learner.ep_info_buffer or ()]
        earned = {"training_reward": float(np.mean(last)) if last else None}
        numbers = int(np.prod(env.observation_space.shape or (1,)))
        agent = Agent(
            [numbers, *layers, 1],
            *map(float, self.weights),
            about={**about, **earned, "seed": seed, "made_by": asdict(self)},
        )
        policy: Any = learner.policy
        state = policy.mlp_extractor.policy_net.state_dict()
        hidden = len(layers) * 2
        state |= {f"{hidden}.{k}": v for k, v in policy.action_net.state_dict().items()}
        agent.net.load_state_dict(state)
        return agent
