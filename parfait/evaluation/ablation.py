"""Cells on what the network makes of its history, and on its long paths."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from parfait.evaluation.candidates import FREE, Ingredients
from parfait.evaluation.cells import Cell, Found, Score, cell, measured_score
from parfait.evaluation.realism import paired_facts, standard_error
from parfait.evaluation.suites import Suite
from parfait.evaluation.windows import Windows
from parfait.metrics.functional.c2st import c2st
from parfait.metrics.functional.calibration import crps, skill
from parfait.metrics.functional.targets import path_targets
from parfait.metrics.functional.windows import encode_whole, judge_channels
from parfait.metrics.measured import Measured
from parfait.microstructure.codec import window_scale
from parfait.regime import Regime
from parfait.utils.errors import UserError

WITH = "with its history"
ORDER = "its bars in another order"
OTHER = "history of another window, brought to the own scale"
TOLD = "with its history, told its volatility"
WITHOUT = "no history, told the volatility it had"
# Every row is read against the one it takes something from.
BASE = {WITH: WITH, ORDER: WITH, OTHER: WITH, TOLD: TOLD, WITHOUT: TOLD}
ROLLOUTS = (
    FREE,
    "network on SDE guides, their regime",
    "Brownian bridge on SDE guides, no network",
    "Heston, no guide, no network",
    "GARCH-t, no guide",
    "GJR skew-t, no guide",
)
PATHS, ROLLOUT_PATHS = 24, 150
_Z95 = 1.959964


class Ablation:
    """Free paths of the network after windows whose histories were tampered with.

    Bars are free of any guide, so that nothing but the history tells what comes next; each row has
    the same noise. What a row generates is read in the units of the true history.
    """

    def __init__(self, i: Ingredients, windows: int, paths: int) -> None:
        self.i, self.paths = i, paths
        self.held = i.held.thinned(windows)
        self.scale = window_scale(self.held.history)[0]
        self._scores: dict[str, dict[str, Tensor]] = {}

    def history(self, row: str) -> Tensor:
        """What the network is shown in the place of the history."""
        true, g = self.held.history, torch.Generator().manual_seed(0)
        if row == ORDER:
            return _shuffled(true, g)
        if row == OTHER:
            return _rescaled(true.roll(len(true) // 2, dims=0), true)
        return true

    def bars(self, row: str, path: int) -> Tensor:
        """One free path after every window."""
        held, frequency = self.held, self.held.bars_per_year
        n, steps = held.future.shape[:2]
        how = {
            "bars_per_year": frequency,
            "generator": torch.Generator().manual_seed(path),
            "shape": (n, steps),
        }
        regime = None
        if row in (TOLD, WITHOUT):
            sigma = self.scale * frequency**0.5
            regime = Regime(drift=torch.zeros_like(sigma), volatility=sigma).resolve()
        if row != WITHOUT:
            return self.i.model.generate(self.history(row), None, regime, **how)
        made = self.i.model.generate(None, None, regime, spot=1.0, **how)
        return torch.cat([made[..., :4] * held.history[:, -1:, 3:4], made[..., 4:]], dim=2)

    def scores(self, row: str) -> dict[str, Tensor]:
        """CRPS of the horizon's return and of its realised volatility, in units of the history."""
        if row not in self._scores:
            self._scores[row] = self._scored(row)
        return self._scores[row]

    def _scored(self, row: str) -> dict[str, Tensor]:
        spot, unit = self.held.history[:, -1:, 3], self.scale[:, None]

        def returns(bars: Tensor) -> Tensor:
            close = torch.cat([spot, bars[..., 3]], dim=1)
            return close.log().diff(dim=1) / unit

        drawn = torch.stack([returns(self.bars(row, k)) for k in range(1, self.paths + 1)], dim=1)
        x, y = path_targets(drawn), path_targets(returns(self.held.future))
        return {name: crps(x[name], y[name]) for name in ("return", "volatility")}


def ablation_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """C2ST of history and horizon together, and CRPS; what is lost has its error."""
    if not suite.ablation:
        return
    trial = Ablation(i, suite.ablation, PATHS)

    def compute(row: str) -> Found:
        held, n = trial.held, len(trial.held)
        real, made = (
            judge_channels(encode_whole(held.history, bars))
            for bars in (held.future, trial.bars(row, 1))
        )
        how = {"purge": held.purge, "steps": suite.steps, "judge": "gru", "view": "close"}
        told = c2st(real, [made], held.time, **how)
        column = "C2ST close gru, with the history"
        scores = [Score("ablation", row, column, told.mean, standard_error(told), n=n)]
        g = torch.Generator().manual_seed(0)
        for name, values in trial.scores(row).items():
            scores.append(Score("ablation", row, f"CRPS, {name}", float(values.mean()), n=n))
            if BASE[row] != row:
                base = trial.scores(BASE[row])[name]
                lost = _lost(values, base, held, g)
                scores.append(measured_score("ablation", row, f"loss of skill, {name}", lost, n))
        return Found(scores, list(range(1, trial.paths + 1)))

    for row in BASE:
        yield cell("ablation", row, compute)


def _lost(values: Tensor, base: Tensor, held: Windows, g: torch.Generator) -> Measured:
    """CRPS of the row over that of its base, less 1; above 0 something is lost."""
    value = float(values.sum() / base.sum() - 1)
    try:
        found = skill(values, base, held.time, 3 * held.span(held.future.shape[1]), generator=g)
    except UserError:
        return Measured(value, None, "too short a time for an error")
    return Measured(-found.value, (found.high - found.low) / (2 * _Z95))


def _shuffled(history: Tensor, g: torch.Generator) -> Tensor:
    """The same bars in another order, moved so that the last close is the same."""
    before, bars = history[:, :-1, 3:4], history[:, 1:]
    order = torch.rand(bars.shape[:2], generator=g).argsort(1)[..., None]
    shape = (bars[..., :4] / before).log().gather(1, order.expand(-1, -1, 4))
    volume = bars[..., 4:].gather(1, order)
    close = shape[..., 3].cumsum(1)
    start = torch.cat([torch.zeros_like(close[:, :1]), close[:, :-1]], dim=1)
    price = (start[..., None] + shape).exp() * history[:, :1, 3:4]
    return torch.cat([history[:, :1], torch.cat([price, volume], dim=2)], dim=1)


def _rescaled(history: Tensor, like: Tensor) -> Tensor:
    """A history with the return deviation, mean log volume and last close of another."""
    (s, v), (wanted, level) = window_scale(history), window_scale(like)
    last = history[:, -1:, 3:4].log()
    price = ((history[..., :4].log() - last) * (wanted / s)[:, None, None]).exp()
    volume = history[..., 4:] * (level - v).exp()[:, None, None]
    return torch.cat([price * like[:, -1:, 3:4], volume], dim=2)


def rollout_cells(i: Ingredients, suite: Suite) -> Iterator[Cell]:
    """Long facts of paths of ``suite.rollout`` bars, and their distances."""
    if not suite.rollout or i.longer is None:
        return
    longer = i.longer

    @cache
    def far() -> Ingredients:
        split = longer(suite.rollout)
        return Ingredients(i.model, replace(split, held=split.held.thinned(ROLLOUT_PATHS)), i.every)

    def draw(row: str, seed: int) -> Tensor:
        return far().draw(row, seed)[0]

    yield from paired_facts("rollout", lambda: far().held, suite, draw, ROLLOUTS)
