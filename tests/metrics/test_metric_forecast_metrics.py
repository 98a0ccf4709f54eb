"""``ForecastCalibration`` and ``Control`` equal their functions under any batch split and order."""

import pytest
import torch

from parfait.labels import label_windows
from parfait.metrics import Control, ForecastCalibration
from parfait.metrics.functional.calibration import covered, crps, skill
from parfait.metrics.functional.control import round_trip
from parfait.metrics.probes import path_bars
from parfait.regime import Regime
from parfait.sde import RegimeSDE
from parfait.utils.errors import UserError

N = 40


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


X, RIVAL, Y = (
    torch.randn(shape, generator=generator(k), dtype=torch.float64)
    for k, shape in enumerate(((N, 50), (N, 30), (N,)))
)
DATES = torch.arange(N) // 2


def batches(split):
    order = torch.randperm(N, generator=generator(sum(split[:1])))
    return order.split(split)


def test_calibration_equals_its_functions():
    results = []
    for split in ([N], [1, 7, 32]):
        metric = ForecastCalibration(block=4, draws=50)
        for ids in batches(split):
            metric.update(ids, X[ids], Y[ids], DATES[ids], RIVAL[ids])
        results.append({name: float(value) for name, value in metric.compute().items()})
    first = results[0]
    assert results[1] == pytest.approx(first)
    assert first["crps"] == pytest.approx(float(crps(X, Y).mean()))
    assert first["cover_80"] == float(covered(X, Y, 0.8).mean())
    better = skill(crps(X, Y), crps(RIVAL, Y), DATES, 4, draws=50, generator=generator())
    assert first["skill_low"] == pytest.approx(better.low)


def test_a_rival_is_optional_but_not_in_part():
    metric = ForecastCalibration(block=3, draws=20)
    ids = torch.arange(N)
    metric.update(ids[:20], X[:20], Y[:20], DATES[:20])
    assert "skill" not in metric.compute()
    metric.update(ids[20:], X[20:], Y[20:], DATES[20:], RIVAL[20:])
    with pytest.raises(UserError, match="some batches only"):
        metric.compute()


def test_control_equals_its_function():
    sigma = torch.linspace(0.1, 0.4, N, dtype=torch.float64)
    regime = Regime(torch.zeros(N).double(), sigma).resolve()
    windows = []
    for seed in (0, 1):
        paths = RegimeSDE.from_regime(regime).sample(N, 24, 24 / 252, generator=generator(seed))
        windows.append(path_bars(paths, 1.0, 1 / 252, generator(seed + 5)))
    trips = round_trip(regime, *(label_windows(w, 252.0) for w in windows))
    for split in ([N], [1, 7, 32]):
        metric = Control(252.0, fields=("volatility",))
        for ids in batches(split):
            metric.update(ids, regime[ids], windows[0][ids], windows[1][ids])
        result = {name: float(value) for name, value in metric.compute().items()}
        trip = trips["volatility"]
        assert result["volatility/rmse"] == pytest.approx(trip.bars.rmse.value)
        assert result["volatility/ceiling_bias"] == pytest.approx(trip.path.bias.value)
        assert result["volatility/loss"] == pytest.approx(trip.loss.value)
