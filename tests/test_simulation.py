"""What ``summary.json`` holds: enough to make the run again."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
import torch

import parfait
from parfait.bars import BAR_COLUMNS
from parfait.checks import Outcomes
from parfait.regime import Regime, RegimeDistribution
from parfait.sde import Guide
from parfait.simulation import Simulation
from parfait.tables import bars_table, guides_table

STEPS = 3


def simulated(source: str | None = "my folder/walk.csv", steps: int | None = None) -> Simulation:
    days = [datetime(2020, 1, 6) + timedelta(days=i) for i in range(STEPS)]
    times = pl.Series("timestamp", days, dtype=pl.Datetime("us"))
    bars = torch.ones((2, STEPS, 5), dtype=torch.float64)
    level = torch.ones((2, STEPS), dtype=torch.float64)
    table = bars_table(bars, torch.zeros(2, dtype=torch.int64), times)
    scenarios = RegimeDistribution.single(Regime(0.1, 0.2, initial_volatility=0.2))
    return Simulation(
        instruction="x",
        bars=table,
        guides=guides_table(Guide(level, level > 0)),
        scenarios=scenarios,
        resolved=scenarios,
        regime=scenarios.components[0].regime.expand(2),
        history=table.filter(pl.col("path") == 0).select(BAR_COLUMNS),
        history_name="walk.csv" if source else "the given frame",
        history_source=source,
        spot=27.37,
        asset="gold",
        seed=5,
        n_paths=2,
        horizon=STEPS,
        bars_per_year=252.0,
        sde="bates",
        sampler="dpmpp_2m",
        sampler_steps=steps,
        guide_every=4,
        jump_sigmas=2.5,
        model="f" * 64,
        warnings=(),
        checks={"valid_bars": 1.0},
        alignment=(),
        outcomes=Outcomes(*[level[:, 0]] * 3, None, 0 * level[:, 0]),
        risk={"VaR95": 0.0},
        sde_options={"compensate": False},
        history_options={"price_scale": 1e-4},
        seconds={"bars": 1.0},
    )


@pytest.mark.parametrize("steps", [None, 7])
def test_summary_holds_what_made_the_run(tmp_path, steps):
    simulated(steps=steps).save(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    expected = {
        "seed": 5,
        "n_paths": 2,
        "horizon": STEPS,
        "bars_per_year": 252.0,
        "sde": "bates",
        "sde_options": {"compensate": False},
        "history_options": {"price_scale": 1e-4},
        "asset": "gold",
        "history": "my folder/walk.csv",
        "spot": 27.37,
        "horizon_end": "2020-01-08T00:00:00",
        "sampler": "dpmpp_2m",
        "sampler_steps": steps,
        "guide": {"every": 4, "jump_sigmas": 2.5},
        "model": "f" * 64,
        "version": parfait.__version__,
        "condition": "pinned",
        "conditions": [],
        "semantic_options": {},
        "run": None,
    }
    assert {key: summary[key] for key in expected} == expected
    before = {"instruction", "semantic", "confidence", "overrides", "warnings"}
    assert set(summary) == set(expected) | before | {"checks", "risk", "seconds"}


def test_a_history_without_a_file_is_named():
    assert simulated(source=None).summary()["history"] == "the given frame"
