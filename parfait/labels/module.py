"""Training of the labels' network as a ``LightningModule``: loss, calibration, export."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from parfait.labels.amortised import amortised_labels
from parfait.labels.datamodule import SimulatedDataModule
from parfait.labels.features import summarise
from parfait.labels.network import TARGETS, LabelerModel, PosteriorNet, gaussian_loss
from parfait.labels.prior import DAILY
from parfait.labels.simulator import Simulated
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError, require
from parfait.utils.schedule import warmup_cosine

_Z95 = 1.6448536269514722
_FEATURE_FLOOR = 1e-3
_NOWHERE = 1e9  # a distance that no window has
_BEFORE = (0, 20)  # bars before a window, of the windows for constants and calibration
_WALK = {"memory": 0.0, "reverting": 0.0, "jumpless": 1.0}
_FAR = 0.999  # of training windows are nearer than what is called foreign


def _missed(model: LabelerModel, windows: Simulated) -> Tensor:
    """Distance of the truths from the centres in spreads: the fields, then the total volatility."""
    frequency = torch.full((len(windows.bars),), DAILY, dtype=torch.float64)
    with torch.no_grad():
        labels = amortised_labels(windows.bars, frequency, windows.before, model=model)
    loc = torch.cat([labels.loc, labels.total_volatility.log()[:, None]], dim=1)
    scale = torch.cat([labels.scale, labels.total_spread[:, None]], dim=1)
    return (windows.truth - loc).abs() / scale


class LabelerModule(lightning.LightningModule):
    """Location and spread of every regime coordinate given a window's features.

    Loss: -ln N(z; loc, sd^2) of the standardised coordinates, summed over those that are a
    target. The constants of the features and targets come from simulated windows before training,
    the calibration and the distance of foreign windows from fresh ones after it.

    Args:
        width, layers: of the network.
        optimizer: callable from parameters to an optimiser.
        ema_decay: of the averaged weights, which are validated and exported; ramped up as
            (1+n)/(10+n).
        warmup_steps: linear warm-up; a cosine to ``final_lr_share`` of the rate follows.
        final_lr_share: learning rate at the end over its peak.
        lengths: returns of the windows that spreads are calibrated on.
        calibration_windows: so many of each length, and for the constants.
        seed: of the network's start.
    """

    mean: Tensor
    sd: Tensor
    whitening: Tensor
    centre: Tensor
    width: Tensor

    def __init__(
        self,
        optimizer: Callable[..., torch.optim.Optimizer],
        width: int = 192,
        layers: int = 3,
        ema_decay: float = 0.99,
        warmup_steps: int = 50,
        final_lr_share: float = 0.0,
        lengths: Sequence[int] = (10, 20, 40, 60, 120, 260),
        calibration_windows: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require("model.ema_decay", ema_decay, 0.0, 1.0)
        require("model.warmup_steps", warmup_steps, 0)
        require("model.final_lr_share", final_lr_share, 0.0, 1.0)
        require("model.calibration_windows", calibration_windows, 16)
        if len(lengths) < 2 or sorted(set(lengths)) != list(lengths):
            raise UserError(f"model.lengths={list(lengths)} must be two or more growing numbers")
        self.make_optimizer, self.seed = optimizer, seed
        self.warmup_steps, self.final_lr_share = warmup_steps, final_lr_share
        self.lengths, self.calibration_windows = tuple(lengths), calibration_windows
        features = summarise(torch.ones(1, 12, 5, dtype=torch.float64)).features.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PosteriorNet(features, width, layers)

        def ramped(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            decay = min((1 + float(count)) / (10 + float(count)), ema_decay)
            return average + (1 - decay) * (current - average)

        self.ema = AveragedModel(self.net, avg_fn=ramped)
        self.ema.requires_grad_(False)
        for name, shape in (
            ("mean", (features,)),
            ("sd", (features,)),
            ("whitening", (features, features)),
            ("centre", (len(TARGETS),)),
            ("width", (len(TARGETS),)),
        ):
            kind = torch.float64 if name in ("centre", "width") else torch.float32
            self.register_buffer(name, torch.ones(shape, dtype=kind))

    def setup(self, stage: str) -> None:
        """Standardises features and targets by windows of the simulator."""
        if stage != "fit":
            return
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(data, SimulatedDataModule):
            kind = type(data).__name__
            raise UserError(
                f"labels learn from simulated windows, not a {kind}; give data=simulated"
            )
        each = max(self.calibration_windows // len(self.lengths), 16)
        found = [
            data.sample(f"constants {before}", n, each // 2, before)
            for n in self.lengths
            for before in _BEFORE
        ]
        summaries = [summarise(part.bars, part.before) for part in found]
        features = torch.cat([s.features for s in summaries])
        self.mean.copy_(features.mean(0))
        self.sd.copy_(features.std(0).clamp_min(_FEATURE_FLOOR))
        self.centre.zero_()
        self.width.fill_(1.0)
        model = self.model
        rows = zip(found, summaries, strict=True)
        targets = torch.cat([model.targets(w.truth, w.growth, s) for w, s in rows]).double()
        known = ~torch.isnan(targets)
        count = known.sum(0).clamp_min(1)
        centre = torch.where(known, targets, 0.0).sum(0) / count
        deviation = torch.where(known, targets - centre, 0.0).square().sum(0) / count
        self.centre.copy_(centre)
        self.width.copy_(deviation.sqrt().clamp_min(1e-3))
        z = model.standardised(features).double()
        covariance = z.T @ z / len(z) + 1e-3 * torch.eye(z.shape[1], dtype=torch.float64)
        lower = torch.linalg.cholesky(covariance)
        identity = torch.eye(len(lower), dtype=torch.float64)
        self.whitening.copy_(torch.linalg.solve_triangular(lower, identity, upper=False).T)

    @property
    def model(self) -> LabelerModel:
        """The averaged network with its constants, not yet calibrated."""
        rows = len(self.lengths)
        return LabelerModel(
            cast(PosteriorNet, self.ema.module),
            self.mean,
            self.sd,
            self.whitening,
            self.centre,
            self.width,
            self.lengths,
            torch.ones(rows, len(FIELD_NAMES) + 1, dtype=torch.float64),
            torch.full((rows,), _NOWHERE, dtype=torch.float64),
        )

    def _loss(self, net: nn.Module, batch: Simulated) -> Tensor:
        summary, model = summarise(batch.bars, batch.before), self.model
        targets = model.targets(batch.truth, batch.growth, summary).to(self.device)
        x = model.standardised(summary.features.to(self.device))
        centre, spread = net(x)
        return gaussian_loss(centre, spread, targets)

    def training_step(self, batch: Simulated, batch_idx: int) -> Tensor:
        """Loss of fresh windows."""
        loss = self._loss(self.net, batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.bars))
        return loss

    def validation_step(self, batch: Sequence[Simulated], batch_idx: int) -> None:
        """Loss of the averaged weights on windows that stay the same; lengths count alike."""
        loss = torch.stack([self._loss(self.ema.module, part) for part in batch]).mean()
        self.log("val/loss", loss, prog_bar=True, batch_size=1, sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the averaged weights, once per step of the optimiser."""
        if self.global_step > int(self.ema.n_averaged):
            self.ema.update_parameters(self.net)

    def configure_optimizers(self) -> Any:
        """The optimiser with linear warm-up and a cosine over the whole run."""
        optimizer = self.make_optimizer(self.net.parameters())
        return warmup_cosine(self.trainer, optimizer, self.warmup_steps, self.final_lr_share)

    def export_model(self, **provenance: Any) -> LabelerModel:
        """The network, its spreads stretched so that 90 % intervals hold 90 % of fresh truths."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self.cpu().eval()
        model = replace(self.model, provenance=provenance)
        for row, n in enumerate(self.lengths):
            halves = [
                data.sample(f"calibration {before}", n, self.calibration_windows // 2, before)
                for before in _BEFORE
            ]
            with torch.no_grad():
                summaries = [summarise(half.bars, half.before) for half in halves]
                distance = torch.cat([model.distance(summary.features) for summary in summaries])
            ratio = torch.cat([_missed(model, half) for half in halves])
            walks = data.sample("walks", n, self.calibration_windows, 0, **_WALK)
            walking = torch.quantile(_missed(model, walks)[:, 0], 0.9) / _Z95
            model.farthest[row] = torch.quantile(distance, _FAR)
            for column in range(ratio.shape[1]):
                known = ratio[:, column][~torch.isnan(ratio[:, column])]
                if len(known):
                    model.calibration[row, column] = torch.quantile(known, 0.9) / _Z95
            # Whether there is memory or a pull is hardly seen, and the drift of Brownian motion is
            # known least: half way, intervals hold about as often as they say for both.
            mixed = model.calibration[row, 0].clone()
            model.calibration[row, 0] = (mixed * torch.maximum(mixed, walking)).sqrt()
        return model

    def export(self, folder: str | Path, **provenance: Any) -> None:
        """Writes ``model.safetensors`` and ``model.json`` for ``LabelerModel.load``."""
        self.export_model(**provenance).save(folder)
