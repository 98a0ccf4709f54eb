"""The labels' network through the training stage: export, resume, refusals."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from parfait.labels.amortised import amortised_labels
from parfait.labels.network import LabelerModel
from parfait.stages.callbacks import FiniteLoss
from parfait.stages.train import train
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir
from tests.labels.windows import YEAR, brownian_bars
from tests.stages.test_train_stage import same, terminate_at, weights

TINY = [
    "model=labeler",
    "model.width=8",
    "model.calibration_windows=32",
    "data.bars=1024",
    "data.largest=32",
    "data.steps_per_epoch=3",
    "trainer=cpu",
    "trainer.max_epochs=2",
]


def config(folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*TINY, f"output_dir={folder}", *overrides])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of two epochs and its result."""
    folder = tmp_path_factory.mktemp("labeler") / "run"
    return folder, train(config(folder))


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_a_labeler_that_labels(finished: tuple[Path, float]) -> None:
    folder, value = finished
    assert math.isfinite(value)
    model = LabelerModel.load(folder / "model")
    assert model.provenance["config"]["seed"] == 0
    bars = brownian_bars(4, 60, 0.01, 0.0, 0.2, 1)
    labels = amortised_labels(bars, torch.full((4,), YEAR, dtype=torch.float64), model=model)
    assert bool(torch.isfinite(labels.loc).all())
    assert bool((labels.scale > 0).all())


def test_the_seed_alone_decides_the_weights(finished: tuple[Path, float], tmp_path: Path) -> None:
    """Not the number of processes that simulate either."""
    assert train(config(tmp_path / "same", "data.num_workers=0")) == finished[1]
    assert equal(weights(tmp_path / "same"), weights(finished[0]))
    train(config(tmp_path / "other", "seed=1"))
    assert not equal(weights(tmp_path / "other"), weights(finished[0]))


@pytest.mark.parametrize("step", [3, 4], ids=["between epochs", "within an epoch"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    finished: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Of one worker, and this of two, which fetch ahead of the step at which it stops."""
    with monkeypatch.context() as patch:
        patch.setattr(FiniteLoss, "on_train_batch_end", terminate_at(step))
        with pytest.raises(SystemExit):
            train(config(tmp_path / "run", "data.num_workers=2"))
    more = ["data.num_workers=2", "ckpt_path=last"]
    assert train(config(tmp_path / "run", *more)) == finished[1]
    assert same(tmp_path / "run", finished[0])


def test_a_fast_run(tmp_path: Path) -> None:
    value = train(config(tmp_path / "run", "debug=fdr", f"output_dir={tmp_path / 'run'}"))
    assert math.isfinite(value)
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=ohlcv"], "simulated"),
        (["model=unet1d_tiny", "data=simulated"], "data.history"),
        (["model.lengths=[20]"], r"model\.lengths=\[20\]"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    settings = [s for s in TINY if not s.startswith(("model", "data"))]
    if len(overrides) == 1:
        overrides = ["model=labeler", *overrides]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [*settings, *overrides, f"output_dir={tmp_path / 'run'}"])
    with pytest.raises(UserError, match=message):
        train(cfg)


def test_other_weights_to_start_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ckpt=embedded: this model cannot start from other"):
        train(config(tmp_path / "run", "ckpt=embedded"))
    assert not (tmp_path / "run").exists()
