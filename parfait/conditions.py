"""What a scenario says of its paths, turned into steps of the run and imposed on the guides."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from parfait.regime import FIELD_NAMES, Component, Condition, Regime, RegimeDistribution
from parfait.regime.distribution import systematic_counts
from parfait.sde import Conditioned, Mode, Paths, Process, Target, conditioned, pin
from parfait.utils.errors import UserError

LARGEST = 10_000_000  # points of paths held for one scenario
FARTHEST = 4096  # bars; no target beyond is steered for
OVERSAMPLE = 16  # weighted paths drawn for every one that is kept
ROUND = 4096  # paths drawn at a time by rejection


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


@dataclass(frozen=True)
class Plan:
    """Conditions of one scenario in steps of the run."""

    target: Target
    steps: int  # the horizon, or farther where a target lies beyond
    conditions: tuple[tuple[str, float, int, str], ...]  # kind, relative level, bar, quote
    prices: tuple[tuple[int, float], ...]  # (bar, price), set to the last digit


@dataclass(frozen=True, eq=False)
class Outcome:
    """Paths of a whole run after all conditions; without any, the very tensors that came in."""

    regime: Regime
    paths: Paths
    anchored: Bool[Tensor, "paths steps"]
    prices: tuple[tuple[Int64[Tensor, " some"], int, float], ...]  # rows, bar, price
    imposed: tuple[Imposed, ...]
    notes: tuple[str, ...]

    def exact(self, level: Float64[Tensor, "paths steps"]) -> Float64[Tensor, "paths steps"]:
        """Guide levels with the asked prices themselves where they were computed."""
        level = level.clone()
        for rows, bar, price in self.prices:
            level[rows, bar - 1] = price
        return level


def plan(
    component: Component, spot: float, horizon: int, bars_per_year: float, mode: Mode
) -> tuple[Plan | None, list[str]]:
    """Steps and levels of a scenario's conditions, and sentences on what was read how.

    Moves count from ``spot``. Where a recovery follows a shock (slot ``shock_and_recover``), an
    undated move is its turning point and hence a drawdown, and a dated one counts from the dated
    one before it.
    """
    points: dict[int, tuple[float, str]] = {}
    fall: tuple[float, int, str] | None = None
    said: list[str] = []
    recovers = component.slot == "shock_and_recover"
    base = spot
    for c in sorted(component.conditions, key=lambda c: (c.years is None, c.years or 0.0)):
        bar = horizon if c.years is None else max(1, round(c.years * bars_per_year))
        price = c.level if c.absolute else spot * (1 + c.level)
        kind, words = c.kind, _words(component, c)
        if c.kind == "terminal" and recovers and c.years is None:
            kind = "drawdown"
            said.append(f"{words} has no date and a recovery follows: imposed as a drawdown.")
        elif c.kind == "terminal" and recovers:
            price = c.level if c.absolute else base * (1 + c.level)
            base = price
        if bar > min(FARTHEST, LARGEST):
            said.append(f"{words} lies {bar:,} bars ahead, too far to steer for; not imposed.")
        elif kind != "drawdown":
            if bar in points and points[bar][0] != price:
                said.append(f"{words} falls on the bar of another target and replaces it.")
            points[bar] = (price, c.quote)
        else:
            depth = 1 - price / spot if c.absolute or c.kind != "drawdown" else abs(c.level)
            if not 0 < depth < 1 or fall is not None:
                why = "it is no fall" if fall is None else "another drawdown is imposed"
                said.append(f"{words} was not imposed: {why}.")
            else:
                fall = (depth, bar, c.quote)
                said.append(
                    f"{words} holds for the guide; between anchors the bars may fall a little "
                    "farther."
                )
        if bar > horizon and bar <= FARTHEST:
            said.append(
                f"{words} lies at bar {bar:,}, beyond the {horizon:,} bars of this run: the paths "
                "head for it and end on the way."
            )
    if fall is not None and points and mode != "rejection":
        said.append(
            f"{component.name}: its drawdown was left to the paths, because prices are imposed "
            "too; sde.condition=rejection imposes both."
        )
        fall = None
    if not points and fall is None:
        return None, said
    levels = torch.tensor([price / spot for price, _ in points.values()], dtype=torch.float64)
    target = Target(
        waypoints=tuple(zip(points, levels.log().tolist(), strict=True)),
        drawdown=None if fall is None else fall[0],
        until=None if fall is None else fall[1],
    )
    records = [("price", price / spot - 1, bar, quote) for bar, (price, quote) in points.items()]
    if fall is not None:
        records.append(("drawdown", -fall[0], fall[1], fall[2]))
    prices = tuple((bar, price) for bar, (price, _) in points.items() if bar <= horizon)
    return Plan(target, max(horizon, target.last), tuple(records), prices), said


def impose(
    scenarios: RegimeDistribution,
    index: Int64[Tensor, " paths"],
    regime: Regime,
    paths: Paths,
    *,
    mode: Mode,
    make: Callable[[Regime], Process],
    spot: float,
    bars_per_year: float,
    generator: Callable[[str], torch.Generator],
) -> Outcome:
    """Imposes the conditions of every scenario on its own paths; no other path is touched.

    Weighted and rejected paths have regimes of their own, since a target speaks for some
    parameters and against others; the probabilities of the scenarios stay as they were read.

    Args:
        scenarios: resolved; their conditions.
        index: scenario of every path.
        regime: parameters of every path.
        paths: what the process made of them, in float64.
        mode: ``pinned``, ``conditional`` or ``rejection``.
        make: the process of a batch of regimes.
        spot: S_0.
        generator: fresh randomness by purpose.

    Raises:
        UserError: rejection found no path at all for a scenario.
    """
    horizon = paths.log_price.shape[1] - 1
    anchored = torch.zeros((len(index), horizon), dtype=torch.bool)
    prices, imposed, notes = [], [], []
    for number, component in enumerate(scenarios.components):
        rows = (index == number).nonzero().squeeze(1)
        found, said = plan(component, spot, horizon, bars_per_year, mode)
        notes += said
        if found is None or rows.numel() == 0:
            continue
        how: Mode = mode
        if mode == "conditional" and found.target.drawdown is not None:
            how = "rejection"
            notes.append(f"{component.name}: a drawdown has no weights; rejection was used.")
        years = found.steps / bars_per_year
        if how == "pinned":
            process = make(regime[rows])
            if found.steps == horizon:
                moved, marks = pin(process, _rows(paths, rows), years, found.target)
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
            most = max(1, LARGEST // found.steps)
            size = min(ROUND if how == "rejection" else max(OVERSAMPLE * len(rows), 1000), most)
            which = torch.full((size,), number, dtype=torch.int64)
            pool = scenarios.sample(size, generator(f"regimes/{number}"), which).resolve()
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
            )
            kept = _equally(result, len(rows), component, generator(f"resampling/{number}"))
            regime = _with_rows(regime, rows, pool[result.rows[kept]])
            result = replace(
                result, paths=_rows(result.paths, kept), anchored=result.anchored[kept]
            )
        paths = _put(paths, rows, result.paths, horizon)
        anchored[rows] = result.anchored[:, :horizon]
        notes += [f"{component.name}: {note}." for note in result.notes]
        if how != "rejection":
            prices += [(rows, bar, price) for bar, price in found.prices]
        figures = (how, result.ess, result.acceptance, result.drawn)
        for kind, level, bar, quote in found.conditions:
            imposed.append(Imposed(number, component.name, kind, level, bar, *figures, quote))
    return Outcome(regime, paths, anchored, tuple(prices), tuple(imposed), tuple(notes))


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
        column = torch.as_tensor(getattr(regime, name), dtype=torch.float64).clone()
        column[rows] = torch.as_tensor(getattr(new, name), dtype=torch.float64)
        changed[name] = column
    return regime.replace(**changed)


def _words(component: Component, c: Condition) -> str:
    level = f"a price of {c.level:,.6g}" if c.absolute else f"{c.level:+.0%}"
    what = f"drawdown of {abs(c.level):.0%}" if c.kind == "drawdown" else f"target of {level}"
    return f"{component.name}: the {what}"
