"""Laws of the noise: unit variance, the asked correlation per channel, bytes per path alone."""

import functools

import pytest
import torch

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.microstructure import DenoiserModel, Microstructure, Mix
from parfait.microstructure.codec import GAP, LOWER, RETURN, UPPER, VOLUME
from parfait.microstructure.constraint import Segments
from parfait.microstructure.noise import triangular_root, unit_noise
from parfait.microstructure.training import regular_anchors
from parfait.microstructure.unet1d import UNet1D
from parfait.regime import Regime
from parfait.sde import Guide
from parfait.utils.errors import UserError


def table(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def pair(c: float) -> torch.Tensor:
    return table([1.0, c], [c, 1.0])


THREE = table([1.0, 0.6, -0.8], [0.6, 1.0, -0.1], [-0.8, -0.1, 1.0])


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@functools.cache
def three_assets() -> list[torch.Tensor]:
    paths = torch.arange(4000)
    return [unit_noise(11, 0, paths, 10, Mix(THREE, a)).double() for a in range(3)]


@pytest.mark.parametrize(("a", "b"), [(0, 1), (0, 2), (1, 2)])
def test_correlation_per_channel(a: int, b: int) -> None:
    """C for signed moves, C^2 for sizes; wicks by their sum and their difference."""
    c = float(THREE[a, b])
    x, y = three_assets()[a], three_assets()[b]
    bound = 4 / x[:, 0].numel() ** 0.5
    expected = {
        (RETURN, RETURN): c,
        (GAP, GAP): c,
        (VOLUME, VOLUME): c * c,
        (UPPER, UPPER): (c * c + c) / 2,
        (LOWER, LOWER): (c * c + c) / 2,
        (UPPER, LOWER): (c * c - c) / 2,
        (LOWER, UPPER): (c * c - c) / 2,
    }
    for i in range(5):
        for j in range(5):
            found = correlation(x[:, i], y[:, j])
            assert found == pytest.approx(expected.get((i, j), 0.0), abs=bound), (i, j)


@pytest.mark.parametrize("asset", [0, 1, 2])
def test_each_asset_alone_has_independent_unit_noise(asset: int) -> None:
    x = three_assets()[asset].transpose(0, 1).reshape(5, -1)
    n = x.shape[1]
    assert torch.allclose(x.mean(1), torch.zeros(5, dtype=x.dtype), atol=4 / n**0.5)
    assert torch.allclose(torch.cov(x), torch.eye(5, dtype=x.dtype), atol=4 * (2 / n) ** 0.5)
    lagged = correlation(three_assets()[asset][..., 1:], three_assets()[asset][..., :-1])
    assert lagged == pytest.approx(0.0, abs=4 / n**0.5)


@pytest.mark.parametrize("mix", [pair(0.3), THREE, torch.ones(4, 4, dtype=torch.float64)])
def test_asset_0_has_the_noise_of_a_run_alone(mix: torch.Tensor) -> None:
    paths = torch.tensor([0, 3, 70_000])
    assert torch.equal(unit_noise(5, 2, paths, 9), unit_noise(5, 2, paths, 9, Mix(mix, 0)))


def test_perfect_correlation_copies_and_its_opposite_mirrors() -> None:
    paths = torch.arange(6)
    alone = unit_noise(5, 0, paths, 9)
    assert torch.equal(unit_noise(5, 0, paths, 9, Mix(pair(1.0), 1)), alone)
    mirrored = unit_noise(5, 0, paths, 9, Mix(pair(-1.0), 1))
    for channel in (RETURN, GAP):
        assert torch.equal(mirrored[:, channel], -alone[:, channel])
    assert torch.equal(mirrored[:, UPPER], alone[:, LOWER])
    assert torch.equal(mirrored[:, LOWER], alone[:, UPPER])
    assert torch.equal(mirrored[:, VOLUME], alone[:, VOLUME])


@pytest.mark.parametrize("rank", [1, 2, 3, 6])
def test_root_of_any_semi_definite_matrix(rank: int) -> None:
    g = torch.Generator().manual_seed(rank)
    factor = torch.randn(6, rank, generator=g, dtype=torch.float64)
    factor = factor / factor.norm(dim=1, keepdim=True)
    for c in (factor @ factor.T, (factor @ factor.T).square()):
        root = triangular_root(c)
        assert torch.equal(root, root.tril())
        assert torch.allclose(root @ root.T, c, atol=1e-7)
        assert torch.allclose(root.norm(dim=1), torch.ones(6, dtype=c.dtype))


def test_noise_depends_on_seed_chunk_path_and_asset_alone() -> None:
    mix = Mix(THREE, 2)
    whole = unit_noise(5, 1, torch.arange(8), 9, mix)
    assert torch.equal(unit_noise(5, 1, torch.tensor([6, 2]), 9, mix), whole[[6, 2]])
    flat = [whole[0], whole[1], unit_noise(6, 1, torch.arange(1), 9, mix)[0]]
    flat += [unit_noise(5, 0, torch.arange(1), 9, mix)[0], unit_noise(5, 1, torch.arange(1), 9)[0]]
    assert len({x.numpy().tobytes() for x in flat}) == 5


def test_a_table_of_assets_may_grow() -> None:
    """The noise of an asset is the same whatever assets come after it."""
    two, three = Mix(THREE[:2, :2], 1), Mix(THREE, 1)
    paths = torch.arange(3)
    assert torch.equal(unit_noise(5, 0, paths, 9, two), unit_noise(5, 0, paths, 9, three))


@pytest.mark.parametrize(("every", "other"), [(4, 4), (4, 8), (5, 2)])
def test_different_anchors_leave_less_correlation(every: int, other: int) -> None:
    """Per bar cov(P_a e_a, P_b e_b) = C diag(P_a P_b), all of P only where anchors are shared."""
    c, n, bars = 0.8, 4000, 40
    paths = torch.arange(n)
    projected, projections = [], []
    for asset, k in enumerate((every, other)):
        segments = Segments.from_anchors(regular_anchors(n, bars, k))
        noise = unit_noise(3, 0, paths, bars, Mix(pair(c), asset))
        projected.append(segments.project(noise)[:, RETURN].double())
        projections.append(torch.eye(bars) - segments.averaging[0])
    found = float((projected[0] * projected[1]).mean())
    expected = c * float((projections[0] @ projections[1]).trace()) / bars
    assert found == pytest.approx(expected, abs=4 * 2**0.5 / (n * bars) ** 0.5)


@pytest.mark.parametrize(
    ("c", "asset", "said"),
    [
        (torch.ones(2, 3, dtype=torch.float64), 0, "square float64"),
        (torch.ones(2, 2), 0, "square float64"),
        (pair(0.5), 2, r"asset = 2 must be within \[0, 1\]"),
        (pair(0.5), -1, "asset = -1"),
        (pair(0.5), 0.5, "asset = 0.5"),
        (table([1.0, 0.5], [0.4, 1.0]), 0, "not symmetric"),
        (table([1.0, 0.5], [0.5, 0.9]), 0, "diagonal"),
        (pair(float("nan")), 0, "not finite"),
        (pair(1.2), 0, "eigenvalue -0.2"),
        (table([1, -0.9, -0.9], [-0.9, 1, -0.9], [-0.9, -0.9, 1]), 0, "eigenvalue -0.8"),
    ],
)
def test_what_is_no_correlation_is_refused(c: torch.Tensor, asset: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Mix(c, asset)


def test_bars_of_a_mix_do_not_depend_on_their_neighbours() -> None:
    """Micro-batches, chunks and the split of a run leave the bytes of a path alone."""
    torch.manual_seed(0)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = Microstructure(DenoiserModel(net.eval(), max_horizon=16))
    history = bars_to_tensor(embedded_bars()["SP500"])[-80:]
    g = torch.Generator().manual_seed(1)
    move = 0.02 * torch.randn(70, 20, generator=g, dtype=torch.float64).cumsum(1)
    guide = Guide(float(history[-1, 3]) * torch.exp(move), regular_anchors(70, 20, 4))

    def run(rows: slice, mix: Mix | None) -> torch.Tensor:
        part = Guide(guide.level[rows], guide.anchored[rows])
        regime = Regime(0.05, 0.2).expand(part.level.shape[0])
        return model.generate(
            history,
            part,
            regime,
            bars_per_year=252.0,
            generator=torch.Generator().manual_seed(7),
            first_path=rows.start,
            mix=mix,
        )

    every = run(slice(0, 70), Mix(pair(0.5), 1))
    assert torch.equal(run(slice(5, 9), Mix(pair(0.5), 1)), every[5:9])
    alone = run(slice(0, 9), None)
    assert torch.equal(run(slice(0, 9), Mix(pair(0.5), 0)), alone)
    assert torch.equal(run(slice(0, 9), Mix(pair(1.0), 1)), alone)
    assert not torch.equal(every[:9], alone)


@functools.cache
def two_indices(c: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Bars of both embedded indices on correlated Brownian guides, and their moves with gaps."""
    model, frames = Microstructure.load(), embedded_bars()
    n, steps = 256, 20
    z = torch.randn(2, n, steps, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    z[1] = c * z[0] + (1 - c * c) ** 0.5 * z[1]
    out = []
    for asset, (symbol, sigma) in enumerate((("SP500", 0.18), ("NASDAQ", 0.28))):
        history = bars_to_tensor(frames[symbol])[-80:]
        spot = float(history[-1, 3])
        level = spot * torch.exp((sigma / 252**0.5 * z[asset]).cumsum(1))
        bars = model.generate(
            history,
            Guide(level, regular_anchors(n, steps, 4)),
            Regime(0.0, sigma, initial_volatility=sigma).expand(n),
            bars_per_year=252.0,
            generator=torch.Generator().manual_seed(3),
            mix=Mix(pair(c), asset),
        )
        before = torch.cat([torch.full_like(bars[:, :1, 3], spot), bars[:, :-1, 3]], 1)
        moves = torch.stack([bars[..., 3], bars[..., 0]]) / before
        out.append((bars, moves.log()))
    return out


@pytest.mark.parametrize("c", [-0.8, 0.0, 0.5, 0.9])
def test_generated_returns_have_the_asked_correlation(c: float) -> None:
    (_, a), (_, b) = two_indices(c)
    for kind in (0, 1):  # close to close, and overnight
        assert correlation(a[kind], b[kind]) == pytest.approx(c, abs=0.05)


@pytest.mark.parametrize("c", [-0.8, 0.5, 0.9])
def test_ranges_and_volumes_move_together_whatever_the_sign(c: float) -> None:
    (a, _), (b, _) = two_indices(c)
    ranges = [torch.log(x[..., 1] / x[..., 2]).log() for x in (a, b)]
    volumes = [torch.log(x[..., 4]) for x in (a, b)]
    assert 0.4 * c * c < correlation(*ranges) < c * c
    assert correlation(*volumes) == pytest.approx(c * c, abs=0.06)
