"""Rolling labels: causal, inside segments, apart by date, whatever else is labelled beside them."""

import math
from dataclasses import replace

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from parfait.bars import bars_to_tensor
from parfait.data import make_segments
from parfait.labelling import Rolling, label_symbol
from parfait.labelling.rolling import WIDTH, jump_bars, range_correction
from parfait.labels import label_windows
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError
from tests.labelling.history import SIGMA, market

FIXED = Rolling(
    (20,), stride=3, before=10, bars_per_year=252.0, range_correction=1.1, train_end="2003-06-30"
)


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return market(900, gap_after=400)


@pytest.mark.parametrize("known", [431, 600, 899])
def test_later_bars_change_no_earlier_label(bars: pl.DataFrame, known: int) -> None:
    """Neither by being there nor by being others; to the last bit."""
    whole = label_symbol(bars, "A", FIXED).frame
    other = pl.concat([bars[:known], bars[known:].with_columns(pl.all().exclude("timestamp") * 3)])
    end = bars["timestamp"][known - 1]
    expected = whole.filter(pl.col("timestamp") <= end)
    assert expected.height > 50
    for changed in (bars[:known], other):
        found = label_symbol(changed, "A", FIXED).frame.filter(pl.col("timestamp") <= end)
        assert found.equals(expected)


def test_no_window_crosses_the_end_of_a_segment(bars: pl.DataFrame) -> None:
    made = label_symbol(bars, "A", FIXED)
    first, second = made.segments
    assert (len(first), len(second)) == (400, 500)
    times = bars["timestamp"]
    for row in made.frame.select("segment", "start", "timestamp").iter_rows():
        low = times.search_sorted(row[1])
        high = times.search_sorted(row[2])
        assert high - low == 20
        edge = (0, 400) if row[0] == 0 else (400, 900)
        assert edge[0] <= low - 10
        assert high < edge[1]
    counts = [len(range(10, n - 20, 3)) for n in (400, 500)]
    assert made.frame["segment"].value_counts().sort("segment")["count"].to_list() == counts


def test_training_and_held_out_windows_share_no_bar_and_keep_the_embargo(
    bars: pl.DataFrame,
) -> None:
    frame = label_symbol(bars, "A", FIXED).frame
    train, held = (frame.filter(part=name) for name in ("train", "held-out"))
    assert min(train.height, held.height) > 20
    times = bars["timestamp"].to_list()
    last, first = times.index(train["timestamp"].max()), times.index(held["start"].min())
    assert str(train["timestamp"].max()) <= "2003-06-30 23:59:59"
    cut = sum(str(t) <= "2003-06-30 23:59:59" for t in times)
    assert last < cut
    assert first - FIXED.before >= cut + FIXED.bars(20)  # with the bars before the window


def test_a_label_is_that_of_its_window_alone(bars: pl.DataFrame) -> None:
    settings = replace(FIXED, lengths=(20, 60), stride=1)
    frame = label_symbol(bars, "A", settings).frame
    assert frame.height > WIDTH
    tensor = bars_to_tensor(bars)
    for n, row in ((20, 7), (20, 380 + 200), (60, 40)):
        told = frame.filter(n=n).row(row, named=True)
        i = bars["timestamp"].to_list().index(told["start"])
        window, before = tensor[None, i : i + n + 1], tensor[None, i - 10 : i + 1]
        alone = label_windows(window, 252.0, before, range_correction=1.1)
        for j, field in enumerate(FIELD_NAMES):
            assert told[f"{field}_loc"] == pytest.approx(float(alone.loc[0, j]), abs=2e-4)
            assert told[f"{field}_scale"] == pytest.approx(float(alone.scale[0, j]), abs=2e-4)
            z = told[f"{field}_q05"], told[f"{field}_q50"], told[f"{field}_q95"]
            assert z[0] <= z[1] <= z[2]
        assert told["total_volatility"] == pytest.approx(float(alone.total_volatility), rel=1e-4)


def test_ranges_are_corrected_by_what_the_closes_say() -> None:
    bars = market(2000, jumps=0.0)
    middle = (pl.col("open") * pl.col("close")).sqrt()
    low, high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    squeezed = bars.with_columns(
        high=high * (pl.col("high") / high) ** 0.5, low=low * (pl.col("low") / low) ** 0.5
    )
    assert squeezed.select((middle > 0).all()).item()
    settings = Rolling((60,), train_end="2009-01-01")
    factors = {}
    for name, frame in (("exact", bars), ("squeezed", squeezed)):
        factors[name] = label_symbol(frame, "A", settings).constants["range_correction"]
    # var_close of 2000 bars has a relative sd of sqrt(2/2000): 1.6 % of the volatility.
    assert factors["exact"] == pytest.approx(1.0, abs=4 * 0.016)
    assert factors["squeezed"] > 1.15
    frame = label_symbol(squeezed, "A", settings).frame
    level = float(frame["total_volatility"].log().mean())  # pyright: ignore[reportArgumentType]
    assert math.exp(level) == pytest.approx(SIGMA, rel=4 * 0.016)


def test_one_misprinted_high_does_not_decide_the_correction() -> None:
    bars = market(1000)
    wrong = bars.with_columns(
        high=pl.when(pl.int_range(pl.len()) == 300).then(pl.col("high") * 8).otherwise("high")
    )
    segments = [make_segments({"A": frame}) for frame in (bars, wrong)]
    end = int(segments[0][0].timestamps[-1])
    (right, _), (found, _) = (range_correction(s, 60, end) for s in segments)
    assert found == pytest.approx(right, abs=0.02)


def test_a_short_training_part_corrects_nothing(bars: pl.DataFrame) -> None:
    told = label_symbol(bars[:390], "A", Rolling()).constants
    assert told["range_correction"] == 1.0
    assert told["range_correction_from"].startswith("none")


def test_jumps_are_found_where_they_are() -> None:
    bars = market(400, jumps=0.0)
    jumped = pl.int_range(pl.len()) >= 222
    up = [pl.when(jumped).then(pl.col(c) * 1.2).otherwise(c).alias(c) for c in bars.columns[1:5]]
    segment = make_segments({"A": bars.with_columns(up)})[0]
    assert 222 in jump_bars(segment, 60).tolist()
    assert len(jump_bars(segment, 60)) <= 2
    assert len(jump_bars(segment, 500)) == 0


def test_too_few_bars_have_no_label_and_wrong_settings_a_sentence(bars: pl.DataFrame) -> None:
    assert label_symbol(bars[:80], "A", Rolling()).frame.height == 0
    assert label_symbol(bars[:81], "A", Rolling()).frame.height == 1
    for wrong, words in (
        ({"lengths": (2,)}, r"labels\.n=2"),
        ({"lengths": (20, 20)}, "different"),
        ({"stride": 0}, "stride"),
        ({"before": 1}, "before"),
        ({"bars_per_year": 0.0}, "bars_per_year"),
        ({"range_correction": math.nan}, "range_correction"),
        ({"method": "magic"}, "magic"),
        ({"train_end": "soon"}, "soon"),
    ):
        with pytest.raises(UserError, match=words):
            Rolling(**wrong)


def test_settings_change_what_they_should(bars: pl.DataFrame) -> None:
    base = label_symbol(bars, "A", FIXED).frame
    twice = label_symbol(bars, "A", replace(FIXED, bars_per_year=504.0)).frame
    ratio = (twice["total_volatility"] / base["total_volatility"]).to_torch()
    assert torch.allclose(ratio, torch.full_like(ratio, math.sqrt(2)), rtol=1e-6)
    wide = label_symbol(bars, "A", replace(FIXED, stride=6)).frame
    same = base.join(wide.select("timestamp"), on="timestamp", how="semi")
    assert_frame_equal(same, wide, abs_tol=2e-4, rel_tol=2e-4)
