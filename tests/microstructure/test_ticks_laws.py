"""Ticks make up their bar to the bit, and bounce as Roll says."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.microstructure import refine_ticks
from parfait.microstructure.ticks import TickModel, parametric_day
from parfait.microstructure.ticks.arrivals import hawkes_times
from parfait.microstructure.ticks.bridge import choose_moves, fold
from parfait.microstructure.ticks.pins import draw_sides, quiet_ticks
from parfait.microstructure.ticks.refine import narrowed
from parfait.microstructure.ticks.sizes import trade_sizes
from tests.microstructure.tick_bars import brownian, frame, grid

DAY = timedelta(days=1)


def check_laws(ticks: pl.DataFrame, bars: np.ndarray, n: int) -> None:
    """What holds for every bar, whatever it is."""
    price, bid, ask, size = (grid(ticks, x, n) for x in ("price", "bid", "ask", "size"))
    assert (price[:, 0] == bars[:, 0]).all()
    assert (price.max(1) == bars[:, 1]).all()
    assert (price.min(1) == bars[:, 2]).all()
    assert (price[:, -1] == bars[:, 3]).all()
    assert ((price == bid) | (price == ask)).all()
    assert (bid > 0).all()
    assert (bid < ask).all()
    traded = bars[:, 4] > 0
    assert (size[traded] > 0).all()
    assert (size[~traded] == 0).all()
    for order in (slice(None), slice(None, None, -1)):  # sums one by one, both ways
        assert (np.cumsum(size[:, order], axis=1)[:, -1] == bars[:, 4]).all()
    assert (size.sum(axis=1) == bars[:, 4]).all()  # numpy sums in pairs
    summed = ticks.group_by("step", maintain_order=True).agg(pl.col("size").sum())
    assert (summed["size"].to_numpy() == bars[:, 4]).all()
    assert [math.fsum(row) for row in size] == bars[:, 4].tolist()
    times = ticks["timestamp"].cast(pl.Int64).to_numpy().reshape(-1, n)
    assert (np.diff(times, axis=1) >= 0).all()


@st.composite
def odd_bar(draw: st.DrawFn) -> list[float]:
    """Flat, one-sided, without volume, huge, tiny, a hair wide."""
    level = draw(st.sampled_from([1e-12, 1e-4, 0.37, 1.0, 100.0, 12345.678, 1e15]))
    widths = [0.0, 0.0, 1e-16, 1e-12, 1e-7, 1e-4, 0.01, 0.5, 3.0, 1e6]
    parts = [level * (1 + draw(st.sampled_from(widths))) for _ in range(4)]
    low, a, b, high = sorted(parts)
    open_, close = draw(st.permutations([a, b]))
    if draw(st.booleans()):
        open_ = draw(st.sampled_from([low, high]))
    if draw(st.booleans()):
        close = draw(st.sampled_from([low, high]))
    volumes = st.floats(1e-9, 1e18) | st.sampled_from([0.0, 1.0, 0.1, 2.0**53 + 2, 1e-200])
    return [open_, high, low, close, draw(volumes)]


@settings(max_examples=150, deadline=None)
@given(
    bars=st.lists(odd_bar(), min_size=2, max_size=12),
    per_bar=st.integers(4, 60),
    spread=st.sampled_from([None, 1e-6, 5e-4, 0.2]),
    persistence=st.sampled_from([0.0, 0.3, 0.95]),
)
def test_ticks_make_up_any_bar(
    bars: list[list[float]], per_bar: int, spread: float | None, persistence: float
) -> None:
    rows = np.array(bars)
    options = {"spread": spread, "persistence": persistence, "per_bar": per_bar}
    check_laws(refine_ticks(frame(rows), **options), rows, per_bar)


def shaped(kind: str, count: int) -> np.ndarray:
    """Bars of one kind: every path of the mid is forced in the same way."""
    rows = brownian(count, seed=len(kind))
    if kind == "rising":  # no wicks: open at the low, close at the high
        rows[:, 0], rows[:, 3] = rows[:, 2], rows[:, 1]
    if kind == "hammer":  # both ends at the high
        rows[:, 0] = rows[:, 3] = rows[:, 1]
    if kind == "narrow":  # half the range is the spread
        rows[:, 1] = rows[:, 2] * np.exp(0.0011)
        rows[:, [0, 3]] = np.clip(rows[:, [0, 3]], rows[:, 2:3], rows[:, 1:2])
    return rows


@pytest.mark.parametrize("kind", ["brownian", "rising", "hammer", "narrow"])
@pytest.mark.parametrize(("persistence", "n"), [(0.0, 100), (0.0, 16), (0.3, 100), (0.6, 200)])
def test_lag_1_covariance_is_that_of_roll(kind: str, persistence: float, n: int) -> None:
    """E[r_j r_j+1] = -S^2/4 (1 - phi)^2 bar by bar, though the mid is pinned four times."""
    rows, spread = shaped(kind, 3000), 0.001
    options = {"per_bar": n, "spread": spread, "persistence": persistence}
    ticks = refine_ticks(frame(rows), **options)
    move = np.diff(np.log(grid(ticks, "price", n)), axis=1)
    own = narrowed(rows, spread)
    assert (own < spread).any() == (kind == "narrow")
    excess = (move[:, 1:] * move[:, :-1]).mean(1) / (own**2 / 4) + (1 - persistence) ** 2
    assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(len(excess))


def test_the_mid_never_moves_at_two_trades_in_a_row() -> None:
    rows = brownian(500, seed=3)
    ticks = refine_ticks(frame(rows), per_bar=64, spread=0.001)
    mid = np.log(grid(ticks, "bid", 64)) + np.log(grid(ticks, "ask", 64))
    moved = abs(np.diff(mid, axis=1)) > 1e-12
    assert not (moved[:, 1:] & moved[:, :-1]).any()
    assert moved.mean() > 0.2  # a fifth of the trades at least
    # within the bar, the mid has the variance of the bar: 1e-4 a day
    realised = (np.diff(mid / 2, axis=1) ** 2).sum(1)
    assert 0.8e-4 < realised.mean() < 1.2e-4


def test_every_stretch_has_a_move_and_no_two_are_neighbours() -> None:
    random = np.random.default_rng(0)
    for n, quiet in ((4, 0), (9, 0), (16, 2), (100, 2), (100, 16)):
        least = 2 * quiet + 1
        first = random.integers(least, n - 2 * least, 200) if n > 3 * least + 1 else None
        first = np.full(200, least) if first is None else first
        second = np.array([random.integers(f + least, n - least) for f in first])
        tick = np.arange(n)
        stretch = (tick > first[:, None]).astype(int) + (tick > second[:, None])
        pins = [np.zeros(200, int), first, second, np.full(200, n - 1)]
        moves = choose_moves(random.random((200, n)), stretch, pins, quiet)
        for k in range(3):
            assert ((moves & (stretch == k) & (tick > 0)).sum(1) >= 1).all()
        if quiet:
            assert not (moves[:, 1:] & moves[:, :-1]).any()


def test_quiet_neighbourhoods_leave_room() -> None:
    for n in (4, 15, 16, 40, 1000):
        for persistence in (0.0, 0.5, 0.95):
            assert 3 * (2 * quiet_ticks(n, persistence) + 1) <= n - 1
    assert quiet_ticks(100, 0.0) == 2
    assert quiet_ticks(1000, 0.5) == 6  # 0.5^6 < 0.02


def test_sides_are_a_chain_through_their_pins() -> None:
    random, phi = np.random.default_rng(1), 0.6
    pinned = np.zeros((20000, 12))
    pinned[:, 4], pinned[:, 7] = 1.0, -1.0
    sides = draw_sides(random.random(pinned.shape), pinned, phi)
    assert (sides[:, 4] == 1).all()
    assert (sides[:, 7] == -1).all()
    error = 4 / np.sqrt(len(pinned))
    for j, expected in ((3, phi), (2, phi**2), (0, phi**4), (8, -phi), (11, -(phi**4))):
        assert abs(sides[:, j].mean() - expected) < error
    # between the pins: E[q_5] of a bridge from +1 to -1 in three steps
    up = (1 + phi) * (1 - phi**2)
    down = (1 - phi) * (1 + phi**2)
    assert abs(sides[:, 5].mean() - (up - down) / (up + down)) < error


@pytest.mark.parametrize("volume", [1.0, 0.1, 12345.678, 3e-7, 7.0e15, 2.0**60 + 2.0**10, 1e-250])
def test_sizes_sum_to_the_volume_in_any_order(volume: float) -> None:
    random = np.random.default_rng(2)
    size = trade_sizes(np.full(50, volume), random.standard_normal((50, 97)), 1.5)
    assert (size > 0).all()
    for _ in range(20):
        mixed = random.permuted(size, axis=1)
        assert (np.cumsum(mixed, axis=1)[:, -1] == volume).all()
        assert (mixed.sum(1) == volume).all()
    whole = trade_sizes(np.full(5, 1e6), random.standard_normal((5, 97)), 1.0)
    assert (whole == np.rint(whole)).all()


def test_volume_and_trades_follow_the_u_shape() -> None:
    """Mean shares by bin are those of the day: 4 standard errors over bars."""
    rows, n, parts = brownian(2000, seed=5), 80, 12
    ticks = refine_ticks(frame(rows), per_bar=n, session="09:30-16:00", day=parametric_day())
    clock = ticks["timestamp"].cast(pl.Int64).to_numpy() % 86_400_000_000 / 60e6 - 570
    place = np.minimum((clock / 390 * parts).astype(int), parts - 1).reshape(-1, n)
    expected = parametric_day().activity.reshape(parts, -1).sum(1)
    assert expected[0] > 1.5 * expected[parts // 2]
    share = grid(ticks, "size", n) / rows[:, 4:5]
    for k in range(parts):
        for weight in (np.full_like(share, 1 / n), share):
            found = np.where(place == k, weight, 0).sum(1)
            assert abs(found.mean() - expected[k]) < 4 * found.std() / np.sqrt(len(found))


def test_hawkes_arrivals_are_even_on_average_and_clustered() -> None:
    """Pairs within w: 2w (n - 1 - X) + X (1 - e^{-gamma w}), X = eta (2 - eta) / (1 - eta)^2."""
    random, bars, n, eta, delay = np.random.default_rng(6), 400, 1000, 0.5, 0.002
    draws = random.random((2, bars, n))
    lags = random.standard_exponential((bars, n))
    found = {}
    for branching in (0.0, eta):
        times = hawkes_times(draws[0], draws[1], lags, branching, np.full(bars, delay))
        assert (np.diff(times, axis=1) >= 0).all()
        assert times.min() >= 0
        assert times.max() < 1
        counts = np.stack([np.histogram(t, 10, (0, 1))[0] for t in times])
        error = counts.std(0) / np.sqrt(bars)
        assert (abs(counts.mean(0) - n / 10) < 4 * error).all()
        width = 0.004
        wrapped = np.concatenate([times, times + 1], axis=1)
        near = [
            np.searchsorted(w, t + width) - np.arange(n) - 1
            for w, t in zip(wrapped, times, strict=True)
        ]
        found[branching] = 2 * np.array([x.mean() for x in near])
    for branching, others in found.items():
        excess = branching * (2 - branching) / (1 - branching) ** 2
        decay = 1 - np.exp(-(1 - branching) / delay * width)
        expected = 2 * width * (n - 1 - excess) + excess * decay
        # the process stops at n trades: the last clusters are cut, an effect of order 1 / n
        assert abs(others.mean() - expected) < 4 * others.std() / np.sqrt(bars) + 10 * excess / n


def test_paths_do_not_depend_on_their_neighbours() -> None:
    rows = brownian(20, seed=7)
    each = [frame(rows).with_columns(path=pl.lit(i, pl.Int32)) for i in range(200)]
    bars = pl.concat(each)
    whole = TickModel.of(bars, seed=4).table(bars)
    some = pl.concat([each[150], each[3]])
    part = TickModel.of(some, seed=4).table(some)
    for path in (3, 150):
        mine = pl.col("path") == path
        assert whole.filter(mine).equals(part.filter(mine))
    first = [
        refine_ticks(each[0], seed=s, symbol=x)["price"] for s, x in ((4, ""), (5, ""), (4, "A"))
    ]
    assert whole.filter(pl.col("path") == 0)["price"].equals(first[0])
    assert not first[0].equals(first[1])
    assert not first[0].equals(first[2])


@pytest.mark.parametrize(
    ("step", "start", "begin", "length"),
    [
        (DAY, datetime(2024, 1, 1), "09:30", timedelta(hours=6.5)),
        (timedelta(minutes=5), datetime(2024, 1, 2, 9, 30), None, timedelta(minutes=5)),
        (timedelta(hours=1), datetime(2024, 1, 2), None, timedelta(hours=1)),
        (timedelta(milliseconds=1), datetime(2024, 1, 2), None, timedelta(milliseconds=1)),
    ],
)
def test_times_lie_strictly_inside_the_bar(
    step: timedelta, start: datetime, begin: str | None, length: timedelta
) -> None:
    bars = frame(brownian(60, seed=8), step, start)
    session = "09:30-16:00" if begin else None
    ticks = refine_ticks(bars, per_bar=40, session=session)
    at = ticks.join(bars.select(pl.col("timestamp").alias("bar")).with_row_index("step"), on="step")
    open_ = pl.col("bar") + (pl.duration(minutes=570) if begin else pl.duration())
    inside = (pl.col("timestamp") > open_) & (pl.col("timestamp") < open_ + length)
    assert at.select(inside.all()).item()
    if begin is None and step > timedelta(seconds=1):  # trades use all of their bar
        late = at.select(((pl.col("timestamp") - pl.col("bar")) / length).mean()).item()
        assert 0.4 < late < 0.6


def test_fold_reflects() -> None:
    x = np.linspace(0, 7, 50)
    y = fold(x, np.full(50, 2.0))
    assert ((y >= 0) & (y <= 2)).all()
    assert y[0] == 0
    assert np.allclose(abs(np.diff(y))[abs(np.diff(y)) > 0.1429 - 1e-3], x[1] - x[0], atol=1e-12)
    assert (fold(x, np.zeros(50)) == 0).all()
