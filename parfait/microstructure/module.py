"""Training of the denoiser as a ``LightningModule``: constants from the data, loss, EMA, export."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from parfait.microstructure.codec import BarCodec, window_scale
from parfait.microstructure.constraint import Segments
from parfait.microstructure.diffusion import EDM, diffusion_loss
from parfait.microstructure.familiarity import Familiarity
from parfait.microstructure.features import VOLATILITY, RegimeScaling
from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.pace import guide_pace, recent_variance
from parfait.microstructure.training import (
    Augmentation,
    Batch,
    close_returns,
    draw_labels,
    make_batch,
    regular_anchors,
)
from parfait.microstructure.unet1d import UNet1D
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError, require
from parfait.utils.schedule import warmup_cosine
from parfait.utils.seeding import derive_seed

_CONSTANT_WINDOWS = 4096
# Labels measure these from a window's bars; the rest of a regime acts through the guide alone.
_USED_FIELDS = ("drift", "volatility")


class MicrostructureModule(lightning.LightningModule):
    """The denoiser, trained on random windows, anchors, noise levels and conditions.

    Every step's randomness is a function of (seed, step), so that a resumed run equals an
    uninterrupted one bit for bit.

    Args:
        net: the network.
        diffusion: noise law.
        augmentation: see ``Augmentation``.
        optimizer: callable from parameters to an optimiser.
        warmup_steps: linear warm-up; a cosine to ``final_lr_share`` of the rate follows.
        final_lr_share: learning rate at the end over its peak.
        shortest: shortest horizon trained on, bars; the longest is the data's.
        ema_decay: of the averaged weights, ramped up as (1+n)/(10+n).
        validate_every: anchor spacing of the validation windows, bars.
        init_from: model folder or run whose weights and constants to start from ("embedded" is
            the default model); ``None`` starts at random.
        seed: of everything random.
    """

    def __init__(
        self,
        net: UNet1D,
        diffusion: EDM,
        augmentation: Augmentation,
        optimizer: Callable[..., torch.optim.Optimizer],
        warmup_steps: int = 100,
        final_lr_share: float = 0.0,
        shortest: int = 16,
        ema_decay: float = 0.998,
        validate_every: int = 4,
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require("model.warmup_steps", warmup_steps, 0)
        require("model.shortest", shortest, 1)
        require("model.ema_decay", ema_decay, 0.0, 1.0)
        require("model.final_lr_share", final_lr_share, 0.0, 1.0)
        self.net, self.diffusion, self.augmentation = net, diffusion, augmentation
        self.make_optimizer = optimizer
        self.warmup_steps, self.final_lr_share = warmup_steps, final_lr_share
        self.shortest, self.validate_every = shortest, validate_every
        self.init_from, self.seed = init_from, seed
        self.codec, self.scaling = BarCodec(), RegimeScaling()
        self.volatility_range, self.max_horizon = (0.3, 3.0), 64
        self.familiarity = Familiarity()
        self.data_provenance: dict[str, Any] = {}

        def ramped(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            decay = min((1 + float(count)) / (10 + float(count)), ema_decay)
            return average + (1 - decay) * (current - average)

        if init_from is not None:
            self._start_from(None if init_from == "embedded" else init_from)
        self.ema = AveragedModel(self.net, avg_fn=ramped)
        self.ema.requires_grad_(False)

    def _start_from(self, path: str | None) -> None:
        model = DenoiserModel.load(path)
        found, asked = model.net.config, self.net.config
        other = [k for k in asked if k != "dropout" and found.get(k) != asked[k]]
        if other:
            held, wanted = (
                ", ".join(f"{k}={config.get(k)}" for k in other) for config in (found, asked)
            )
            raise UserError(
                f"ckpt={self.init_from} holds a network with {held}, the configuration {wanted}; "
                "make model.net equal to it"
            )
        self.net.load_state_dict(model.net.state_dict())
        self.codec, self.scaling = model.codec, model.scaling
        self.volatility_range, self.max_horizon = model.volatility_range, model.max_horizon
        self.familiarity = model.familiarity

    def setup(self, stage: str) -> None:
        """Fits codec and label constants on training windows, unless they came with the weights."""
        data: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        history = getattr(data, "history", None)
        if history != self.net.history.bars:
            raise UserError(
                f"data.history={history} bars, but the network looks back "
                f"{self.net.history.bars}; make data.history and model.net.history_bars equal"
            )
        self.data_provenance = data.provenance()
        if stage != "fit":
            return
        self.max_horizon = data.horizon
        if self.init_from is not None:
            return
        bars, bars_per_year = data.train_sample(_CONSTANT_WINDOWS)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "constants"))
        self._fit_code(bars, bars_per_year, data, generator)
        told = replace(self.augmentation, max_delta=0.0)
        batch = self._prepare((bars, bars_per_year), generator, augmentation=told)
        self.familiarity = Familiarity.fit([(batch.moves, batch.segments)])

    def _fit_code(
        self, bars: Tensor, bars_per_year: Tensor, data: Any, generator: torch.Generator
    ) -> None:
        """Standardisation of codes and labels."""
        past, future = bars[:, : data.history + 1], bars[:, data.history + 1 :]
        scale, log_volume = window_scale(past)
        returns = close_returns(past[:, -1, 3], future) / scale[:, None]
        anchored = regular_anchors(len(returns), returns.shape[1], self.validate_every)
        segments = Segments.from_anchors(anchored)
        moves = segments.spread(returns) * segments.length.sqrt()
        recent = recent_variance(torch.log(past[..., 3]).diff(dim=1), scale)
        told = torch.zeros(len(scale), dtype=torch.bool)
        paced = scale[:, None] * guide_pace(moves, segments, recent, told)
        self.codec = BarCodec.fit(future, past[:, -1, 3], paced, log_volume, generator)
        self.scaling = RegimeScaling(used=tuple(n in _USED_FIELDS for n in FIELD_NAMES))
        known = data.labels(bars[:, data.history :], bars_per_year)
        labels = draw_labels(known, generator)
        relative = self.scaling.relative(labels, scale, bars_per_year)
        ratio = relative[:, VOLATILITY].exp()
        centre, width = relative.mean(0), relative.std(0).clamp_min(1e-3)
        # What is told of the volatility is its ratio to a unit that already follows it.
        centre[VOLATILITY], width[VOLATILITY] = 0.0, max(self.augmentation.unit_jitter, 0.05)
        self.scaling = replace(
            self.scaling, centre=tuple(centre.tolist()), width=tuple(width.tolist())
        )
        low, high = torch.quantile(ratio, torch.tensor([0.01, 0.99], dtype=torch.float64)).tolist()
        self.volatility_range = (low, high)

    def _generator(self, purpose: str, batch_idx: int) -> torch.Generator:
        """Fixed by (seed, rank, step, batch): accumulated batches share a step."""
        parts = (self.seed, purpose, self.global_rank, self.global_step, batch_idx)
        return torch.Generator().manual_seed(derive_seed(*parts))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout draws from the global stream: tie it to the step."""
        torch.manual_seed(self._generator("dropout", batch_idx).initial_seed())

    def _prepare(self, batch: Sequence[Tensor], generator: torch.Generator, **how: Any) -> Batch:
        bars, bars_per_year = batch
        encoder = self.net.history
        known = (encoder.bars, self.codec, self.scaling, generator)
        return make_batch(bars, bars_per_year, *known, patch=encoder.patch, **how)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """One denoising loss at a random horizon."""
        bars, bars_per_year = batch
        generator = self._generator("step", batch_idx)
        longest = bars.shape[1] - 1 - self.net.history.bars
        shortest = min(self.shortest, longest)
        horizon = int(torch.randint(shortest, longest + 1, (), generator=generator))
        bars = bars[:, : bars.shape[1] - longest + horizon]
        prepared = self._prepare((bars, bars_per_year), generator, augmentation=self.augmentation)
        sigma = self.diffusion.draw_sigma(bars.shape[0], generator)
        loss = self._loss(self.net, prepared, sigma, generator)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _loss(self, net: UNet1D, batch: Batch, sigma: Tensor, generator: torch.Generator) -> Tensor:
        noise = batch.segments.project(torch.randn(batch.clean.shape, generator=generator))
        batch, noise, sigma = batch.to(self.device), noise.to(self.device), sigma.to(self.device)
        tokens = net.encode_history(batch.history.codes, batch.history.mask)

        def network(x: Tensor, c_noise: Tensor) -> Tensor:
            return net(x, c_noise, batch.bar_features, batch.window_features, tokens)

        return diffusion_loss(network, batch.clean, noise, sigma, batch.segments)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Loss of the averaged weights on held-out windows with fixed noise, anchors and sigmas.

        No regime is told, so that the figure does not depend on how good the labels are.
        """
        bars = batch[0]
        generator = torch.Generator().manual_seed(derive_seed(0, "validation", batch_idx))
        n, horizon = bars.shape[0], bars.shape[1] - 1 - self.net.history.bars
        anchored = regular_anchors(n, horizon, self.validate_every)
        prepared = self._prepare(batch, generator, anchored=anchored)
        sigma = self.diffusion.sigma_quantile((torch.arange(n) * 0.618034 + 0.5) % 1.0)
        loss = self._loss(self.averaged, prepared, sigma, generator)
        self.log("val/loss", loss, prog_bar=True, batch_size=n, sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the averaged weights, once per step of the optimiser."""
        if self.global_step > int(self.ema.n_averaged):
            self.ema.update_parameters(self.net)

    def configure_optimizers(self) -> Any:
        """The optimiser with linear warm-up and a cosine over the whole run."""
        optimizer = self.make_optimizer(self.net.parameters())
        return warmup_cosine(self.trainer, optimizer, self.warmup_steps, self.final_lr_share)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The constants travel with the weights, as plain types."""
        checkpoint["parfait_model"] = self.export_model().to_config()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the constants; ``UserError`` when the network is another one."""
        config = checkpoint.get("parfait_model", {})
        if config.get("net") != self.net.config:
            raise UserError(
                f"the checkpoint holds a network {config.get('net')}, the configuration asks for "
                f"{self.net.config}; resume with the configuration that trained it"
            )
        self.codec = BarCodec.from_dict(config["codec"])
        self.scaling = RegimeScaling(**{k: tuple(v) for k, v in config["scaling"].items()})
        low, high = config["volatility_range"]
        self.volatility_range, self.max_horizon = (low, high), config["max_horizon"]
        self.familiarity = Familiarity(**{k: tuple(v) for k, v in config["familiarity"].items()})

    @property
    def averaged(self) -> UNet1D:
        """The network with averaged weights: what is validated and exported."""
        return cast(UNet1D, self.ema.module)

    def export_model(self, **provenance: Any) -> DenoiserModel:
        """The averaged network with its constants; ``provenance`` is kept beside them."""
        return DenoiserModel(
            self.averaged,
            self.codec,
            self.diffusion,
            self.scaling,
            self.volatility_range,
            self.max_horizon,
            self.familiarity,
            {"data": self.data_provenance} | provenance,
        )

    def export(self, folder: str | Path, **provenance: Any) -> None:
        """Writes ``model.safetensors`` and ``model.json`` for ``Microstructure.load``."""
        self.export_model(**provenance).save(folder)
