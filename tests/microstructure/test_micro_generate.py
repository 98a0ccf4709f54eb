"""Laws of generation: exact guide, valid bars, bytes that depend on (seed, path) alone."""

from pathlib import Path

import pytest
import torch

from parfait.microstructure import DenoiserModel, Microstructure
from parfait.microstructure.chunks import plan_chunks
from parfait.microstructure.features import N_BAR_FEATURES
from parfait.microstructure.training import regular_anchors
from parfait.microstructure.unet1d import UNet1D
from parfait.regime import Regime, mean_volatility
from parfait.sde import Guide
from parfait.utils.errors import UserError


def wild_model(max_horizon: int = 16, seed: int = 0) -> Microstructure:
    """An untrained network with large random weights: laws must hold for any network."""
    torch.manual_seed(seed)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    # Without gradients, as a loaded one: torch may choose other kernels where weights have them.
    net = net.eval().requires_grad_(False)
    return Microstructure(DenoiserModel(net, max_horizon=max_horizon))


def past_bars(n: int = 80, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    close = 50 * torch.exp(0.01 * torch.randn(n, generator=g, dtype=torch.float64).cumsum(0))
    high, low = close * 1.004, close * 0.995
    return torch.stack([close, high, low, close, torch.full_like(close, 1e5)], -1)


def guide_of(paths: int, steps: int, every: int = 4, seed: int = 1) -> Guide:
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(paths, steps, generator=g, dtype=torch.float64)
    spot = float(past_bars()[-1, 3])
    anchored = regular_anchors(paths, steps, every)
    anchored[0, 5:7] = True  # one path has a jump bar of its own
    return Guide(spot * torch.exp(0.02 * noise.cumsum(1)), anchored)


def generate(model: Microstructure, guide: Guide | None, **kw: object) -> torch.Tensor:
    n = 2 if guide is None else guide.level.shape[0]
    options: dict = {
        "history": past_bars(),
        "regime": Regime(0.05, 0.2).expand(n),
        "bars_per_year": 252.0,
        "generator": torch.Generator().manual_seed(7),
    }
    options |= kw
    history, regime = options.pop("history"), options.pop("regime")
    return model.generate(history, guide, regime, **options)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "angle_euler", "heun", "euler"])
@pytest.mark.parametrize("every", [1, 4, 0])
def test_guide_is_exact_and_bars_are_valid(sampler: str, every: int) -> None:
    guide = guide_of(5, 45, every)
    bars = generate(wild_model(), guide, sampler=sampler, steps=4)
    opens, high, low, close, volume = bars.unbind(-1)
    assert torch.equal(close[guide.anchored], guide.level[guide.anchored])
    assert bool(torch.isfinite(bars).all())
    assert bool((low > 0).all())
    assert bool((volume >= 0).all())
    assert bool((high >= torch.maximum(opens, close)).all())
    assert bool((low <= torch.minimum(opens, close)).all())


def test_path_does_not_depend_on_its_neighbours() -> None:
    model, guide = wild_model(), guide_of(70, 20)
    every = generate(model, guide)
    few = Guide(guide.level[:9], guide.anchored[:9])
    assert torch.equal(generate(model, few), every[:9])
    late = Guide(guide.level[64:], guide.anchored[64:])
    assert torch.equal(generate(model, late, first_path=64), every[64:])


def test_same_seed_same_bars_and_other_seed_other_bars() -> None:
    model, guide = wild_model(), guide_of(4, 12)
    one, two = generate(model, guide), generate(model, guide)
    assert torch.equal(one, two)
    other = generate(model, guide, generator=torch.Generator().manual_seed(8))
    assert not torch.equal(one, other)


def test_unanchored_guide_levels_leave_no_trace() -> None:
    guide = guide_of(4, 16)
    other = torch.where(guide.anchored, guide.level, guide.level * 3)
    model = wild_model(max_horizon=16)
    assert torch.equal(generate(model, guide), generate(model, Guide(other, guide.anchored)))


def test_history_without_bars_and_one_history_per_path() -> None:
    guide = guide_of(3, 12)
    spot = float(past_bars()[-1, 3])
    bars = generate(wild_model(), guide, history=None, spot=spot)
    assert torch.equal(bars[..., 3][guide.anchored], guide.level[guide.anchored])
    shared = generate(wild_model(), guide)
    own = generate(wild_model(), guide, history=past_bars()[None].expand(3, -1, -1))
    assert torch.allclose(shared, own, rtol=1e-4)


@pytest.mark.parametrize("bars", [1, 2, 3, 30])
def test_short_histories_are_used(bars: int) -> None:
    guide = guide_of(2, 8)
    out = generate(wild_model(), guide, history=past_bars()[-bars:])
    assert torch.equal(out[..., 3][guide.anchored], guide.level[guide.anchored])


@pytest.mark.parametrize(("every", "steps"), [(4, 50), (0, 50), (1, 33), (16, 64), (5, 17)])
def test_chunks_cover_the_horizon_and_end_at_anchors(every: int, steps: int) -> None:
    anchored = regular_anchors(3, steps, every)
    chunks = plan_chunks(anchored, 16)
    assert [c[0] for c in chunks] == [0, *[c[1] for c in chunks[:-1]]]
    assert chunks[-1][1] == steps
    for begin, end, cut in chunks:
        assert 1 <= end - begin <= 16
        assert bool(cut[:, -1].all())
        assert bool((cut | ~anchored[:, begin:end]).all())  # no anchor is lost


def test_chunks_do_not_depend_on_other_paths() -> None:
    """Beyond the trained horizon too: a path's bytes are its own."""
    model, guide = wild_model(), guide_of(70, 50, every=40)
    few = Guide(guide.level[5:9], guide.anchored[5:9])
    whole = generate(model, guide)
    assert torch.equal(generate(model, few, first_path=5), whole[5:9])


def test_free_paths_stay_free_across_chunks() -> None:
    chunks = plan_chunks(torch.zeros(2, 40, dtype=torch.bool), 16)
    assert all(not cut.any() for _, _, cut in chunks)


def test_scale_equivariance_of_a_wild_regime() -> None:
    """A regime far outside the trained range changes the unit: bars scale with it exactly."""
    model = wild_model()
    history = past_bars()
    spot = float(history[-1, 3])
    flat = Guide(torch.full((6, 12), spot, dtype=torch.float64), regular_anchors(6, 12, 4))
    moves = []
    for sigma in (1.5, 3.0):
        regime = Regime(0.0, sigma, vol_of_vol=0.0).expand(6)
        bars = generate(model, flat, regime=regime, history=None, spot=spot)
        moves.append(torch.log(bars[..., 3] / spot))
    # log s enters as a clamped feature; the network's answer to it is the only difference.
    ratio = moves[1].std() / moves[0].std()
    assert 1.5 < ratio.item() < 2.7


def test_mean_volatility_is_the_integrated_variance() -> None:
    regime = Regime(
        torch.zeros(3, dtype=torch.float64),
        0.2,
        variance_reversion=torch.tensor([0.0, 5.0, 1000.0], dtype=torch.float64),
        initial_volatility=0.6,
    )
    start, middle, end = mean_volatility(regime, 0.0, 0.5).tolist()
    assert start == pytest.approx(0.6)
    grid = torch.linspace(0, 0.5, 100001, dtype=torch.float64)
    variance = 0.04 + (0.36 - 0.04) * torch.exp(-5 * grid)
    assert middle == pytest.approx(torch.trapezoid(variance, grid).div(0.5).sqrt().item(), rel=1e-6)
    assert end == pytest.approx(0.2, rel=0.02)
    # Two halves make the whole, and the second is the calmer one.
    halves = [mean_volatility(regime, *span)[1].item() for span in ((0.0, 0.25), (0.25, 0.5))]
    assert (halves[0] ** 2 + halves[1] ** 2) / 2 == pytest.approx(middle**2)
    assert halves[1] < halves[0]


def test_padding_is_inert() -> None:
    """A window padded on the right gives the same answer at its real bars."""
    torch.manual_seed(0)
    net = UNet1D(width=16, multipliers=(1, 2, 2), embedding=16, heads=2, history_width=16).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, 12, generator=g)
    features = torch.randn(4, N_BAR_FEATURES, 12, generator=g)
    told = torch.randn(4, net.condition[0].in_features - 32 - 10 - 16, generator=g)
    tokens = net.encode_history(torch.randn(4, 5, 60, generator=g), torch.ones(4, 60))
    noise = torch.zeros(4)
    plain = net(x, noise, features, told, tokens)
    wide = [torch.nn.functional.pad(t, (0, 8), value=3.0) for t in (x, features)]
    valid = torch.nn.functional.pad(torch.ones(4, 12), (0, 8))
    padded = net(wide[0], noise, wide[1], told, tokens, valid)[..., :12]
    assert torch.allclose(plain, padded, atol=2e-5)
    for bars in (9, 10, 11):  # lengths that are no multiple of the stride
        out = net(x[..., :bars], noise, features[..., :bars], told, tokens)
        assert out.shape == (4, 5, bars)
        assert bool(torch.isfinite(out).all())


def test_masked_history_is_ignored() -> None:
    torch.manual_seed(0)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16).eval()
    codes = torch.randn(2, 5, 60)
    mask = torch.ones(2, 60)
    mask[:, :30] = 0
    other = torch.where(mask[:, None] > 0, codes, 99.0)
    assert torch.equal(net.encode_history(codes, mask), net.encode_history(other, mask))


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    model = wild_model()
    model.model.save(tmp_path / "model")
    for folder in (tmp_path, tmp_path / "model"):
        again = Microstructure.load(folder)
        assert again.fingerprint == model.fingerprint
        assert torch.equal(generate(again, guide_of(2, 8)), generate(model, guide_of(2, 8)))


def test_bad_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no trained model"):
        Microstructure.load(tmp_path)
    wild_model().model.save(tmp_path)
    config = tmp_path / "model.json"
    text = config.read_text()
    config.write_text(text.replace('"width": 8', '"width": 16'))
    with pytest.raises(UserError, match="another architecture"):
        Microstructure.load(tmp_path)
    config.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Microstructure.load(tmp_path)
    config.write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="cannot be read"):
        Microstructure.load(tmp_path)


def test_misuse_is_one_sentence() -> None:
    guide = guide_of(2, 8)
    with pytest.raises(UserError, match="sampler 'ddim' is unknown"):
        generate(wild_model(), guide, sampler="ddim")
    with pytest.raises(UserError, match="steps"):
        generate(wild_model(), guide, steps=0)
    with pytest.raises(UserError, match="2 paths"):
        generate(wild_model(), guide, regime=Regime(0.0, 0.2).expand(3))
    with pytest.raises(UserError, match="needs a regime"):
        generate(wild_model(), guide, history=None, regime=None)


def test_without_a_guide_every_bar_is_free() -> None:
    """The same bars as under a guide that anchors nothing, for more than one window."""
    bars = wild_model().generate(
        past_bars(),
        None,
        Regime(0.05, 0.2).expand(3),
        bars_per_year=252.0,
        generator=torch.Generator().manual_seed(7),
        shape=(3, 40),
    )
    assert bars.shape == (3, 40, 5)
    assert bool(torch.isfinite(bars).all() & (bars[..., :4] > 0).all())
    with pytest.raises(UserError, match="shape = None"):
        generate(wild_model(), None)
