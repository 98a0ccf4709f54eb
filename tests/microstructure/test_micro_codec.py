"""Laws of the bar codec: inverse, censored zeros, validity of every finite code."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.microstructure.codec import (
    GAP,
    LOWER,
    RETURN,
    UPPER,
    VOLUME,
    BarCodec,
    window_scale,
)
from tests.fuzzing import examples


def random_bars(n: int, t: int, seed: int = 0, zeros: bool = True) -> torch.Tensor:
    """Valid bars with exact zeros of gap, wick and volume among them."""
    g = torch.Generator().manual_seed(seed)
    move = 0.01 * torch.randn(n, t, generator=g, dtype=torch.float64)
    close = 100 * torch.exp(torch.cumsum(move, 1))
    before = torch.cat([torch.full((n, 1), 100.0, dtype=torch.float64), close[:, :-1]], 1)
    opens = before * torch.exp(0.004 * torch.randn(n, t, generator=g, dtype=torch.float64))
    wicks = 0.006 * torch.rand(n, t, 2, generator=g, dtype=torch.float64)
    volume = torch.exp(13 + torch.randn(n, t, generator=g, dtype=torch.float64))
    if zeros:
        opens = torch.where(torch.rand(n, t, generator=g) < 0.3, before, opens)
        wicks = torch.where(torch.rand(n, t, 2, generator=g) < 0.3, 0.0, wicks)
        volume = torch.where(torch.rand(n, t, generator=g) < 0.1, 0.0, volume)
    high = torch.maximum(opens, close) * torch.exp(wicks[..., 0])
    low = torch.minimum(opens, close) * torch.exp(-wicks[..., 1])
    return torch.stack([opens, high, low, close, volume], -1)


def units(bars: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scale, log_volume = window_scale(bars)
    return torch.full((bars.shape[0],), 100.0, dtype=torch.float64), scale, log_volume


CODEC = BarCodec(mean=(0.0, 0.1, 0.5, 0.5, -0.2), std=(1.1, 0.7, 0.4, 0.4, 0.6))


def test_decode_inverts_encode_and_keeps_exact_zeros() -> None:
    bars = random_bars(40, 30)
    close, scale, log_volume = units(bars)
    codes = CODEC.encode(bars, close, scale, log_volume, torch.Generator().manual_seed(1))
    back = CODEC.decode(codes, bars[..., 3], close, scale, log_volume)
    assert torch.allclose(back, bars, rtol=2e-6)
    before = torch.cat([close[:, None], bars[:, :-1, 3]], 1)
    body_top, body_low = bars[..., [0, 3]].amax(-1), bars[..., [0, 3]].amin(-1)
    new_top, new_low = back[..., [0, 3]].amax(-1), back[..., [0, 3]].amin(-1)
    assert torch.equal(back[..., 0] == before, bars[..., 0] == before)
    assert torch.equal(back[..., 1] == new_top, bars[..., 1] == body_top)
    assert torch.equal(back[..., 2] == new_low, bars[..., 2] == body_low)
    assert torch.equal(back[..., 4] == 0, bars[..., 4] == 0)


def test_zero_zones_do_not_depend_on_the_draw() -> None:
    bars = random_bars(20, 25)
    close, scale, log_volume = units(bars)
    decoded = [
        CODEC.decode(
            CODEC.encode(bars, close, scale, log_volume, torch.Generator().manual_seed(seed)),
            bars[..., 3],
            close,
            scale,
            log_volume,
        )
        for seed in (1, 2)
    ]
    zero = (bars[..., 4] == 0)[..., None].expand_as(bars)
    assert torch.equal(decoded[0] == 0, decoded[1] == 0)
    assert bool(zero.any())


@settings(max_examples=examples(200), deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([1e-3, 1.0, 30.0, 1e4, 1e30]),
    price=st.sampled_from([1e-6, 1.0, 4e3, 1e7]),
    scale=st.sampled_from([1e-4, 0.01, 0.3, 2.0]),
)
def test_every_finite_code_is_a_valid_bar(
    seed: int, size: float, price: float, scale: float
) -> None:
    g = torch.Generator().manual_seed(seed)
    n, t = 3, 17
    codes = (size * torch.randn(n, 5, t, generator=g)).nan_to_num().clamp(-3e38, 3e38)
    close = price * torch.exp(torch.randn(n, t, generator=g, dtype=torch.float64).cumsum(1))
    start = torch.full((n,), price, dtype=torch.float64)
    s, v0 = (
        torch.full((n,), scale, dtype=torch.float64),
        torch.full((n,), 12.0, dtype=torch.float64),
    )
    opens, high, low, out_close, volume = CODEC.decode(codes, close, start, s, v0).unbind(-1)
    assert torch.equal(out_close, close)
    prices = torch.stack([opens, high, low, out_close])
    assert bool(torch.isfinite(prices).all())
    assert bool((prices > 0).all())
    assert bool((high >= torch.maximum(opens, out_close)).all())
    assert bool((low <= torch.minimum(opens, out_close)).all())
    assert bool(torch.isfinite(volume).all())
    assert bool((volume >= 0).all())


@pytest.mark.parametrize("factor", [0.25, 8.0, 1024.0])
def test_prices_scale_out(factor: float) -> None:
    bars = random_bars(10, 20, zeros=False)
    scaled = bars.clone()
    scaled[..., :4] *= factor
    close, scale, log_volume = units(bars)
    codes = CODEC.encode(bars, close, scale, log_volume)
    codes_scaled = CODEC.encode(scaled, close * factor, scale, log_volume)
    assert torch.allclose(codes, codes_scaled, atol=1e-5)


def test_unit_of_returns_only_rescales_the_code() -> None:
    bars = random_bars(10, 20, zeros=False)
    close, scale, log_volume = units(bars)
    one = CODEC.encode(bars, close, scale, log_volume)
    two = CODEC.encode(bars, close, 2 * scale, log_volume)
    assert torch.allclose(one[:, RETURN], 2 * two[:, RETURN], atol=1e-6)
    back = CODEC.decode(two, bars[..., 3], close, 2 * scale, log_volume)
    assert torch.allclose(back, bars, rtol=2e-6)


def test_fit_standardises_every_channel() -> None:
    bars = random_bars(400, 30, zeros=False)
    close, scale, log_volume = units(bars)
    codec = BarCodec.fit(bars, close, scale, log_volume, torch.Generator())
    codes = codec.encode(bars, close, scale, log_volume).to(torch.float64)
    mean, std = codes.mean((0, 2)), codes.std((0, 2))
    assert torch.allclose(std, torch.ones(5, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(mean[[GAP, UPPER, LOWER, VOLUME]], torch.zeros(4).double(), atol=1e-3)
    assert BarCodec.from_dict(codec.to_dict()) == codec


def test_window_scale_reads_returns_and_traded_volume_only() -> None:
    bars = random_bars(5, 61)
    scale, log_volume = window_scale(bars)
    returns = torch.diff(torch.log(bars[..., 3]), dim=1)
    assert torch.allclose(scale, returns.std(1))
    for row, value in zip(bars, log_volume, strict=True):
        assert torch.isclose(value, torch.log(row[row[:, 4] > 0, 4]).mean())
    flat = torch.ones(1, 10, 5, dtype=torch.float64)
    assert window_scale(flat)[0].item() == pytest.approx(1e-4)


def test_a_source_without_zero_gaps_gets_none() -> None:
    """Codes inside the zone of zero become tiny gaps of their own sign, others stay as they are."""
    bars = random_bars(6, 25)
    close, scale, log_volume = units(bars)
    codes = CODEC.encode(bars, close, scale, log_volume, torch.Generator().manual_seed(1))
    arguments = (bars[..., 3], close, scale, log_volume)
    allowed = torch.tensor([True, False] * 3)
    plain, ruled = CODEC.decode(codes, *arguments), CODEC.decode(codes, *arguments, allowed)
    before = torch.cat([close[:, None], bars[:, :-1, 3]], 1)
    zero = plain[..., 0] == before
    assert bool(zero[1::2].any())
    assert not bool((ruled[1::2, :, 0] == before[1::2]).any())
    assert torch.equal(ruled[::2], plain[::2])
    gap = torch.log(ruled[..., 0] / before).abs() / scale[:, None]
    assert float(gap[1::2][zero[1::2]].max()) <= 0.0100001
    large = gap[1::2] > 0.0100001
    assert torch.equal(ruled[1::2][large], plain[1::2][large])


def test_a_source_that_always_trades_gets_no_bar_without_volume() -> None:
    bars = random_bars(6, 25)
    close, scale, log_volume = units(bars)
    codes = CODEC.encode(bars, close, scale, log_volume, torch.Generator().manual_seed(1))
    assert bool(((codes[:, VOLUME] < CODEC.no_volume_below) == (bars[..., 4] == 0)).all())
    allowed = torch.tensor([True, False] * 3)
    out = CODEC.decode(codes, bars[..., 3], close, scale, log_volume, None, allowed)
    assert torch.equal(out[::2, :, 4] == 0, bars[::2, :, 4] == 0)
    assert bool((out[1::2, :, 4] > 0).all())
    assert bool((bars[1::2, :, 4] == 0).any())
