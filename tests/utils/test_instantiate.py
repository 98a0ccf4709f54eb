"""Only what is allowed is built, and mistakes in a configuration name their key."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from parfait.utils.errors import UserError
from parfait.utils.instantiate import instantiate

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}


def build(node: dict[str, Any], **kwargs: Any) -> Any:
    return instantiate(OmegaConf.create({"model": node}).model, **kwargs)


def test_objects_are_built_with_plain_arguments() -> None:
    node = {"_target_": "torch.nn.Sequential", "_args_": [LINEAR, {"_target_": "torch.nn.ReLU"}]}
    built = build(node)
    assert built(torch.zeros(1, 2)).shape == (1, 3)
    adam = build({"_target_": "torch.optim.AdamW", "_partial_": True, "betas": [0.9, 0.99]})
    assert type(adam.keywords["betas"]) is list  # a checkpoint with a ListConfig would not load
    assert isinstance(adam(built.parameters()), torch.optim.AdamW)
    assert build(LINEAR, out_features=5).out_features == 5


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "pickle.load",
        "pandas.read_pickle",
        "torch.load",
        "torch.optim.optimizer.torch.load",  # an allowed prefix, but not what it resolves to
        "torch.nn.modules.module.torch.hub.load",
        "parfait.utils.files.os.system",
        "parfait.utils.run_guard.shutil.rmtree",
        "parfait.utils.files.write_files",  # ours, but it writes where it is told
        "parfait.utils.run_guard.run_guard",
        "parfait.stages.train.train",
        "lightning.pytorch.cli.LightningCLI",
        "torch.nn.parallel.DistributedDataParallel.forward",
        "lightning.fabric.utilities.cloud_io._load",  # allowed package, but no class
        "lightning.pytorch.LightningModule.load_from_checkpoint",
        "parfaits.evil",
        "",
        None,
        7,
    ],
)
def test_other_targets_are_refused_before_anything_is_called(target: Any, tmp_path: Path) -> None:
    node = {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": target, "f": str(tmp_path)}]}
    with pytest.raises(UserError, match=r"model\._args_") as error:
        build(node)
    assert "\n" not in str(error.value)


def test_remote_code_is_refused_wherever_it_hides() -> None:
    with pytest.raises(UserError, match=r"model\.deep\[0\]\.trust_remote_code is not allowed"):
        build({"_target_": "torch.nn.ReLU", "deep": [{"trust_remote_code": True}]})


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {**LINEAR, "out_featurs": 1},
            "'model.out_featurs': Linear has no such parameter; nearest",
        ),
        ({**LINEAR, "_target_": "torch.nn.Linea"}, "model._target_=torch.nn.Linea names nothing"),
        ({**LINEAR, "_target_": "parfait.nothing.X"}, "parfait.nothing.X names nothing"),
        ({**LINEAR, "in_features": "x"}, "'model' cannot be used"),
        ({"in_features": 1}, "'model' names no _target_"),
        ({"_target_": "torch.nn.Linear"}, "'model' cannot be used: .*in_features"),
    ],
)
def test_mistakes_name_the_key(node: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(node)


def test_a_mistake_found_by_the_target_comes_through_unwrapped() -> None:
    node = {"_target_": "parfait.utils.wandb_runs.wandb_logger", "folder": "x", "mode": "sideways"}
    with pytest.raises(UserError, match=r"^the W&B mode 'sideways'"):
        build(node)
