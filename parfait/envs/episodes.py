"""Which episodes accounts live: the market, the path, and the bar of the first decision."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from parfait.envs.live import LiveScenarios
from parfait.envs.market import Market
from parfait.envs.scenarios import Frame
from parfait.envs.sources import load_market
from parfait.utils.errors import UserError

_AHEAD = 64  # episodes whose random numbers are drawn at a time

Some = Int64[ndarray, " some"]


class Episodes:
    """Draws episodes: a path by its weight, and with a horizon a random bar to begin at.

    Args:
        source: ``LiveScenarios``, or what ``load_market`` takes.
        n: number of accounts.
        window: bars of an observation.
        horizon: steps of an episode; ``None`` goes on to the end of the path.
        bars_per_year, history: of ``load_market``.

    Raises:
        UserError: a source that cannot be used, or paths shorter than an episode.
    """

    def __init__(
        self,
        source: Any,
        n: int,
        window: int,
        horizon: int | None,
        bars_per_year: float | None,
        history: Frame | None,
    ) -> None:
        if horizon is not None and horizon < 1:
            raise UserError(f"horizon={horizon} must be at least 1, or null for whole paths")
        self._n, self._window, self._horizon = n, window, horizon
        self._generators: list[np.random.Generator] = []
        self._draws, self._count = np.zeros((0, _AHEAD, 2)), np.zeros(n, dtype=np.int64)
        self._live = source if isinstance(source, LiveScenarios) else None
        self._begun, self._generation, self._seed = 0, 0, 0
        if self._live is None:
            options: dict[str, Any] = {"bars_per_year": bars_per_year, "history": history}
            self._enter([load_market(source, window=window, **options)])
        elif bars_per_year is None and history is None:
            self.steps = np.array([horizon or self._live.horizon])  # their market needs a seed
        else:
            raise UserError("bars_per_year and history of live scenarios belong into their options")

    def _enter(self, blocks: list[Market]) -> None:
        """Markets of which the last is drawn from, and the others are still in use."""
        self._blocks = blocks
        self.market = market = Market.join(blocks, [0] * (len(blocks) - 1) + [1])
        lengths = np.diff(market.first)
        self._head = np.maximum(market.past, self._window)
        most = lengths - self._head
        short = np.flatnonzero(most < (self._horizon or 1))
        if len(short):
            raise UserError(
                f"path {short[0]} has {lengths[short[0]]} bars, fewer than the "
                f"{self._head[short[0]]} before the first decision (window={self._window}) and the "
                f"{self._horizon or 1} after it; shorten window or horizon, or give more bars"
            )
        self.steps = most if self._horizon is None else np.full_like(most, self._horizon)
        self._spare = most - self.steps + 1
        self._chances = np.cumsum(market.weight)
        self._chances[np.flatnonzero(market.weight)[-1] :] = 1.0  # the sum but for rounding

    @property
    def seeded(self) -> bool:
        """Whether episodes can be drawn."""
        return bool(self._generators)

    @property
    def has_market(self) -> bool:
        """Whether ``market`` is there: live scenarios are generated with the first seed."""
        return self._live is None or self.seeded

    def seed(self, generators: list[np.random.Generator]) -> None:
        """The source of each account's episodes; live scenarios begin anew with the first one's."""
        self._count[:] = 0
        self._draws = np.stack([g.random((_AHEAD, 2)) for g in generators])
        if self._live is not None:
            self._begun, self._generation = 0, 0
            self._seed = int(generators[0].integers(2**62))
            self._enter([self._live.market(self._seed, 0, self._window)])
        self._generators = generators

    def renew(self, envs: Some, path: Int64[ndarray, " envs"]) -> tuple[int, int] | None:
        """Fresh live scenarios when they are due, before episodes begin in ``envs``.

        Args:
            envs: accounts that leave the paths they are on.
            path: of every account.

        Returns:
            The number of paths and rows that are gone from the beginning of the market, or ``None``
            where it is as it was.
        """
        if self._live is None:
            return None
        due = self._begun >= self._live.every * (self._generation + 1)
        self._begun += len(envs)
        if not due:
            return None
        self._generation += 1
        fresh = self._live.market(self._seed, self._generation, self._window)
        ends = np.cumsum([block.n_paths for block in self._blocks])
        oldest = np.delete(path, envs).min(initial=ends[-1])
        left = int(np.searchsorted(ends, oldest, side="right"))
        gone, kept = self._blocks[:left], self._blocks[left:]
        self._enter([*kept, fresh])
        return sum(block.n_paths for block in gone), sum(len(block.close) for block in gone)

    def draw(self, envs: Some) -> tuple[Some, Some]:
        """Path and bar of the first decision of new episodes."""
        count = self._count[envs]
        for i in envs[(count > 0) & (count % _AHEAD == 0)]:
            self._draws[i] = self._generators[i].random((_AHEAD, 2))
        which, when = self._draws[envs, count % _AHEAD].T
        self._count[envs] += 1
        path = np.searchsorted(self._chances, which, side="right")
        return path, self._head[path] - 1 + (when * self._spare[path]).astype(np.int64)

    def chosen(self, options: Mapping[str, Any]) -> tuple[Some, Some]:
        """Path and bar of the first decision of all accounts, from the options of a reset.

        Raises:
            UserError: an unknown option, or an episode that the market does not hold.
        """
        if not set(options) <= {"path", "bar"} or "path" not in options:
            raise UserError(f"reset options {sorted(options)} must be path, or path and bar")
        path = np.broadcast_to(np.asarray(options["path"], dtype=np.int64), self._n)
        if not ((path >= 0) & (path < self.market.n_paths)).all():
            raise UserError(f"path={options['path']} must be from 0 to {self.market.n_paths - 1}")
        begin = self._head[path] - 1
        bar = np.broadcast_to(np.asarray(options.get("bar", begin), dtype=np.int64), self._n)
        if not ((bar >= begin) & (bar < begin + self._spare[path])).all():
            raise UserError(
                f"bar={options['bar']} must be from {begin.max()} to "
                f"{(begin + self._spare[path]).min() - 1}, so that window and horizon fit"
            )
        return path, bar
