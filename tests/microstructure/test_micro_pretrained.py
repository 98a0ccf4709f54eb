"""The model that ships: it loads, scores what is recorded beside it, and does what is claimed."""

import functools
import itertools
from pathlib import Path

import lightning
import pytest
import torch

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars, fingerprint
from parfait.microstructure import Microstructure
from parfait.microstructure.datamodule import WindowDataModule
from parfait.microstructure.diffusion import EDM
from parfait.microstructure.model import EMBEDDED
from parfait.microstructure.module import MicrostructureModule
from parfait.microstructure.training import Augmentation, regular_anchors
from parfait.microstructure.unet1d import UNet1D
from parfait.regime import Regime
from parfait.sde import Guide


@pytest.fixture(scope="module")
def model() -> Microstructure:
    return Microstructure.load()


def test_it_is_small_and_says_what_made_it(model: Microstructure) -> None:
    size = sum(f.stat().st_size for f in EMBEDDED.iterdir())
    assert size < 8 * 2**20
    provenance = model.model.provenance
    assert provenance["data"]["fingerprint"] == fingerprint(embedded_bars())
    assert provenance["data"]["train_end"] == "2014-12-31"
    assert provenance["config"]["data"]["horizon"] == model.model.max_horizon


def test_held_out_loss_is_the_recorded_one(model: Microstructure, tmp_path: Path) -> None:
    """Same data, same validation noise: a drift means that code and weights no longer fit."""
    config = model.model.provenance["config"]
    settings = {k: v for k, v in config["data"].items() if not k.startswith("_")}
    module = MicrostructureModule(
        UNet1D(**model.model.net.config),
        EDM(),
        Augmentation(),
        functools.partial(torch.optim.SGD, lr=0.0),
        init_from="embedded",
        validate_every=config["model"]["validate_every"],
    )
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    metrics = trainer.validate(module, WindowDataModule(**settings), verbose=False)[0]
    recorded = model.model.provenance["metrics"]["val/loss"]
    assert metrics["val/loss"] == pytest.approx(recorded, abs=2e-3)


def generated(model: Microstructure, sigma: float, every: int, seed: int = 5) -> torch.Tensor:
    history = bars_to_tensor(embedded_bars()["SP500"])[-80:]
    spot = float(history[-1, 3])
    g = torch.Generator().manual_seed(seed)
    steps = torch.randn(64, 20, generator=g, dtype=torch.float64).cumsum(1)
    level = spot * torch.exp(sigma / 252**0.5 * steps)
    guide = Guide(level, regular_anchors(64, 20, every))
    regime = Regime(0.0, sigma, initial_volatility=sigma).expand(64)
    return model.generate(
        history, guide, regime, bars_per_year=252.0, generator=torch.Generator().manual_seed(seed)
    )


def inner_volatility(bars: torch.Tensor) -> float:
    return float(torch.log(bars[..., 3]).diff(dim=1).std() * 252**0.5)


def test_more_requested_volatility_is_more_realised_volatility(model: Microstructure) -> None:
    realised = [inner_volatility(generated(model, sigma, 4)) for sigma in (0.1, 0.2, 0.4, 0.8)]
    for low, high in itertools.pairwise(realised):
        assert 1.5 < high / low < 2.5
    ranges = [
        float(torch.log(b[..., 1] / b[..., 2]).mean())
        for b in (generated(model, s, 4) for s in (0.1, 0.8))
    ]
    assert ranges[1] > 4 * ranges[0]


def test_volume_and_range_are_coupled(model: Microstructure) -> None:
    """What a Brownian bridge with independent volume does not have, and real bars do (.5)."""
    bars = generated(model, 0.25, 4)
    log_range = torch.log(bars[..., 1] / bars[..., 2]).flatten()
    volume = torch.log(bars[..., 4]).flatten()
    assert torch.corrcoef(torch.stack([log_range, volume]))[0, 1] > 0.15


def test_a_thousand_bars_stay_sane(model: Microstructure) -> None:
    """Rolling must not let the scale run away: late chunks are about as volatile as early ones."""
    history = bars_to_tensor(embedded_bars()["SP500"])[-80:]
    sigma, steps = 0.2, 640
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(64, steps, generator=g, dtype=torch.float64).cumsum(1)
    level = float(history[-1, 3]) * torch.exp(sigma / 252**0.5 * noise)
    guide = Guide(level, regular_anchors(64, steps, 4))
    regime = Regime(0.0, sigma, initial_volatility=sigma).expand(64)
    bars = model.generate(
        history, guide, regime, bars_per_year=252.0, generator=torch.Generator().manual_seed(1)
    )
    returns = torch.log(bars[..., 3]).diff(dim=1)
    early, late = returns[:, :64].std(), returns[:, -64:].std()
    assert float(late / early) == pytest.approx(1.0, abs=0.15)
    ranges = torch.log(bars[..., 1] / bars[..., 2])
    assert float(ranges[:, -64:].mean() / ranges[:, :64].mean()) == pytest.approx(1.0, abs=0.25)
