"""Simulated markets: valid bars, same seed same bars, and the facts real markets share."""

import torch

from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.validity import validity
from parfait.metrics.functional.windows import encode_window
from parfait.microstructure.datamodule import WindowDataModule
from parfait.microstructure.markets import SimulatedMarkets


def draw(windows: int, bars: int = 93, seed: int = 0, **shares: float) -> torch.Tensor:
    return SimulatedMarkets(**shares)(windows, bars, torch.Generator().manual_seed(seed))[0]


def test_bars_are_valid_whatever_the_source() -> None:
    for share in ("stale", "illiquid", "grain", "thin"):
        assert validity(draw(200, **{share: 1.0}))["valid"] == 1.0


def test_a_seed_is_a_market() -> None:
    assert torch.equal(draw(8), draw(8))
    assert not torch.equal(draw(8), draw(8, seed=1))


def test_they_have_the_facts_of_markets() -> None:
    bars = draw(3000, stale=0.0, illiquid=0.0, grain=0.0)
    code = encode_window(bars[:, :61], bars[:, 61:])
    facts = stylised_facts(code._replace(r=code.r.clamp(-6, 6)))  # a jump outweighs all the rest
    assert facts["kurtosis"] > 2
    assert facts["acf_abs_1_10"] > 0.1
    assert facts["leverage_1_5"] < -0.03
    assert 0.7 < facts["range_ratio"] < 0.95
    assert facts["volume_abs"] > 0.2
    assert facts["volume_range"] > 0.2
    assert facts["zero_gap"] < 0.05


def test_sources_quote_as_asked() -> None:
    stale, silent = draw(500, stale=1.0, illiquid=0.0), draw(500, illiquid=1.0)
    opens_at_close = (stale[:, 1:, 0] == stale[:, :-1, 3]).double().mean()
    assert 0.5 < float(opens_at_close) < 0.8  # .3 + .7 / 2
    untraded = silent[..., 4] == 0
    assert 0.2 < float(untraded.double().mean()) < 0.3
    flat = silent[:, 1:][untraded[:, 1:]]
    before = silent[:, :-1, 3][untraded[:, 1:]]
    assert torch.equal(flat[:, :4], before[:, None].expand(-1, 4))


def test_training_sees_markets_first_and_the_share_after() -> None:
    data = WindowDataModule(pretrain_steps=2, simulated_share=0.25, steps_per_epoch=4, batch_size=8)
    data.setup()
    simulated = [8, 8, 2, 2]
    for request, count in zip(data.train_dataloader().sampler, simulated, strict=True):
        assert (request.simulated, len(request.rows)) == (count, 8 - count)
    bars, frequency = next(iter(data.train_dataloader()))
    assert bars.shape == (8, 93, 5)
    assert frequency.shape == (8,)
