"""The regime vocabulary: coordinates, bounds, messages, JSON."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import ASSET_CLASSES, FIELD_NAMES, FIELDS, MarketContext, Regime
from parfait.regime.fields import field_named, from_coordinate, to_coordinate
from parfait.utils.errors import UserError

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
VALUES = st.fixed_dictionaries({f.name: st.floats(f.low, f.high) for f in FIELDS})


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@QUICK
@given(VALUES)
def test_every_valid_regime_round_trips(values: dict[str, float]) -> None:
    back = Regime.from_unconstrained(Regime(**values).to_unconstrained())
    for field in FIELDS:
        # 1e-12 of the range: leverage is 1e-3 away from its asymptote, where tanh is flat.
        margin = 1e-12 * (field.high - field.low)
        assert getattr(back, field.name) == pytest.approx(values[field.name], rel=1e-9, abs=margin)


def test_zeros_and_bounds_come_back_exactly() -> None:
    zeros = Regime(
        0.0, 0.2, vol_of_vol=0.0, variance_reversion=0.0, leverage=0.0, initial_volatility=0.0
    )
    back = Regime.from_unconstrained(zeros.to_unconstrained())
    for field in FIELDS:
        if field.low <= 0 <= field.high:
            assert getattr(back, field.name) == 0.0, field.name
        for bound in (field.low, field.high):
            again = from_coordinate(field.name, to_coordinate(field.name, tensor(bound)))
            assert again.item() == pytest.approx(bound, rel=1e-12)
            assert field.low <= again.item() <= field.high
    assert back.hurst == 0.5


@pytest.mark.parametrize("field", FIELDS, ids=FIELD_NAMES)
def test_coordinates_increase_strictly_and_are_finite(field) -> None:
    grid = torch.linspace(field.low, field.high, 2001, dtype=torch.float64)
    z = to_coordinate(field.name, grid)
    assert bool(torch.isfinite(z).all())
    assert bool((z.diff() > 0).all())


@QUICK
@given(st.lists(st.floats(-60, 60), min_size=11, max_size=11))
def test_every_point_of_the_plane_is_a_valid_regime(z: list[float]) -> None:
    regime = Regime.from_unconstrained(tensor(*z))
    for field in FIELDS:
        assert field.low <= getattr(regime, field.name) <= field.high


@pytest.mark.parametrize("field", FIELDS, ids=FIELD_NAMES)
@pytest.mark.parametrize("bad", ["below", "above", "nan", "inf"])
def test_messages_name_field_value_and_bounds(field, bad: str) -> None:
    value = {"below": field.low - 0.1, "above": field.high + 0.1, "nan": math.nan, "inf": math.inf}
    values = {"drift": 0.1, "volatility": 0.2} | {field.name: value[bad]}
    with pytest.raises(UserError) as caught:
        Regime(**values)
    for part in (field.name, f"{value[bad]:g}", f"[{field.low:g}, {field.high:g}]"):
        assert part in str(caught.value)
    batch = {name: tensor(v, v) for name, v in values.items()}
    with pytest.raises(UserError, match=field.name):
        Regime(**batch)


NOT_NUMBERS = [True, "0.2", [0.2], 10**400]


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=["bool", "text", "list", "huge"])
def test_only_numbers_are_numbers(value: object) -> None:
    with pytest.raises(UserError, match=r"Regime\.drift"):
        Regime(drift=value, volatility=0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", NOT_NUMBERS[1::2], ids=["text", "huge"])
def test_volatility_is_a_number_too(value: object) -> None:
    with pytest.raises(UserError, match=r"Regime\.volatility"):
        Regime(drift=0.1, volatility=value)  # type: ignore[arg-type]


def test_defaults_are_neutral_and_scale_with_volatility() -> None:
    calm, wild = Regime(0.05, 0.1), Regime(0.05, 0.4)
    for name in ("jump_intensity", "jump_mean", "jump_std", "mean_reversion"):
        assert getattr(calm, name) == 0.0
    assert (calm.hurst, calm.initial_volatility) == (0.5, None)
    assert wild.vol_of_vol == pytest.approx(4 * calm.vol_of_vol)
    for name in ASSET_CLASSES:
        Regime.for_asset(name, drift=0.0, volatility=0.3)
    with pytest.raises(UserError, match="asset class 'tulips' is unknown"):
        Regime.for_asset("tulips", drift=0.0, volatility=0.3)


def test_batches_index_stack_and_expand() -> None:
    singles = [Regime(0.1 * i, 0.1 + 0.1 * i, hurst=0.3 + 0.1 * i) for i in range(4)]
    batch = Regime.stack(singles)
    assert batch.shape == (4,)
    assert [batch[i] for i in range(4)] == singles
    assert batch[1:3] == Regime.stack(singles[1:3])
    assert batch[torch.tensor([True, False, False, True])] == Regime.stack([singles[0], singles[3]])
    assert singles[2].expand(3) == Regime.stack([singles[2]] * 3)
    assert batch.to_unconstrained().shape == (4, 11)
    again = Regime.from_unconstrained(batch.to_unconstrained())
    torch.testing.assert_close(again.volatility, batch.volatility, rtol=1e-12, atol=0)
    mixed = Regime(drift=0.1, volatility=tensor(0.2, 0.3))
    assert mixed.drift.tolist() == [0.1, 0.1]  # type: ignore[union-attr]
    with pytest.raises(UserError, match="different shapes"):
        Regime(drift=tensor(0.1, 0.2), volatility=tensor(0.1, 0.2, 0.3))
    with pytest.raises(UserError, match="resolved in some"):
        Regime.stack([singles[0], singles[1].resolve()])


def test_initial_volatility_waits_for_history() -> None:
    regime = Regime(0.1, 0.2)
    assert math.isnan(regime.to_unconstrained()[-1].item())
    assert Regime.from_unconstrained(regime.to_unconstrained()).initial_volatility is None
    assert regime.resolve().initial_volatility == 0.2
    assert regime.resolve(0.35).initial_volatility == 0.35
    assert regime.resolve(0.35).resolve(0.9).initial_volatility == 0.35
    half = torch.stack([regime.to_unconstrained(), regime.resolve(0.35).to_unconstrained()])
    resolved = Regime.from_unconstrained(half).initial_volatility
    torch.testing.assert_close(resolved, tensor(0.2, 0.35), rtol=1e-12, atol=0)


@QUICK
@given(VALUES, st.booleans())
def test_json_round_trips_exactly(values: dict[str, float], unresolved: bool) -> None:
    if unresolved:
        values = values | {"initial_volatility": None}  # type: ignore[dict-item]
    regime = Regime(**values)
    assert Regime.from_json(regime.to_json()) == regime
    batch = regime.expand(3)
    assert Regime.from_json(batch.to_json()) == batch


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"drift": NaN, "volatility": 0.2}', "NaN"),
        ('{"drift": Infinity, "volatility": 0.2}', "Infinity"),
        ('{"drift": -Infinity, "volatility": 0.2}', "-Infinity"),
        ('{"drift": 1e999, "volatility": 0.2}', "drift = inf"),
        ('{"drift": true, "volatility": 0.2}', "drift = True is not a number"),
        ('{"drift": "0.1", "volatility": 0.2}', "is not a number"),
        ('{"drift": ' + "9" * 400 + ', "volatility": 0.2}', "more digits"),
        ('{"drift": 0.1}', "needs the field 'volatility'"),
        ('{"drift": 0.1, "volatility": 0.2, "vol": 1}', "no field 'vol'"),
        ("[0.1, 0.2]", "must be an object"),
        ('{"drift": 0.1, ', "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_json_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Regime.from_json(text)


def test_json_is_strict_and_readable() -> None:
    data = json.loads(Regime(0.1, 0.2).to_json())
    assert list(data) == list(FIELD_NAMES)
    assert data["initial_volatility"] is None
    assert data["drift"] == 0.1


def test_replace_validates_and_knows_the_names() -> None:
    assert Regime(0.1, 0.2).replace(drift=0.3).drift == 0.3
    with pytest.raises(UserError, match="volatility = 50 is outside"):
        Regime(0.1, 0.2).replace(volatility=50.0)
    with pytest.raises(UserError, match="no field 'sigma'"):
        Regime(0.1, 0.2).replace(sigma=0.3)
    with pytest.raises(KeyError, match="sigma"):
        field_named("sigma")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"asset_class": "tulips"}, "tulips"),
        ({"volatility": 0.0}, "volatility = 0"),
        ({"volatility": math.nan}, "volatility = nan"),
        ({"bars_per_year": -1.0}, "bars_per_year = -1"),
        ({"trend": math.inf}, "trend = inf"),
    ],
)
def test_market_context_is_checked(values: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        MarketContext(**values)
    MarketContext("gold", 0.2, -0.5, 252.0)
