"""Training: no leakage, exact resume, EMA, export, and that the loss falls."""

import functools
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from parfait.microstructure import Microstructure
from parfait.microstructure.codec import RETURN, VOLUME, BarCodec, window_scale
from parfait.microstructure.datamodule import WindowDataModule
from parfait.microstructure.diffusion import EDM
from parfait.microstructure.features import MEAN_PACE, RegimeScaling
from parfait.microstructure.module import MicrostructureModule
from parfait.microstructure.training import (
    NO_AUGMENTATION,
    Augmentation,
    make_batch,
    regular_anchors,
)
from parfait.microstructure.unet1d import UNet1D
from parfait.microstructure.window import read_history
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import UserError

HISTORY, HORIZON = 20, 12


def tiny_net(width: int = 8) -> UNet1D:
    return UNet1D(
        width=width, multipliers=(1, 2), embedding=16, heads=2, dropout=0.1,
        history_bars=HISTORY, history_width=16, history_layers=1,
    )  # fmt: skip


def tiny_data(**options: Any) -> WindowDataModule:
    settings: dict[str, Any] = {
        "history": HISTORY, "horizon": HORIZON, "batch_size": 16,
        "steps_per_epoch": 5, "validation_windows": 32,
    }  # fmt: skip
    return WindowDataModule(**(settings | options))


def tiny_module(seed: int = 3, width: int = 8, **options: Any) -> MicrostructureModule:
    torch.manual_seed(seed)
    optimizer = functools.partial(torch.optim.AdamW, lr=2e-3)
    return MicrostructureModule(
        tiny_net(width), EDM(), Augmentation(), optimizer, warmup_steps=3, shortest=8, **options
    )


def fit(module: MicrostructureModule, folder: Path, steps: int, **options: Any) -> Any:
    trainer = lightning.Trainer(
        max_steps=15, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder,
        callbacks=[StopAt(steps)], enable_checkpointing=False, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(module, datamodule=tiny_data(), **options)
    return trainer


class StopAt(lightning.Callback):
    """Ends a run after so many steps without changing its schedule; keeps every loss."""

    def __init__(self, steps: int) -> None:
        self.steps, self.losses = steps, []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *rest: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        trainer.should_stop = trainer.global_step >= self.steps


@pytest.mark.parametrize("stop", [5, 7])
def test_resumed_run_equals_uninterrupted(tmp_path: Path, stop: int) -> None:
    """Bit for bit, at the end of an epoch (5) and in the middle of one (7)."""
    whole, first, second = tiny_module(), tiny_module(), tiny_module(seed=99)
    reference = fit(whole, tmp_path, 15)
    part = fit(first, tmp_path, stop)
    part.save_checkpoint(tmp_path / "part.ckpt")
    rest = fit(second, tmp_path, 15, ckpt_path=tmp_path / "part.ckpt", weights_only=True)
    losses = [
        c.losses for t in (reference, part, rest) for c in t.callbacks if isinstance(c, StopAt)
    ]
    assert losses[0] == losses[1] + losses[2]
    for a, b in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert whole.export_model().to_config() == second.export_model().to_config()


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    trainer = fit(tiny_module(), tmp_path, 2)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="checkpoint holds a network"):
        fit(tiny_module(width=16), tmp_path, 4, ckpt_path=tmp_path / "a.ckpt", weights_only=True)


def test_export_is_the_average_and_fine_tuning_starts_from_it(tmp_path: Path) -> None:
    module = tiny_module()
    fit(module, tmp_path, 4)
    module.export(tmp_path / "model", note="test")
    loaded = Microstructure.load(tmp_path / "model")
    averaged = module.ema.module.state_dict()
    for name, tensor in loaded.model.net.state_dict().items():
        assert torch.equal(tensor, averaged[name])
    assert not torch.equal(averaged["stem.weight"], module.net.state_dict()["stem.weight"])
    again = tiny_module(seed=5, init_from=str(tmp_path / "model"))
    assert again.codec == module.codec
    assert torch.equal(again.net.stem.weight, module.ema.module.stem.weight)
    with pytest.raises(UserError, match="ckpt="):
        tiny_module(width=16, init_from=str(tmp_path / "model"))


def test_first_ema_step_follows_the_ramp() -> None:
    module = tiny_module(ema_decay=0.9)
    for parameter in module.net.parameters():
        parameter.data.zero_()
    module.ema.update_parameters(module.net)  # the first call copies
    for parameter in module.net.parameters():
        parameter.data.fill_(1.0)
    module.ema.update_parameters(module.net)
    expected = 1 - (1 + 1) / (10 + 1)
    assert float(module.ema.module.stem.weight.flatten()[0]) == pytest.approx(expected)


def test_batches_do_not_depend_on_workers_and_split_by_date() -> None:
    loaders = [tiny_data(num_workers=n) for n in (0, 1)]
    rows = []
    for data in loaders:
        data.setup()
        rows.append([bars for bars, _ in data.train_dataloader()])
    for a, b in zip(*rows, strict=True):
        assert torch.equal(a, b)
    data = loaders[0]
    cut = 1420070399_999999  # 2014-12-31 23:59:59.999999
    last = data.train.last_time(torch.arange(len(data.train))).max()
    starts = data.held_out.last_time(torch.arange(len(data.held_out))).min()
    assert last <= cut < starts


def test_bar_sizes_add_windows_and_half_life_favours_the_recent() -> None:
    plain, more = tiny_data(), tiny_data(bar_sizes=(1, 2), half_life_years=2.0)
    plain.setup(), more.setup()
    assert len(more.train) > 1.8 * len(plain.train)
    assert len(more.held_out) == len(plain.held_out)
    times = more.train.last_time(torch.arange(len(more.train))).double()
    older = times < times.max() - 2 * 365.25 * 86_400e6
    ratio = more.weights[older].max() / more.weights.max()
    assert 0.49 < float(ratio) <= 0.5 + 1e-3


def test_data_that_hold_no_window_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"the train part .* holds no window of 5021 bars"):
        tiny_data(horizon=5000).setup()
    with pytest.raises(UserError, match="train_end"):
        tiny_data(train_end="yesterday").setup()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "data.batch_size=0"),
        ({"horizon": 1}, "data.horizon=1"),
        ({"bar_sizes": ()}, "data.bar_sizes=0"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        tiny_data(**options)
    with pytest.raises(UserError, match=r"model.ema_decay=2 must be within \[0.0, 1.0\]"):
        tiny_module(ema_decay=2)
    with pytest.raises(UserError, match="width=9 must be a multiple of heads"):
        tiny_net(9)


def test_accumulated_batches_differ_and_move_the_average_once(tmp_path: Path) -> None:
    module, seen, losses = tiny_module(), [], []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            seen.append((trainer.global_step, int(pl_module.ema.n_averaged)))
            losses.append(float(rest[0]["loss"]))

    trainer = lightning.Trainer(
        max_steps=4, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[Watch()],
        enable_checkpointing=False, accumulate_grad_batches=2, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=tiny_data(steps_per_epoch=8))
    assert [s for s, _ in seen] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert int(module.ema.n_averaged) == 4
    assert len(set(losses)) == 8


def test_network_and_loss_run_where_the_module_is() -> None:
    """Batches are made on the CPU; everything the network reads moves to its device."""
    module = tiny_module().to("meta")
    loss = module.training_step(windows(4), 0)
    assert loss.device.type == "meta"


def test_zero_volume_is_within_reach_of_the_sampler() -> None:
    bars, _ = windows(64)
    generator = torch.Generator().manual_seed(0)
    bars[..., 4] = torch.where(
        torch.rand(bars.shape[:2], generator=generator) < 0.05, 0.0, bars[..., 4]
    )
    scale, log_volume = window_scale(bars[:, : HISTORY + 1])
    future, last = bars[:, HISTORY + 1 :], bars[:, HISTORY, 3]
    codec = BarCodec.fit(future, last, scale, log_volume, generator)
    codes = codec.encode(future, last, scale, log_volume, generator)
    zone = codes[:, VOLUME][future[..., 4] == 0]
    assert zone.numel() > 20
    assert float(zone.min()) > -7.1
    assert float(zone.max()) < -5.9
    back = codec.decode(codes, future[..., 3], last, scale, log_volume)
    assert torch.equal(back[..., 4] == 0, future[..., 4] == 0)


def test_volume_that_never_was_is_not_invented() -> None:
    bars, _ = windows(4)
    bars[..., 4] = 0
    history = read_history(bars, HISTORY, BarCodec())
    assert bool((history.codes[:, VOLUME] == 0).all())


def windows(n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    data = tiny_data()
    data.setup()
    return data.train_sample(n)


def prepare(bars: torch.Tensor, frequency: torch.Tensor, augmentation: Augmentation) -> Any:
    scaling = RegimeScaling(used=tuple(n == "volatility" for n in FIELD_NAMES))
    generator = torch.Generator().manual_seed(0)
    anchors = regular_anchors(len(bars), HORIZON, 4)
    known = (HISTORY, BarCodec(), scaling, generator, augmentation)
    return make_batch(bars, frequency, *known, anchored=anchors)


def test_future_leaves_no_trace_in_what_is_read_off_the_past() -> None:
    bars, frequency = windows()
    changed = bars.clone()
    changed[:, HISTORY + 1 :] *= 1.3
    a, b = (prepare(x, frequency, NO_AUGMENTATION) for x in (bars, changed))
    for name in ("codes", "mask", "summary", "scale", "log_volume", "last_close"):
        assert torch.equal(getattr(a.history, name), getattr(b.history, name))
    # The mean pace is the guide's word, not the past's.
    past = [i for i in range(a.window_features.shape[1]) if i != MEAN_PACE]
    assert torch.equal(a.window_features[:, past], b.window_features[:, past])
    assert not torch.equal(a.clean, b.clean)


def test_unanchored_future_closes_leave_no_trace_in_the_guide_features() -> None:
    bars, frequency = windows()
    changed = bars.clone()
    inner = torch.arange(HISTORY + 1, bars.shape[1])
    inner = inner[(inner - HISTORY) % 4 != 0]
    changed[:, inner, :4] *= 1.01
    a, b = (prepare(x, frequency, NO_AUGMENTATION) for x in (bars, changed))
    assert torch.allclose(a.bar_features, b.bar_features, atol=1e-5)
    assert not torch.allclose(a.clean[:, RETURN], b.clean[:, RETURN], atol=1e-2)


def test_clean_codes_lie_in_the_null_space() -> None:
    bars, frequency = windows()
    batch = prepare(bars, frequency, Augmentation())
    assert batch.segments.spread(batch.clean[:, RETURN]).abs().max() < 1e-5


def test_label_feature_is_volatility_in_units_of_the_window() -> None:
    """Prices scaled to twice the volatility give the same relative label."""
    bars, frequency = windows()
    log = torch.log(bars[..., :4])
    wild = bars.clone()
    wild[..., :4] = torch.exp(log[:, :1, 3:] + 2 * (log - log[:, :1, 3:]))
    told = [
        prepare(
            x,
            frequency,
            Augmentation(drop_regime=0.0, drop_field=0.0, unit_jitter=0.0, max_delta=0.0),
        )
        for x in (bars, wild)
    ]
    column = 4 + FIELD_NAMES.index("volatility")
    assert torch.allclose(
        told[0].window_features[:, column], told[1].window_features[:, column], atol=1e-3
    )


def test_history_is_right_aligned_and_short_histories_are_masked() -> None:
    bars, _ = windows()
    whole = read_history(bars, HISTORY, BarCodec())
    short = read_history(bars[:, -8:], HISTORY, BarCodec())
    assert short.mask.sum(1).tolist() == [7.0] * len(bars)
    assert bool((short.mask[:, -7:] == 1).all())
    assert torch.equal(short.last_close, whole.last_close)
