"""Laws of the pipeline: the same seed gives the same bytes, guides are obeyed, counts add up."""

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest
import torch

from parfait.draft import MAX_BARS, derive_generator
from parfait.microstructure import Microstructure
from parfait.microstructure.generate import MICRO_BATCH
from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.unet1d import UNet1D
from parfait.pipeline import Pipeline
from parfait.regime import Component, MarketContext, Regime, RegimeDistribution
from parfait.sde import Bates, load_process
from parfait.simulation import parquet_bytes
from parfait.utils.errors import UserError


class Scripted:
    """A reader with two scenarios, whatever the words; remembers what it was told."""

    def __init__(self, **extra):
        self.extra, self.context = extra, None

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        self.context = context
        spread = {"drift": 0.3, "volatility": 0.2}
        crash = Regime(-1.0, 0.45, 25.0, -0.04, 0.02)
        return RegimeDistribution(
            (
                Component.around("crash", "crash", 0.37, crash, spread, rationale="sellers"),
                Component.around("calm", "calm", 0.63, Regime(0.1, 0.12), spread),
            ),
            source="scripted",
            **self.extra,
        )


def untrained(seed: int) -> Microstructure:
    """A real generator with random weights: the laws below hold for any weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = UNet1D(8, (1, 1, 1), 16, heads=2, history_width=16, history_layers=1)
        for parameter in net.parameters():  # zero-initialised layers would hide the network
            parameter.data += 0.02 * torch.randn_like(parameter)
    return Microstructure(DenoiserModel(net.eval().requires_grad_(False)))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(
        reader=Scripted(),
        process=Bates,
        microstructure=untrained(0),
        sampler_steps=3,
    )


@pytest.fixture(scope="module")
def simulation(pipeline):
    return pipeline.run("anything", n_paths=70, horizon=14, seed=7)


def test_same_seed_same_bytes(pipeline, simulation):
    again = pipeline.run("anything", n_paths=70, horizon=14, seed=7)
    assert parquet_bytes(again.bars) == parquet_bytes(simulation.bars)
    assert parquet_bytes(again.guides) == parquet_bytes(simulation.guides)
    other = pipeline.run("anything", n_paths=70, horizon=14, seed=8)
    assert not other.bars["close"].equals(simulation.bars["close"])


@pytest.mark.parametrize("batch_size", [1, 100, 128])
def test_bars_do_not_depend_on_the_batch_size(pipeline, batch_size):
    many = {"n_paths": 135, "horizon": 6, "seed": 3}
    done = []
    whole = pipeline.run("anything", batch_size=1000, **many)
    parts = pipeline.run(
        "anything", batch_size=batch_size, progress=lambda *step: done.append(step), **many
    )
    assert parquet_bytes(parts.bars) == parquet_bytes(whole.bars)
    counts = [n for stage, n, _ in done if stage == "bars"]
    assert counts == ([0, 64, 128, 135] if batch_size == 1 else [0, 128, 135])


def test_long_horizons_do_not_depend_on_the_batch_size_either(pipeline):
    jumpy = Regime(0.0, 0.3, 60.0, -0.05, 0.02)
    longer = pipeline.microstructure.model.max_horizon + 6
    size = {"n_paths": MICRO_BATCH + 1, "horizon": longer, "guide_every": 40}
    whole = pipeline.run(jumpy, batch_size=1000, **size)
    parts = pipeline.run(jumpy, batch_size=MICRO_BATCH, **size)
    assert parquet_bytes(parts.bars) == parquet_bytes(whole.bars)
    assert whole.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}


def test_guides_do_not_depend_on_sampler_or_weights(pipeline, simulation):
    same = {"n_paths": 70, "horizon": 14, "seed": 7}
    for changed in (
        replace(pipeline, sampler="euler"),
        replace(pipeline, microstructure=untrained(1)),
    ):
        other = changed.run("anything", **same)
        assert parquet_bytes(other.guides) == parquet_bytes(simulation.guides)
        assert not other.bars["high"].equals(simulation.bars["high"])


def test_tables_have_the_promised_schema(simulation):
    assert simulation.bars.schema == {
        "path": pl.Int32,
        "scenario": pl.Int32,
        "step": pl.Int32,
        "timestamp": pl.Datetime("us"),
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
    }
    assert simulation.guides.schema == {
        "path": pl.Int32,
        "step": pl.Int32,
        "anchored": pl.Boolean,
        "guide": pl.Float64,
    }
    assert simulation.bars.height == simulation.guides.height == 70 * 14
    assert simulation.bars["path"].to_list() == simulation.guides["path"].to_list()
    assert simulation.bars["timestamp"].min() > simulation.history["timestamp"].max()
    stamps = simulation.bars["timestamp"].to_numpy().reshape(70, 14)
    assert (stamps == stamps[0]).all()


def test_closes_are_the_guide_at_every_anchor(simulation):
    both = simulation.bars.join(simulation.guides, on=["path", "step"])
    anchors = both.filter("anchored")
    assert anchors["close"].equals(anchors["guide"])
    assert set(anchors.filter(pl.col("path") == 0)["step"]) >= {3, 7, 11, 13}
    assert simulation.checks == {"valid_bars": 1.0, "max_guide_error": 0.0}
    free = both.filter(~pl.col("anchored"))
    assert (free["close"] != free["guide"]).mean() > 0.9


def test_scenario_counts_sum_to_the_paths(simulation):
    table = simulation.scenarios_table()
    assert sum(row["n_paths"] for row in table) == 70
    for row in table:
        assert abs(row["n_paths"] - 70 * row["probability"]) < 1
        for name, (low, high) in row["interval"].items():
            assert low <= row["params"][name] <= high
    spread = table[0]["interval"]["volatility"]
    z = math.log(spread[1] / spread[0]) / (2 * 0.2)
    assert z == pytest.approx(1.6449, abs=1e-4)


def test_requested_drift_is_the_law_of_the_sampled_regimes(simulation):
    years = 14 / simulation.bars_per_year
    growth = (torch.as_tensor(simulation.regime.drift) * years).exp().mean()
    drift = next(a for a in simulation.alignment if a.field == "drift" and a.scenario is None)
    assert drift.requested == pytest.approx(math.log(growth) / years)
    close = simulation.column("close")[:, -1]
    assert drift.recovered == pytest.approx(math.log(close.mean() / simulation.spot) / years)


def test_saved_files_hold_the_tables_and_strict_json(simulation, tmp_path):
    names = {path.name for path in simulation.save(tmp_path / "new" / "folder")}
    assert names == {"paths.parquet", "guides.parquet", "scenarios.json", "summary.json"}
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in folder.iterdir()} == names  # no temporary file is left
    assert pl.read_parquet(folder / "paths.parquet").equals(simulation.bars)

    def refuse(constant):
        raise AssertionError(constant)

    summary = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    assert list(summary) == [
        "instruction",
        "semantic",
        "semantic_options",
        "confidence",
        "overrides",
        "warnings",
        "seed",
        "n_paths",
        "horizon",
        "bars_per_year",
        "sde",
        "sde_options",
        "condition",
        "conditions",
        "asset",
        "history",
        "history_options",
        "spot",
        "horizon_end",
        "sampler",
        "sampler_steps",
        "guide",
        "run",
        "model",
        "version",
        "checks",
        "risk",
        "seconds",
    ]
    assert set(summary["checks"]["alignment"]) == {"drift", "volatility"}
    scenarios = json.loads((folder / "scenarios.json").read_text(), parse_constant=refuse)
    assert list(scenarios[0]) == [
        "name",
        "probability",
        "n_paths",
        "rationale",
        "asset_class",
        "params",
        "interval",
    ]


def test_unidentified_alignment_is_null(pipeline, tmp_path):
    one = pipeline.run(Regime(0.1, 0.2), n_paths=1, horizon=2)
    one.save(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["instruction"] is None
    assert summary["checks"]["alignment"]["volatility"]["recovered"] is None
    assert summary["checks"]["alignment"]["drift"]["recovered"] is None


def test_the_reader_is_told_the_present_market(pipeline):
    reader = Scripted()
    past = daily(90, volatility=0.01)
    told = replace(pipeline, reader=reader).run("x", past, n_paths=2, horizon=2, asset="gold")
    assert reader.context.asset_class == "gold"
    assert reader.context.bars_per_year == told.bars_per_year
    assert reader.context.volatility == pytest.approx(0.01 * told.bars_per_year**0.5, rel=0.35)
    start = told.resolved.components[0].regime.initial_volatility
    assert start == pytest.approx(reader.context.volatility)
    assert told.spot == past["close"][-1]


def test_scenarios_can_be_edited_and_run_again(pipeline, simulation):
    again = pipeline.run(simulation.scenarios, n_paths=70, horizon=14, seed=7)
    assert again.bars.equals(simulation.bars)
    calm = RegimeDistribution((replace(simulation.scenarios.components[1], weight=1.0),))
    assert pipeline.run(calm, n_paths=5, horizon=3).bars["scenario"].unique().to_list() == [0]


def test_what_a_process_cannot_express_is_said(pipeline):
    plain = replace(pipeline, process=load_process("gbm"), sde="gbm")
    said = plain.run("x", n_paths=4, horizon=3).warnings
    assert any("jump_intensity" in sentence for sentence in said)
    assert not any("cannot express" in w for w in pipeline.run("x", n_paths=4, horizon=3).warnings)


def test_short_and_foreign_histories_are_used_with_a_warning(pipeline):
    short = pipeline.run("x", daily(12), n_paths=2, horizon=3)
    assert any("12 bars" in sentence for sentence in short.warnings)
    gold = replace(pipeline, reader=Scripted(asset_class="gold"))
    assert any("S&P 500" in w for w in gold.run("x", n_paths=2, horizon=2).warnings)
    assert not any("S&P 500" in w for w in gold.run("x", daily(90), n_paths=2, horizon=2).warnings)


def test_an_unsure_reading_warns(pipeline):
    unsure = replace(pipeline, reader=Scripted(confidence=0.01))
    assert any("unsure" in w for w in unsure.run("x", n_paths=2, horizon=2).warnings)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"n_paths": 0}, "n_paths"),
        ({"n_paths": 2.0}, "n_paths"),
        ({"horizon": 0}, "horizon"),
        ({"horizon": -3}, "horizon"),
        ({"n_paths": MAX_BARS, "horizon": 2}, "n_paths x horizon"),
        ({"batch_size": 0}, "batch_size"),
        ({"guide_every": 0}, "every"),
        ({"bars_per_year": -1.0}, "bars_per_year"),
        ({"asset": "cheese"}, "cheese"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(pipeline, arguments, word):
    with pytest.raises(UserError, match=word):
        pipeline.run("x", **arguments)


def test_histories_that_cannot_be_used_are_refused(pipeline):
    bars = daily(70)
    broken = bars.with_columns(high=pl.col("low") - 1)
    for history, word in (
        (bars.drop("close"), "close"),
        (broken, "high"),
        (bars.head(1), "1 bars"),
        (3, "int"),
        ("no such file.csv", "no such file"),
    ):
        with pytest.raises(UserError, match=word):
            pipeline.run("x", history, n_paths=1, horizon=1)


def test_a_source_that_is_no_text_is_refused(pipeline):
    with pytest.raises(UserError, match="int"):
        pipeline.run(3)
    with pytest.raises(UserError, match="batch"):
        pipeline.run(Regime(0.1, 0.2).expand(3))


def test_generators_differ_by_seed_and_purpose():
    draws = {
        torch.randint(2**62, (), generator=derive_generator(seed, purpose)).item()
        for seed in (0, 1, -1)
        for purpose in ("sde", "bars", "regimes")
    }
    assert len(draws) == 9
    assert derive_generator(5, "sde").initial_seed() == derive_generator(5, "sde").initial_seed()


def daily(n: int, volatility: float = 0.01) -> pl.DataFrame:
    """n valid weekday bars of a Gaussian walk."""
    generator = torch.Generator().manual_seed(n)
    steps = volatility * torch.randn(n, 8, generator=generator, dtype=torch.float64) / 8**0.5
    walk = steps.flatten().cumsum(0).reshape(n, 8)
    start = torch.cat([torch.zeros(1, dtype=torch.float64), walk[:-1, -1]])
    price = 100 * torch.cat([start[:, None], walk], dim=1).exp()
    day = datetime(2020, 1, 6)
    return pl.DataFrame(
        {
            "timestamp": [day + timedelta(days=i + 2 * (i // 5)) for i in range(n)],
            "open": price[:, 0].numpy(),
            "high": price.amax(1).numpy(),
            "low": price.amin(1).numpy(),
            "close": price[:, -1].numpy(),
            "volume": (1e6 + torch.arange(n, dtype=torch.float64)).numpy(),
        }
    )
