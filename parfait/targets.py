"""What a scenario says of its paths, in steps of the run."""

from dataclasses import dataclass

import torch

from parfait.regime import Component, Condition
from parfait.sde import Mode, Target

LARGEST = 10_000_000  # points of paths held for one scenario
FARTHEST = 1024  # bars ahead; memory costs the square of this


@dataclass(frozen=True)
class Plan:
    """Conditions of one scenario in steps of the run."""

    target: Target
    steps: int  # the horizon, or farther where a target lies beyond
    conditions: tuple[tuple[str, float, int, str], ...]  # kind, relative level, bar, quote
    prices: tuple[tuple[int, float], ...]  # (bar, price), set to the last digit


def plan(
    component: Component,
    spot: float,
    horizon: int,
    bars_per_year: float,
    mode: Mode,
    most: int = LARGEST,
) -> tuple[Plan | None, list[str]]:
    """Steps and levels of a scenario's conditions, and sentences on what was read how.

    Moves count from ``spot``. Where a recovery follows a shock (slot ``shock_and_recover``), an
    undated move is its turning point and hence a drawdown, and a dated one counts from the dated
    one before it. Bars are counted from 1.

    Args:
        component: the scenario.
        spot: last close of the history.
        horizon: bars of the run.
        bars_per_year: bars per year.
        mode: waypoints and a drawdown together need ``rejection``.
        most: bars beyond which no target is steered for, as is none beyond ``FARTHEST``.
    """
    points: dict[int, tuple[float, str]] = {}
    fall: tuple[float, int, str] | None = None
    said: list[str] = []
    # With phases the reading has dated everything, and counted it from now.
    recovers = component.slot == "shock_and_recover" and not component.phases
    base = spot
    for c in sorted(component.conditions, key=lambda c: (c.years is None, c.years or 0.0)):
        bar = horizon if c.years is None else max(1, round(c.years * bars_per_year))
        price = c.level if c.absolute else spot * (1 + c.level)
        kind, words = c.kind, _words(c)
        if c.kind == "terminal" and recovers and c.years is None:
            kind = "drawdown"
            said.append(f"{words} has no date and a recovery follows: imposed as a drawdown.")
        elif c.kind == "terminal" and recovers:
            price = c.level if c.absolute else base * (1 + c.level)
            base = price
        far = bar > horizon and bar > min(FARTHEST, most)
        if far:
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
                    "drawdowns hold for the guide; bars between its anchors may go farther."
                )
        if bar > horizon and not far:
            said.append(
                f"{words} lies at bar {bar:,}, beyond the {horizon:,} bars of this run: the paths "
                "head for it and end on the way."
            )
    if fall is not None and points and mode != "rejection":
        said.append(
            "the drawdown was left to the paths, because prices are imposed "
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
    records = [
        ("price", round(price / spot - 1, 12), bar, quote) for bar, (price, quote) in points.items()
    ]
    if fall is not None:
        records.append(("drawdown", -fall[0], fall[1], fall[2]))
    prices = tuple((bar, price) for bar, (price, _) in points.items() if bar <= horizon)
    return Plan(target, max(horizon, target.last), tuple(records), prices), said


def _words(c: Condition) -> str:
    level = f"a price of {c.level:,.6g}" if c.absolute else f"{c.level:+.0%}"
    what = f"drawdown of {abs(c.level):.0%}" if c.kind == "drawdown" else f"target of {level}"
    return f"the {what}"
