"""``debug=overfit`` tells a network that learns from one that does not."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from parfait.stages.overfit import OneBatch
from parfait.stages.train import train
from parfait.utils.errors import UserError
from tests.stages.test_train_stage import config


class Fresh(lightning.LightningDataModule):
    """Another batch at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def train_dataloader(self) -> DataLoader:
        self.made += 1
        generator = torch.Generator().manual_seed(self.made)
        batches: Any = [torch.randn(8, 2, generator=generator) for _ in range(3)]
        return DataLoader(batches, batch_size=None)


class Noisy(lightning.LightningModule):
    """Fits a line through points whose noise is new at every step."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.line = rate, torch.nn.Linear(1, 1)
        self.seen: list[Tensor] = []

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        self.seen.append(batch)
        noise = 0.3 * torch.randn(8, 1)
        return (self.line(batch[:, :1]) - 3 + noise).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def fit(rate: float, folder: Path) -> Noisy:
    torch.manual_seed(0)
    module = Noisy(rate)
    lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[OneBatch(steps=200, window=10)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(module, datamodule=Fresh())
    return module


def test_one_batch_is_seen_until_its_loss_has_fallen(tmp_path: Path) -> None:
    module = fit(0.02, tmp_path)
    assert 20 <= len(module.seen) < 200
    assert all(torch.equal(batch, module.seen[0]) for batch in module.seen)


@pytest.mark.parametrize("rate", [0.0, 1e-6])
def test_a_network_that_does_not_learn_is_a_mistake(tmp_path: Path, rate: float) -> None:
    with pytest.raises(UserError, match=r"in 200 steps: it does not fall"):
        fit(rate, tmp_path)


@pytest.mark.parametrize("bad", [{"window": 1}, {"steps": 49}])
def test_too_few_steps_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UserError, match=rf"callbacks\.one_batch\.{next(iter(bad))}"):
        OneBatch(**bad)


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["2e-3", "0"])
def test_the_tiny_network_learns_unless_its_rate_is_zero(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rate: str
) -> None:
    settings = ["debug=overfit", "callbacks.one_batch.steps=200", f"optim.optimizer.lr={rate}"]
    cfg = config(tmp_path, *settings, f"output_dir={tmp_path / 'run'}")
    if rate == "0":
        with pytest.raises(UserError, match="it does not fall"):
            train(cfg)
    else:
        assert train(cfg) < 1.0
        assert "it falls" in caplog.text
