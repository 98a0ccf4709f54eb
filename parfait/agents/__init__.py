"""Agents that trade: PPO on history, on scenarios, on a bootstrap; judged on years held out."""

from parfait.agents.agent import Agent, replay
from parfait.agents.episodes import Episodes
from parfait.agents.ppo import PPO

__all__ = ["PPO", "Agent", "Episodes", "replay"]
