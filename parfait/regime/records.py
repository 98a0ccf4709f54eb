"""Scenarios as a person edits them: the records of ``scenarios.json``, read back with checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from parfait.regime.component import Component, Condition, Phase
from parfait.regime.context import check_asset_class
from parfait.regime.distribution import MAX_COMPONENTS, RegimeDistribution
from parfait.regime.fields import FIELD_NAMES, field_named, to_coordinate
from parfait.regime.regime import Regime
from parfait.utils.errors import UserError
from parfait.utils.strict_json import parse_json

Z_90 = 1.6448536269514722  # 95 % quantile of the standard normal: a central interval of 90 %
_KEYS = (
    *("name", "probability", "n_paths", "rationale", "asset_class"),
    *("params", "interval", "phases", "conditions"),
)
_WORDS = ("name", "rationale", "asset_class")


def read_scenarios(file: str | Path) -> RegimeDistribution:
    """The distribution of a ``scenarios.json``, edited or not.

    Args:
        file: UTF-8 JSON; a list as ``Simulation.scenarios_table`` gives it, or the object of
            ``RegimeDistribution.to_dict``.

    Raises:
        UserError: it cannot be read, or names the scenario and the field that does not fit.
    """
    try:
        raw = Path(file).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"scenarios={file} cannot be read: {reason}") from error
    data = parse_json(raw, f"scenarios={file}")
    if isinstance(data, Mapping):
        found = RegimeDistribution.from_dict(data)
    else:
        found = from_records(data, f"scenarios={file}")
    object.__setattr__(found, "file", str(file))
    return found


def from_records(rows: Any, what: str = "scenarios") -> RegimeDistribution:
    """Weighted scenarios from records with ``name``, ``probability`` and ``params``.

    A coordinate is Gaussian around the one in ``params``, with the width of its entry in
    ``interval``, the central 90 %; without an entry it is exact. So what moves with an edited
    parameter is the centre, and coordinates are independent. Probabilities are scaled to sum to 1,
    which a warning says. ``n_paths`` is a result, and is ignored.

    Args:
        rows: records of ``scenarios.json``.
        what: the subject of the sentences.

    Raises:
        UserError: names the scenario and the field that does not fit.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise UserError(f"{what} must be a list of scenarios, not {type(rows).__name__}")
    if not 1 <= len(rows) <= MAX_COMPONENTS:
        raise UserError(f"{what} must hold 1 to {MAX_COMPONENTS} scenarios, not {len(rows)}")
    if any(isinstance(row, Mapping) and "symbol" in row for row in rows):
        raise UserError(f"{what} is of several assets; keep the records of one, without 'symbol'")
    components = []
    for number, row in enumerate(rows, 1):
        name = row.get("name") if isinstance(row, Mapping) else None
        where = f"{what}, scenario {number}" + (f" ({name})" if isinstance(name, str) else "")
        try:
            components.append(_component(row, number))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    total = sum(weight for weight, _ in components)
    if not 0 < total < math.inf:
        raise UserError(f"{what}: probabilities sum to {total:g}; give at least one above 0")
    shares = tuple(replace(c, weight=weight / total) for weight, c in components)
    classes = list(dict.fromkeys(row.get("asset_class", "equity") for row in rows))
    if len(classes) > 1:
        raise UserError(f"{what} is of {' and '.join(classes)}; give all scenarios one asset_class")
    return RegimeDistribution(shares, warnings=scaled(total), asset_class=classes[0])


def scaled(total: float) -> tuple[str, ...]:
    """A sentence where probabilities do not sum to 1."""
    if abs(total - 1) <= 1e-3:
        return ()
    return (f"The probabilities summed to {total:.4g}; they were scaled to sum to 1.",)


def _component(row: Any, number: int) -> tuple[float, Component]:
    """The probability as it is given, and the scenario with a weight of 0."""
    _check_keys(row, _KEYS, "a scenario")
    for key in _WORDS:
        if not isinstance(row.get(key, ""), str):
            raise UserError(f"{key} must be a text")
    check_asset_class(row.get("asset_class", "equity"))
    weight = _number(row.get("probability"), "probability")
    if weight < 0:
        raise UserError(f"probability = {weight:g} must be at least 0")
    component = Component.around(
        "baseline",
        row.get("name") or f"scenario {number}",
        0.0,
        *_regime(row),
        rationale=row.get("rationale", ""),
        conditions=tuple(_condition(c) for c in _list(row, "conditions")),
        phases=tuple(_phase(p) for p in _list(row, "phases")),
    )
    return weight, component


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(row.get(key, []), list):
        raise UserError(f"{key} must be a list")
    return row.get(key, [])


def _condition(row: Any) -> Condition:
    _check_keys(row, ("kind", "level", "years", "absolute", "quote"), "conditions")
    known = dict(row)
    known["level"] = _number(row.get("level"), "conditions.level")
    if known.setdefault("years", None) is not None:
        known["years"] = _number(known["years"], "conditions.years")
    return Condition(**{"kind": None, **known})


def _phase(row: Any) -> Phase:
    _check_keys(row, ("after", "name", "params", "interval"), "phases")
    after = _number(row.get("after"), "phases.after")
    return Phase.around(after, str(row.get("name", "")), *_regime(row))


def _regime(row: Mapping[str, Any]) -> tuple[Regime, dict[str, float]]:
    """The regime at the centre, and standard deviations of its coordinates."""
    params, interval = row.get("params"), row.get("interval", {})
    if not isinstance(params, Mapping):
        raise UserError("params must be an object of regime fields, such as volatility")
    lists = [name for name, value in params.items() if isinstance(value, list)]
    if lists:
        raise UserError(f"params.{lists[0]} must be a number")
    regime = Regime.from_dict(params)
    _check_keys(interval, FIELD_NAMES, "interval")
    return regime, {name: _width(regime, name, pair) for name, pair in interval.items()}


def _width(regime: Regime, name: str, pair: Any) -> float:
    """Standard deviation of the coordinate whose central 90 % has this width.

    An end that lies on the field's bound was clamped to it and says nothing: then the other end
    decides, if it still lies on its own side of the centre.
    """
    if not isinstance(pair, list) or len(pair) != 2:
        raise UserError(f"interval.{name} must be [low, high]")
    if pair == [None, None]:
        return 0.0  # of an initial volatility that is left to the history
    ends = [_number(value, f"interval.{name}") for value in pair]
    field = field_named(name)
    if not field.low <= ends[0] <= ends[1] <= field.high:
        raise UserError(
            f"interval.{name} = {pair} must be in order and within [{field.low:g}, {field.high:g}]"
        )
    centre = getattr(regime, name)
    if centre is None:
        return 0.0
    z = to_coordinate(name, torch.tensor([ends[0], centre, ends[1]])).tolist()
    low_known, high_known = ends[0] > field.low, ends[1] < field.high
    if high_known and not low_known and z[2] > z[1]:
        return (z[2] - z[1]) / Z_90
    if low_known and not high_known and z[1] > z[0]:
        return (z[1] - z[0]) / Z_90
    return (z[2] - z[0]) / (2 * Z_90)


def _check_keys(row: Any, known: Sequence[str], what: str) -> None:
    if not isinstance(row, Mapping):
        raise UserError(f"{what} must be an object, not {type(row).__name__}")
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise UserError(f"{what} has no field {unknown[0]!r}; it has {', '.join(known)}")


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{what} = {value!r} is not a number")
    if not math.isfinite(value):
        raise UserError(f"{what} = {value} must be finite")
    return float(value)
