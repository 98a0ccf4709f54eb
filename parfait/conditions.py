"""The conditions of every scenario, imposed on its own paths."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from parfait.regime import FIELD_NAMES, Component, Regime, RegimeDistribution
from parfait.regime.distribution import systematic_counts
from parfait.sde import Conditioned, Guide, Mode, Paths, Process, conditioned, make_guide, pin
from parfait.targets import LARGEST, plan
from parfait.utils.errors import UserError

OVERSAMPLE = 16  # weighted paths drawn for every one that is kept
FEWEST = 1000  # weighted paths drawn at least
SEARCH = 200_000  # paths drawn at most by rejection, for one scenario
ROUND = 4096  # paths drawn at a time by rejection
_APART = (
    "its paths were drawn for this asset alone, so they are not correlated with those of the "
    "others; sde.condition=pinned keeps the correlation."
)


@dataclass(frozen=True)
class Imposed:
    """One condition as it was imposed on the paths of one scenario.

    Args:
        scenario, name: index and name of the scenario.
        kind: ``price`` or ``drawdown``.
        level: relative to the last close of the history; a drawdown is negative.
        bar: bars from now, 1 is the first; beyond the horizon when the run ends on the way.
        mode: ``pinned`` paths meet the target but are not the law given the target.
        ess: effective number of the weighted paths they were drawn from.
        acceptance: share of the drawn paths that met the target by themselves.
        drawn: paths drawn.
    """

    scenario: int
    name: str
    kind: str
    level: float
    bar: int
    mode: str
    ess: float | None
    acceptance: float | None
    drawn: int
    quote: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in ``summary.json``."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For the report."""
        what = f"{self.level:+.1%}" if self.kind == "price" else f"drawdown of {-self.level:.1%}"
        where = "at" if self.kind == "price" else "by"
        how = ""
        if self.ess is not None:
            how = f"; {self.drawn:,} weighted paths, worth {self.ess:,.0f} equal ones"
        if self.acceptance is not None:
            how = f"; {self.acceptance:.2%} of {self.drawn:,} paths did so by themselves"
        return f"{self.name}: {what} {where} bar {self.bar}{how}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """Paths of a whole run after all conditions; without any, the very tensors that came in."""

    regime: Regime
    paths: Paths
    anchored: Bool[Tensor, "paths steps"]
    prices: tuple[tuple[Int64[Tensor, " some"], int, float], ...]  # rows, bar, price
    imposed: tuple[Imposed, ...]
    notes: tuple[str, ...]

    def guide(
        self, spot: float, every: int, jump_sigmas: float, bars_per_year: float
    ) -> tuple[Guide, list[str]]:
        """The guide of ``make_guide``, anchored at the targets and at the end of every phase too,
        and its remarks.

        Asked prices stand in it as they were given, not as exp(log) computes them.
        """
        volatility = torch.as_tensor(self.regime.volatility)
        bar_sd = volatility * bars_per_year**-0.5
        guide, notes = make_guide(
            self.paths, spot, every=every, jump_sigmas=jump_sigmas, bar_sd=bar_sd
        )
        level = guide.level.clone()
        for rows, bar, price in self.prices:
            level[rows, bar - 1] = price
        anchored = guide.anchored | self.anchored
        if volatility.ndim == 2:  # bars between two anchors share one volatility
            anchored[:, :-1] |= (volatility[1:] != volatility[:-1]).T
        return Guide(level, anchored), notes


def impose(
    scenarios: RegimeDistribution,
    index: Int64[Tensor, " paths"],
    regime: Regime,
    paths: Paths,
    *,
    mode: Mode,
    make: Callable[[Regime], Process],
    spot: float,
    horizon: int,
    bars_per_year: float,
    generator: Callable[[str], torch.Generator],
    most: int | None = None,
) -> Outcome:
    """Imposes the conditions of every scenario on its own paths; no other path is touched.

    Paths of several assets were sampled together: pinned ones are moved as they are, which keeps
    what they share; others are drawn anew, each asset by itself, and a note says so.

    Weighted and rejected paths have regimes of their own, since a target speaks for some
    parameters and against others; the probabilities of the scenarios stay as they were read.

    Args:
        scenarios: resolved; their conditions.
        index: scenario of every path.
        regime: parameters of every path; where they change from bar to bar, as many bars as
            ``farthest`` says.
        paths: what the process made of them, in float64; ``horizon`` bars or, where targets lie
            beyond (``farthest``), more.
        mode: ``pinned``, ``conditional`` or ``rejection``.
        make: the process of a batch of regimes.
        spot: S_0.
        generator: fresh randomness by purpose.
        most: bars beyond which no target is steered for, the same that ``farthest`` was given;
            ``None`` for a single asset.

    Raises:
        UserError: rejection found no path at all for a scenario.
    """
    sampled, paths = paths, _cut(paths, horizon)
    reached = sampled.log_price.shape[1] - 1
    anchored = torch.zeros((len(index), horizon), dtype=torch.bool)
    prices, imposed = [], []
    notes: dict[str, list[str]] = {}  # sentence -> the scenarios it is about
    for number, component in enumerate(scenarios.components):
        rows = (index == number).nonzero().squeeze(1)
        bound = LARGEST // max(1, len(rows)) if most is None else most
        found, said = plan(component, spot, horizon, bars_per_year, mode, bound)
        for sentence in said:
            notes.setdefault(sentence, []).append(component.name)
        if found is None or rows.numel() == 0:
            continue
        how: Mode = mode
        if mode == "conditional" and found.target.drawdown is not None:
            how = "rejection"
            sentence = "a drawdown has no weights; rejection was used."
            notes.setdefault(sentence, []).append(component.name)
        years = found.steps / bars_per_year
        if how == "pinned":
            process = make(regime[..., rows].first(found.steps))
            if found.steps <= reached:
                moving = _cut(_rows(sampled, rows), found.steps)
                moved, marks = pin(process, moving, years, found.target)
                result = Conditioned(moved, marks, rows, how, None, None, len(rows))
            else:
                result = conditioned(
                    process,
                    found.target,
                    len(rows),
                    found.steps,
                    years,
                    generator=generator(f"sde/{number}"),
                    dtype=torch.float64,
                )
        else:
            if most is not None:
                notes.setdefault(_APART, []).append(component.name)
            weighted = max(OVERSAMPLE * len(rows), FEWEST)
            size = min(ROUND if how == "rejection" else weighted, max(1, LARGEST // found.steps))
            which = torch.full((size,), number, dtype=torch.int64)
            drawing = generator(f"regimes/{number}")
            dt = 1 / bars_per_year
            pool = scenarios.sample_course(size, found.steps, dt, drawing, which).resolve()
            result = conditioned(
                make(pool),
                found.target,
                size,
                found.steps,
                years,
                generator=generator(f"sde/{number}"),
                mode=how,
                dtype=torch.float64,
                wanted=len(rows),
                pool=SEARCH,
            )
            kept = _equally(result, len(rows), component, generator(f"resampling/{number}"))
            regime = _with_rows(regime.first(horizon), rows, pool[..., result.rows[kept]])
            result = replace(
                result, paths=_rows(result.paths, kept), anchored=result.anchored[kept]
            )
        paths = _put(paths, rows, result.paths, horizon)
        anchored[rows] = result.anchored[:, :horizon]
        for note in result.notes:
            notes.setdefault(f"{note}.", []).append(component.name)
        if how != "rejection":
            prices += [(rows, bar, price) for bar, price in found.prices]
        figures = (how, result.ess, result.acceptance, result.drawn)
        for kind, level, bar, quote in found.conditions:
            imposed.append(Imposed(number, component.name, kind, level, bar, *figures, quote))
    said = tuple(f"{'; '.join(names)}: {sentence}" for sentence, names in notes.items())
    return Outcome(regime.first(horizon), paths, anchored, tuple(prices), tuple(imposed), said)


def farthest(
    scenarios: RegimeDistribution,
    *,
    mode: Mode,
    spot: float,
    horizon: int,
    bars_per_year: float,
    most: int,
) -> int:
    """Bars that the paths must have for ``impose`` to move them onto every target."""
    if mode != "pinned":
        return horizon
    plans = [plan(c, spot, horizon, bars_per_year, mode, most)[0] for c in scenarios.components]
    return max(horizon, *(found.steps for found in plans if found is not None), 0)


def _equally(
    result: Conditioned, wanted: int, component: Component, generator: torch.Generator
) -> Int64[Tensor, " wanted"]:
    """Which of the paths to keep, and how often, so that all count alike."""
    if result.mode == "conditional":
        weights = torch.softmax(result.paths.log_weight, 0)
        return torch.repeat_interleave(systematic_counts(weights, wanted, generator))
    found = len(result.rows)
    if found == 0:
        raise UserError(
            f"scenario {component.name!r}: none of {result.drawn:,} paths met its conditions; use "
            "sde.condition=pinned, or a longer horizon"
        )
    return torch.arange(wanted) % found


def _rows(paths: Paths, rows: Tensor) -> Paths:
    variance = None if paths.variance is None else paths.variance[rows]
    jumps = None if paths.jumps is None else paths.jumps[rows]
    return Paths(
        paths.log_price[rows], variance, jumps, torch.zeros_like(rows, dtype=torch.float64)
    )


def _cut(paths: Paths, steps: int) -> Paths:
    """The first ``steps`` bars; the very paths where they have no more."""
    if paths.log_price.shape[1] == steps + 1:
        return paths
    variance = None if paths.variance is None else paths.variance[:, : steps + 1]
    jumps = None if paths.jumps is None else paths.jumps[:, :steps]
    return Paths(paths.log_price[:, : steps + 1], variance, jumps, paths.log_weight)


def _put(paths: Paths, rows: Tensor, new: Paths, horizon: int) -> Paths:
    """``paths`` with some of them replaced by the first bars of others."""

    def put(old: Tensor | None, values: Tensor | None) -> Tensor | None:
        if old is None or values is None:
            return old
        old = old.clone()
        old[rows] = values[:, : old.shape[1]]
        return old

    log_price = put(paths.log_price, new.log_price)
    assert log_price is not None
    variance, jumps = put(paths.variance, new.variance), put(paths.jumps, new.jumps)
    return Paths(log_price, variance, jumps, paths.log_weight)


def _with_rows(regime: Regime, rows: Tensor, new: Regime) -> Regime:
    changed = {}
    for name in FIELD_NAMES:
        if getattr(regime, name) is None:
            continue
        column = torch.as_tensor(getattr(regime, name), dtype=torch.float64).clone()
        values = torch.as_tensor(getattr(new, name), dtype=torch.float64)
        column[..., rows] = values[: len(column)] if column.ndim == 2 else values
        changed[name] = column
    return regime.replace(**changed)
