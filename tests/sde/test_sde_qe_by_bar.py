"""Parameters of each bar in the kernels of QE-M and memory, and the compiled step."""

import math
from dataclasses import replace

import pytest
import torch

from parfait.sde import Bates, Heston, RegimeSDE, fused
from parfait.sde.memory import factor, memory
from parfait.sde.process import Chunk, phi
from parfait.sde.qe import fill_qe
from parfait.sde.streams import BLOCK, Draw, Purpose, Streams
from parfait.utils.errors import UserError

STEPS, YEARS = 12, 0.5
FIXED = {"mu": 0.2, "kappa": 3.0, "theta": 0.05, "xi": 0.6, "rho": -0.6}


def run(values, width, *, dtype=torch.float64, v0=0.04, seed=1, price=True):
    """Log price and variance of ``fill_qe`` with these parameters."""
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn((2, STEPS, width), generator=generator, dtype=dtype)
    x = torch.zeros((STEPS + 1, width), dtype=dtype)
    streams = Streams(0, 0, width, dtype, torch.device("cpu"))
    chunk = Chunk(x, torch.empty_like(x), None, YEARS, streams)
    exact = {n: torch.as_tensor(v, dtype=torch.float64) for n, v in values.items()}
    fill_qe(chunk, z1, z2, **exact, v0=torch.tensor(v0, dtype=torch.float64), price=price)
    return chunk.log_price, chunk.variance


def table(first, second, width, switch=5):
    rows = torch.full((STEPS, width), first, dtype=torch.float64)
    rows[switch:] = second
    return rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("xi", [0.6, 0.0])
def test_equal_rows_are_one_row(dtype, xi):
    values = FIXED | {"xi": xi}
    rows = {n: torch.full((STEPS, 200), v, dtype=torch.float64) for n, v in values.items()}
    for one, other in zip(run(values, 200, dtype=dtype), run(rows, 200, dtype=dtype), strict=True):
        assert torch.equal(one, other)


def test_each_bar_has_its_own_parameters():
    """The mean of price and variance, bar by bar; the variance goes calm and wild on the way."""
    n, switch = 60_000, 5
    values = {
        "mu": table(-0.3, 0.5, n),
        "kappa": table(4.0, 1.0, n),
        "theta": table(0.02, 0.2, n),
        "xi": table(0.0, 0.7, n),
        "rho": table(-0.8, -0.2, n),
    }
    x, v = run(values, n, v0=0.09)
    dt, trend, level = YEARS / STEPS, 0.0, 0.09
    for k in range(STEPS):
        mu, kappa, theta = (float(values[name][k, 0]) for name in ("mu", "kappa", "theta"))
        trend, level = trend + mu * dt, theta + (level - theta) * math.exp(-kappa * dt)
        ratio = torch.exp(x[k + 1] - trend)
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(n)
        assert abs(v[k + 1].mean() - level) < 4 * v[k + 1].std() / math.sqrt(n) + 1e-12
        assert (float(v[k + 1].std()) > 1e-3) == (k >= switch)


def test_the_variance_alone_is_the_variance():
    assert torch.equal(run(FIXED, 300)[1], run(FIXED, 300, price=False)[1])


def changing(n, width, seed=3):
    """u, v dt, and H, a, phi that change with every bar."""
    generator = torch.Generator().manual_seed(seed)
    u, v, h, y = torch.rand((4, n, width), generator=generator, dtype=torch.float64)
    return u - 0.5, v, (0.2 + 0.6 * h).round(decimals=2), torch.exp(-y), phi(2 * y)


def test_memory_with_parameters_of_each_bar():
    n, width = 19, 5
    u, v, hurst, decay, spread = changing(n, width)
    noise, q = memory(u, v, hurst, decay, spread)
    for i in range(width):
        b = torch.zeros(n, dtype=torch.float64)
        for k in range(n):
            row = spread[k, i].sqrt() * factor(float(hurst[k, i]), n)[k]
            b = decay[k, i] * b + row
            torch.testing.assert_close(noise[k, i], row @ u[:, i])
            torch.testing.assert_close(q[k, i], b**2 @ v[:, i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_of_equal_rows_is_that_of_one_row(dtype):
    u, v, hurst, decay, spread = changing(21, 90)
    one = memory(u.to(dtype), v.to(dtype), hurst[0], decay[0], spread[0])
    rows = (p[:1].expand(21, -1) for p in (hurst, decay, spread))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {}
    torch.testing.assert_close(one, memory(u.to(dtype), v.to(dtype), *rows), **tolerance)


@pytest.mark.parametrize("by_bar", [False, True])
def test_memory_of_a_path_is_its_own(by_bar):
    """Bit for bit, whatever other exponents and reversions come along."""
    u, v, *parameters = (t.float() if i < 2 else t for i, t in enumerate(changing(40, 300)))
    if not by_bar:
        parameters = [p[0].contiguous() for p in parameters]
        parameters[1][::3], parameters[2][::3] = 1.0, 1.0
    together = memory(u, v, *parameters)
    for width in (1, 2, 65, 130):
        few = [t[..., :width].contiguous() for t in (u, v, *parameters)]
        for one, all_of_them in zip(memory(*few), together, strict=True):
            assert torch.equal(one, all_of_them[:, :width])


def test_memory_in_single_precision():
    u, v, hurst, decay, spread = changing(252, 128)
    steady = hurst[0], decay[0] ** 0.05, spread[0]
    exact = memory(u, v, *steady)[1]
    single = memory(u.float(), v.float(), *steady)[1].double()
    assert ((single - exact) / exact).abs().max() < 3e-6


def test_noise_by_block_is_the_table(ref):
    draw = Draw(Streams(5, 2, BLOCK + 70, torch.float32, torch.device("cpu")), Purpose.PRICE, 9)
    whole = draw.table()
    for block, columns in ((0, slice(0, BLOCK)), (1, slice(BLOCK, BLOCK + 70))):
        read = draw.reader(block)
        parts = torch.cat([read(torch.empty(rows, BLOCK)).clone() for rows in (4, 1, 4)])
        assert torch.equal(parts[:, : columns.stop - columns.start], whole[:, columns])


@pytest.fixture(scope="module")
def compiler():
    try:
        fused.compiled_step(torch.float32)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-10)])
def test_compiled_paths_are_those_of_the_default(dtype, tolerance, ref):
    regime = ref.mixed(3000, seed=8)
    for process in (Heston, Bates, RegimeSDE):
        plain = process.from_regime(regime)
        one, other = (
            p.sample(3000, 50, 0.5, generator=ref.generator(), dtype=dtype)
            for p in (plain, replace(plain, compile=True))
        )
        error = (one.log_price - other.log_price).abs()
        assert 0 < error.max() < 100 * tolerance
        assert error.square().mean().sqrt() < tolerance
        assert (one.variance - other.variance).abs().max() < 100 * tolerance


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_compiled_paths_do_not_depend_on_their_number(ref):
    regime = ref.mixed(BLOCK + 40)
    few = Bates.from_regime(regime[torch.arange(33)], compile=True)
    many = Bates.from_regime(regime, compile=True)
    one = few.sample(33, 20, 0.1, generator=ref.generator())
    other = many.sample(BLOCK + 40, 20, 0.1, generator=ref.generator())
    own = one.jumps.eq(other.jumps[:33]).all(dim=1)  # counts of a block depend on its rates
    assert own.sum() > 10
    assert torch.equal(one.log_price[own], other.log_price[:33][own])


def test_fast_tail_is_the_tail():
    z = torch.linspace(-0.9, 6.0, 5001)
    exact = -torch.special.log_ndtr(-z.double())
    assert (fused.fast_tail(z) - exact).abs().max() < 4e-6
    assert (fused.fast_tail(torch.tensor([-6.0, -0.95])) < math.log(1.25)).all()


def test_no_compiler_is_said_in_a_sentence(monkeypatch, ref):
    def broken(*_, **__):
        raise RuntimeError("No working C++ compiler found\nand more")

    fused.compiled_step.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match=r"torch cannot compile here \(No working C\+\+.*\); inst"):
        Heston(**FIXED, v0=0.04, compile=True).sample(3, 5, 0.1, generator=ref.generator())
