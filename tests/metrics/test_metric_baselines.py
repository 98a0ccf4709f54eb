"""Baselines are valid, hit the guide exactly, and have the law they promise."""

import math

import pytest
import torch

from parfait.metrics.baselines import bootstrap_bars, bridge_bars, decode_window, jitter_bars
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import encode_window
from parfait.sde import Guide

STEPS = 20


def market(windows: int, steps: int, seed: int) -> torch.Tensor:
    """Bars with gaps, wicks, and volume that follows the range."""
    n = torch.randn(
        6, windows, steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    close = 100 * (0.01 * n[0]).cumsum(1).exp()
    before = torch.cat([torch.full_like(close[:, :1], 100.0), close[:, :-1]], dim=1)
    opens = before * (0.003 * n[1]).exp()
    high = torch.maximum(opens, close) * (0.005 * n[2].relu()).exp()
    low = torch.minimum(opens, close) * (-0.005 * n[3].relu()).exp()
    volume = (13 + 30 * (high / low).log() + 0.1 * n[4]).exp()
    return torch.stack([opens, high, low, close, volume], dim=-1)


def irregular_guide(history: torch.Tensor, seed: int = 5) -> Guide:
    generator = torch.Generator().manual_seed(seed)
    n = history.shape[0]
    moves = 0.03 * torch.randn(n, STEPS, generator=generator, dtype=torch.float64)
    anchored = torch.rand(n, STEPS, generator=generator) < 0.3
    anchored[:, -1] = True
    return Guide(history[:, -1:, 3] * moves.cumsum(1).exp(), anchored)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_baseline_is_valid_and_hits_the_guide_bit_for_bit() -> None:
    history, source = market(50, 61, 1), market(30, 61 + STEPS, 2)
    guide = irregular_guide(history)
    pool = (source[:, :61], source[:, 61:])
    candidates = {
        "bridge": bridge_bars(history, STEPS, guide=guide, generator=generator()),
        "bootstrap": bootstrap_bars(*pool, history, STEPS, guide=guide, generator=generator()),
    }
    for bars in candidates.values():
        assert torch.equal(bars[..., 3][guide.anchored], guide.level[guide.anchored])
        assert guide_error(bars, guide.level, guide.anchored) == 0.0
        assert validity(bars)["valid"] == 1.0
    free = bridge_bars(history, STEPS, generator=generator())
    assert validity(free)["valid"] == 1.0
    assert validity(jitter_bars(free, 0.01, generator()))["valid"] < 0.5


def test_decode_inverts_encode() -> None:
    history, future = market(9, 61, 3), market(9, STEPS, 4)
    future[..., :4] *= history[:, -1:, 3:4] / 100
    future[2, 3, 4] = 0.0  # a bar that did not trade comes back as one
    back = decode_window(history, encode_window(history, future))
    torch.testing.assert_close(back, future, rtol=1e-10, atol=0)


def test_bootstrap_carries_whole_runs_in_the_units_of_the_history() -> None:
    history, source = market(4, 61, 1), market(6, 61 + STEPS, 2)
    block = 5
    bars = bootstrap_bars(
        source[:, :61], source[:, 61:], history, STEPS, block=block, generator=generator()
    )
    drawn = encode_window(history, bars)
    pool = encode_window(source[:, :61], source[:, 61:])
    runs = torch.stack([part.unfold(1, block, 1) for part in pool], dim=-1).reshape(-1, block, 5)
    for begin in range(0, STEPS, block):
        mine = torch.stack([part[:, begin : begin + block] for part in drawn], dim=-1)
        gap = (mine[:, None] - runs[None]).abs().amax((2, 3)).amin(1)
        assert float(gap.max()) < 1e-9


def test_projection_keeps_gaps_and_wicks() -> None:
    history, source = market(20, 61, 1), market(30, 61 + STEPS, 2)
    pool = (source[:, :61], source[:, 61:])
    codes = [
        encode_window(
            history, bootstrap_bars(*pool, history, STEPS, guide=guide, generator=generator())
        )
        for guide in (None, irregular_guide(history))
    ]
    for name in ("gap", "upper", "lower", "volume"):
        free, bound = (getattr(code, name) for code in codes)
        torch.testing.assert_close(bound, free, atol=1e-6, rtol=0)
    assert float((codes[0].r - codes[1].r).abs().max()) > 0.1


def test_a_bar_without_volume_does_not_widen_the_volume_of_a_bridge() -> None:
    history = market(200, 61, 1)
    holed = history.clone()
    holed[:, 10, 4] = 0.0
    spreads = [
        float(encode_window(h, bridge_bars(h, STEPS, generator=generator())).volume.std())
        for h in (history, holed)
    ]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.02)


def test_gbm_has_the_history_volatility_and_independent_normal_returns() -> None:
    history = market(1, 61, 1).expand(4000, -1, -1)
    code = encode_window(history, bridge_bars(history, STEPS, generator=generator()))
    facts = stylised_facts(code)
    assert facts["std"] == pytest.approx(1.0, abs=0.01)
    assert facts["kurtosis"] == pytest.approx(0.0, abs=0.06)
    for name in ("acf_abs_1", "leverage_1_5", "volume_abs", "acf_volume"):
        assert facts[name] == pytest.approx(0.0, abs=0.015)
    assert facts["zero_gap"] == 1.0
    # A walk of 13 steps never exceeds its start with probability C(26, 13) / 4^13, nor its end.
    assert facts["zero_wick"] == pytest.approx(2 * math.comb(26, 13) / 4**13, abs=0.01)


def test_bridge_variance_is_that_of_a_bridge() -> None:
    history = market(1, 61, 1).expand(6000, -1, -1)
    anchored = torch.zeros(6000, STEPS, dtype=torch.bool)
    anchored[:, 3::4] = True
    guide = Guide(history[:, -1:, 3].expand(-1, STEPS).contiguous(), anchored)
    r = encode_window(history, bridge_bars(history, STEPS, guide=guide, generator=generator())).r
    assert float(r.var()) == pytest.approx(1 - 1 / 4, abs=0.01)
    assert float(r.unflatten(1, (5, 4)).sum(-1).abs().max()) < 1e-9
