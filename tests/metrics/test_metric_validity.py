"""Each rule of a valid bar is caught singly; the guide error is the largest log miss."""

import math

import pytest
import torch

from parfait.metrics.functional.validity import guide_error, rule_passes, validity

GOOD = [100.0, 103.0, 99.0, 101.0, 5e6]


def bars(**broken: float) -> torch.Tensor:
    """Two paths of three good bars; one of them with the given fields."""
    table = torch.tensor(GOOD, dtype=torch.float64).repeat(2, 3, 1)
    for name, value in broken.items():
        table[1, 2, ("open", "high", "low", "close", "volume").index(name)] = value
    return table


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("low", {"low": 100.5}),
        ("low", {"open": 98.0}),
        ("high", {"high": 100.5}),
        ("high", {"close": 104.0}),
        ("volume", {"volume": -1.0}),
    ],
)
def test_a_broken_rule_is_caught_alone(rule: str, broken: dict[str, float]) -> None:
    shares = validity(bars(**broken))
    assert shares[rule] == shares["valid"] == pytest.approx(5 / 6)
    assert all(shares[name] == 1.0 for name in shares if name not in (rule, "valid"))


def test_not_finite_and_not_positive_are_caught() -> None:
    assert validity(bars(high=math.inf))["finite"] == pytest.approx(5 / 6)
    assert validity(bars(low=0.0))["positive"] == pytest.approx(5 / 6)
    for name in ("open", "high", "low", "close", "volume"):
        assert not bool(rule_passes(bars(**{name: math.nan}))["finite"][1, 2])
        assert validity(bars(**{name: math.nan}))["valid"] == pytest.approx(5 / 6)


def test_good_bars_pass_everything() -> None:
    flat = torch.tensor([7.0, 7.0, 7.0, 7.0, 0.0], dtype=torch.float64).expand(1, 4, 5)
    assert set(validity(flat).values()) == set(validity(bars()).values()) == {1.0}


def test_guide_error_is_read_at_anchors_only() -> None:
    table = bars()
    level = table[..., 3].clone()
    level[0, 0] = 1.0
    level[1, 2] *= math.exp(-0.25)
    anchored = torch.zeros(2, 3, dtype=torch.bool)
    assert guide_error(table, level, anchored) == 0.0
    anchored[1, 2] = True
    assert guide_error(table, level, anchored) == pytest.approx(0.25)
    level[1, 2] = table[1, 2, 3]
    assert guide_error(table, level, anchored) == 0.0
