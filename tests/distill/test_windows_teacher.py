"""The catalogue is sound, shrinkage has its limits, windows do not leak."""

import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import torch

from parfait.data.embedded import embedded_bars
from parfait.data.windows import make_segments
from parfait.distill.catalogue import COLUMNS, Event, read_catalogue
from parfait.distill.market import market_of
from parfait.distill.shrinkage import fit_baseline, observed, shrink
from parfait.distill.windows import WindowJob, WindowSettings, window_examples
from parfait.regime import FIELD_NAMES
from parfait.semantic import UNSURE_BELOW, OntologyReader
from parfait.semantic.examples import Example
from parfait.utils.errors import UserError

SIGMA = FIELD_NAMES.index("volatility")


def test_the_catalogue_is_dated_on_sessions_and_understood() -> None:
    events = read_catalogue()
    assert len(events) >= 80
    sessions = [set(frame["timestamp"].dt.date()) for frame in embedded_bars().values()]
    reader, other = OntologyReader(), []
    for event in events:
        day = date.fromisoformat(event.date)
        assert day.weekday() < 5
        assert all(day in known for known in sessions), event
        read = reader.read(event.text)
        assert read.confidence >= UNSURE_BELOW, event
        assert not read.warnings, event
        found = {e["type"]: e for e in read.reading["events"]}
        if event.type not in found or found[event.type]["negated"]:
            other.append(event)
        elif event.magnitude is not None:
            assert found[event.type]["magnitude"] == pytest.approx(event.magnitude), event
    assert len(other) <= 0.03 * len(events), other
    texts = [(e.date, e.text) for e in events]
    assert len(set(texts)) == len(texts)
    assert len({e.type for e in events}) >= 30


def test_a_catalogue_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    head = ",".join(COLUMNS) + "\n"
    good = "2008-09-15,bankruptcy,,,,,A bank files for bankruptcy\n"
    for row, told in (
        ("2008-09-31,war,,,,,War\n", "line 3: day is out of range"),
        ("2008-09-30,wars,,,,,War\n", "'wars' is no event"),
        ("2008-09-30,war,,many,,,War\n", "line 3: could not convert"),
        ("2008-09-30,war,,nan,,,War\n", "not finite"),
        ("2008-09-30,war,,,,,\n", "text is empty"),
    ):
        file.write_text(head + good + row)
        with pytest.raises(UserError, match=told):
            read_catalogue(file)
    file.write_text("date,type\n2008-09-15,war\n")
    with pytest.raises(UserError, match="no column 'asset'"):
        read_catalogue(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_catalogue(tmp_path / "absent.csv")


def test_taking_the_prior_out_of_a_posterior_and_back_is_exact() -> None:
    g = torch.Generator().manual_seed(1)
    spread = torch.rand(50, 3, generator=g, dtype=torch.float64) + 0.5
    noise = torch.rand(50, 3, generator=g, dtype=torch.float64) + 0.2
    value = torch.randn(50, 3, generator=g, dtype=torch.float64)
    precision = 1 / spread.square() + 1 / noise.square()
    back, wide = observed(value / noise.square() / precision, precision.rsqrt(), spread)
    assert torch.allclose(back, value)
    assert torch.allclose(wide, noise)


def test_shrinkage_recovers_effects_of_many_events_and_none_of_few() -> None:
    g = torch.Generator().manual_seed(2)
    truth = [0.5, -0.5, 0.0, 0.3, -0.3, 0.0]
    counts = [400, 400, 400, 400, 400, 1]
    group = [f"g{k}" for k, n in enumerate(counts) for _ in range(n)]
    centre = torch.tensor([truth[int(name[1:])] for name in group], dtype=torch.float64)
    spread = torch.full((len(group), 1), 0.4, dtype=torch.float64)
    noise = torch.full((len(group), 1), 0.3, dtype=torch.float64)
    value = centre[:, None] + 0.5 * torch.randn(len(group), 1, generator=g, dtype=torch.float64)
    weight = torch.ones(len(group), dtype=torch.float64)
    found = shrink(value, noise, group, weight, spread)
    for k in range(5):
        assert float(found.sd[k]) == pytest.approx(0.5 / math.sqrt(400), rel=0.02)
        assert abs(float(found.mean[k]) - truth[k]) < 4 * float(found.sd[k])
    lonely = float(value[-1])
    assert abs(float(found.mean[5])) < abs(lonely)
    assert float(found.sd[5]) > 0.25  # hardly less than the spread of effects
    nothing = shrink(
        torch.randn(300, 1, generator=g, dtype=torch.float64) * 0.5,
        noise[:300],
        [f"g{i % 30}" for i in range(300)],
        weight[:300],
        spread[:300],
    )
    assert float(nothing.between) < 0.12
    half = shrink(
        torch.cat([value, value]),
        torch.cat([noise, noise]),
        group * 2,
        torch.cat([weight, weight]) / 2,
        torch.cat([spread, spread]),
    )
    assert torch.allclose(half.mean, found.mean)  # a twin of every row tells nothing new


def test_the_baseline_knows_mean_and_spread_by_volatility() -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(4000, generator=g, dtype=torch.float64) * 0.5 - 1.6
    sd = (0.3 + 0.4 * x).exp()[:, None]
    noise = torch.full((4000, 1), 0.05, dtype=torch.float64)
    z = (0.7 - 0.4 * x)[:, None] + sd * torch.randn(4000, 1, generator=g, dtype=torch.float64)
    found = fit_baseline(z, noise, x)
    assert float(found.mean[1]) == pytest.approx(-0.4, abs=0.1)
    at = torch.tensor([-2.0, -1.2], dtype=torch.float64)
    assert torch.allclose(found.spread(at)[:, 0], (0.3 + 0.4 * at).exp(), rtol=0.15)


def simulated(events: list[int], factor: float, bars: int = 2600) -> pl.DataFrame:
    """A daily random walk, its volatility times ``factor`` for 20 sessions from each event on."""
    g = torch.Generator().manual_seed(4)
    sigma = torch.full((bars,), 0.01, dtype=torch.float64)
    for row in events:
        sigma[row : row + 20] *= factor
    steps = torch.randn(bars, 30, generator=g, dtype=torch.float64) * sigma[:, None] / 30**0.5
    path = steps.flatten().cumsum(0).exp().reshape(bars, 30) * 100
    first = datetime(2001, 1, 1)
    days = [first + timedelta(days=k // 5 * 7 + k % 5) for k in range(bars)]
    start = torch.cat([torch.tensor([100.0], dtype=torch.float64), path[:-1, -1]])
    table = torch.stack(
        [start, torch.maximum(start, path.amax(1)), torch.minimum(start, path.amin(1)), path[:, -1]]
    )
    columns = dict(zip(("open", "high", "low", "close"), table.tolist(), strict=True))
    frame = pl.DataFrame({"timestamp": days, **columns, "volume": [1000.0] * bars})
    return frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us")))


def event_at(frame: pl.DataFrame, row: int, kind: str) -> Event:
    day = frame["timestamp"][row]
    time = int(day.replace(tzinfo=UTC).timestamp() * 1e6)
    return Event(time, str(day.date()), kind, "", None, "", None, f"The {kind} of day {row}")


def test_a_type_that_raises_volatility_is_found_and_one_that_does_not_is_not() -> None:
    loud = list(range(200, 2400, 220))
    frame = simulated(loud, 2.5)
    quiet = [row + 110 for row in loud]
    events = [event_at(frame, r, "war") for r in loud]
    events += [event_at(frame, r, "merger") for r in quiet]
    examples, _, table = window_examples({"X": frame}, events, WindowSettings())
    rows = {row["group"]: row for row in table}
    found, none = rows["war equity"], rows["merger equity"]
    assert found["volatility"] > 0.5
    assert abs(none["volatility"]) < 0.3
    assert abs(found["drift"]) < 4 * found["drift_sd"]
    war = next(e for e in examples if e.tags["event"] == "war")
    usual = war.target.components[1]
    assert usual.name == "what usually follows"
    assert war.context.volatility is not None
    assert usual.regime.volatility > 1.4 * war.context.volatility


def test_the_context_ends_before_the_event_and_the_window_starts_with_it() -> None:
    rows = [300, 700]
    frame = simulated(rows, 1.0, 1200)
    events = [event_at(frame, r, "war") for r in rows]

    def read(bars: pl.DataFrame):
        found = market_of("equity", make_segments({"X": bars}), events, 20, Counter())
        assert found is not None
        return found

    before = read(frame)
    shaken = frame.with_columns(
        high=pl.when(pl.int_range(pl.len()) == 300).then(pl.col("high") * 1.2).otherwise("high")
    )
    after = read(shaken)
    usual = before.contexts[0].volatility
    assert after.contexts[0].volatility == pytest.approx(usual, rel=0.01)  # by the one correction
    assert after.value[0, SIGMA] > before.value[0, SIGMA]
    earlier = frame.with_columns(
        high=pl.when(pl.int_range(pl.len()) == 299).then(pl.col("high") * 1.2).otherwise("high")
    )
    assert read(earlier).contexts[0].volatility != pytest.approx(usual, rel=0.05)


@pytest.fixture(scope="module")
def real() -> list[Example]:
    events = tuple(e for e in read_catalogue() if e.date < "2008")
    frames = {
        k: f.filter(pl.col("timestamp") < datetime(2008, 3, 1)) for k, f in embedded_bars().items()
    }
    return WindowJob(frames, "key", events, WindowSettings(), None, None, 10_000).make().examples


def test_windows_of_training_share_no_bar_with_what_is_held_out(real: list[Example]) -> None:
    days = embedded_bars()["SP500"]["timestamp"].dt.date().to_list()
    spans = {e.tags["date"]: days.index(date.fromisoformat(e.tags["date"])) for e in real}
    train = {spans[e.tags["date"]] for e in real if e.split == "train"}
    held = {spans[e.tags["date"]] for e in real if e.split != "train"}
    assert train
    assert held
    assert min(abs(a - b) for a in train for b in held) >= 20
    splits: dict[str, set[str]] = {}
    for example in real:
        splits.setdefault(example.tags["date"] + example.tags["event"], set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values())


def test_targets_of_windows_are_posteriors(real: list[Example]) -> None:
    for example in real:
        assert sum(c.weight for c in example.target.components) == pytest.approx(1)
        own, usual = example.target.components
        assert float(own.sd[:10].min()) > 0.01
        assert torch.isnan(own.mean[10])  # the history knows the present volatility
        assert bool((own.sd[:10] <= usual.sd[:10] + 1e-9).all())
        assert float(own.sd[0]) > 0.3  # a month of bars hardly tells a drift


def test_events_without_a_window_or_a_symbol_are_told() -> None:
    frame = simulated([], 1.0, 400)
    late = event_at(frame, 395, "war")
    with pytest.raises(UserError, match="no event of training has a window"):
        window_examples({"X": frame}, [late], WindowSettings())
    named = Event(late.time, late.date, "war", "GOLD", None, "", None, "War")
    with pytest.raises(UserError, match="names the symbol 'GOLD'"):
        window_examples({"X": frame}, [named], WindowSettings())
