"""The jobs of ``sde.py`` that other libraries do, each as well as it can be asked to.

A job is built once (which may compile) and then run for its time. It returns what it simulated, so
that the benchmark can check that it is the right thing: log returns and final variance of a Heston
model, or fractional noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parfait.sde import Heston

# pyright: reportMissingImports=false, reportMissingModuleSource=false


@dataclass(frozen=True)
class Job:
    """``run`` simulates ``paths`` paths."""

    paths: int
    run: Callable[[], Any]


@dataclass(frozen=True)
class Market:
    """Heston parameters of every path, and the grid."""

    model: Heston
    steps: int
    years: float

    @property
    def dt(self) -> float:
        return self.years / self.steps

    def tensors(self, n: int) -> dict[str, Tensor]:
        """Of the first n paths, float32."""
        names = ("mu", "kappa", "theta", "xi", "rho", "v0")
        return {k: torch.as_tensor(getattr(self.model, k))[:n].float() for k in names}


def torchsde_heston(market: Market, *, fresh: bool) -> Job:
    """Euler. y = x - (rho/xi) v makes the noise diagonal, much faster than a correlated one.

    ``fresh``: not the Brownian motion of the library but one written for it, which remembers
    nothing: enough for Euler.
    """
    import torchsde

    n = 8192
    p = market.tensors(n)
    tilt, free = p["rho"] / p["xi"], (1 - p["rho"] ** 2).sqrt()

    class Fresh(torchsde.BaseBrownian):
        """Increments that are asked for once and in order."""

        dtype, device, shape, levy_area_approximation = torch.float32, "cpu", (n, 2), "none"

        def __call__(self, ta: Tensor, tb: Tensor, **_: Any) -> Tensor:
            return torch.randn(n, 2).mul_(math.sqrt(float(tb - ta)))

        def __repr__(self) -> str:
            return "Fresh()"

        def size(self) -> tuple[int, int]:
            return n, 2

    class Model(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            v = y[:, 1].clamp(min=0)
            pull = p["kappa"] * (p["theta"] - v)
            return torch.stack([p["mu"] - 0.5 * v - tilt * pull, pull], dim=1)

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            root = y[:, 1].clamp(min=0).sqrt()
            return torch.stack([free * root, p["xi"] * root], dim=1)

    start = torch.stack([-tilt * p["v0"], p["v0"]], 1)
    times = torch.linspace(0, market.years, market.steps + 1)

    def run() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            motion = Fresh() if fresh else torchsde.BrownianInterval(0.0, market.years, (n, 2))
            y = torchsde.sdeint(Model(), start, times, bm=motion, method="euler", dt=market.dt)
        return (y[:, :, 0] + tilt * y[:, :, 1])[-1], y[-1, :, 1].clamp(min=0)

    return Job(n, run)


def diffrax_heston(market: Market, *, batched: bool) -> Job:
    """Euler, compiled, on the path of fresh normals that is its fastest.

    ``batched``: all paths are one state, whose normals come from one key; else mapped over paths,
    each with its key.
    """
    import diffrax
    import jax
    import jax.numpy as jnp

    n = 8192
    p = {k: jnp.asarray(v.numpy()) for k, v in market.tensors(n).items()}

    def drift(t: Any, y: Any, a: Any) -> Any:
        v = jnp.maximum(y[1], 0)
        return jnp.stack([a["mu"] - 0.5 * v, a["kappa"] * (a["theta"] - v)])

    class Diffusion(diffrax.AbstractTerm):
        """Both noises at once: cheaper than a matrix product."""

        control: Any

        def vf(self, t: Any, y: Any, args: Any) -> Any:
            return jnp.sqrt(jnp.maximum(y[1], 0)), args

        def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
            return self.control.evaluate(t0, t1)

        def prod(self, vf: Any, control: Any) -> Any:
            root, a = vf
            mixed = a["rho"] * control[1] + jnp.sqrt(1 - a["rho"] ** 2) * control[0]
            return root * jnp.stack([mixed, a["xi"] * control[1]])

    def solve(key: Any, a: Any) -> Any:
        noise = diffrax.UnsafeBrownianPath(shape=(2, *a["v0"].shape), key=key)
        solution = diffrax.diffeqsolve(
            diffrax.MultiTerm(diffrax.ODETerm(drift), Diffusion(noise)),
            diffrax.Euler(),
            t0=0.0,
            t1=market.years,
            dt0=market.dt,
            y0=jnp.stack([jnp.zeros_like(a["v0"]), a["v0"]]),
            args=a,
            saveat=diffrax.SaveAt(steps=True),
            max_steps=market.steps + 2,
            adjoint=diffrax.DirectAdjoint(),
        )
        return solution.ys

    many = jax.jit(solve if batched else jax.vmap(solve))
    count = iter(range(1_000_000))

    def run() -> tuple[Tensor, Tensor]:
        key = jax.random.PRNGKey(next(count))
        ys = np.asarray(many(key if batched else jax.random.split(key, n), p))
        last = ys[market.steps - 1] if batched else ys[:, market.steps - 1].T
        x, v = torch.from_numpy(last.copy())
        return x, v.clamp(min=0)

    run()
    return Job(n, run)


def quantlib_heston(market: Market) -> Job:
    """QE-M with every path's own process, generators and grid, read into Python; drift 0."""
    import QuantLib as ql

    n = 256
    today = ql.Date(1, 1, 2024)
    ql.Settings.instance().evaluationDate = today
    flat = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, ql.Actual365Fixed()))
    values = market.tensors(n)
    rows = [values[k].tolist() for k in ("v0", "kappa", "theta", "xi", "rho")]
    grid = list(ql.TimeGrid(market.years, market.steps))
    spot, scheme = ql.QuoteHandle(ql.SimpleQuote(1.0)), ql.HestonProcess
    seeds = iter(range(1, 1_000_000))

    def run() -> tuple[Tensor, Tensor]:
        ends = []
        for v0, kappa, theta, xi, rho in zip(*rows, strict=True):
            process = ql.HestonProcess(
                flat,
                flat,
                spot,
                v0,
                kappa,
                theta,
                xi,
                rho,
                scheme.QuadraticExponentialMartingale,
            )
            # A path generator copies its source of normals, so every path needs a seed of its own.
            numbers = ql.UniformRandomGenerator(seed=next(seeds))
            uniform = ql.UniformRandomSequenceGenerator(2 * market.steps, numbers)
            normal = ql.GaussianRandomSequenceGenerator(uniform)
            source = ql.GaussianMultiPathGenerator(process, grid, normal, False)
            sample = source.next()  # must outlive the value read from it
            value = sample.value()
            prices, variances = list(value[0]), list(value[1])
            ends.append((math.log(prices[-1]), variances[-1]))
        x, v = torch.tensor(ends).T
        return x + values["mu"] * market.years, v

    return Job(n, run)


def pfhedge_heston(market: Market) -> Job:
    """One parameter set, since it takes no more: the mean of the paths'; drift 0."""
    from pfhedge.stochastic import generate_heston

    n = 8192
    values = market.tensors(n)
    mean = {k: float(v.mean()) for k, v in values.items()}
    settings = {k: mean[k] for k in ("kappa", "theta", "rho")} | {"sigma": mean["xi"]}
    start = (1.0, mean["v0"])

    def run() -> tuple[Tensor, Tensor]:
        made = generate_heston(n, market.steps + 1, init_state=start, dt=market.dt, **settings)
        level = mean["theta"] + (mean["v0"] - mean["theta"]) * math.exp(
            -mean["kappa"] * market.years
        )
        own = final_variance(market, n)
        # Back to the paths' own means, so that one check serves all.
        return made.spot[:, -1].log() + values["mu"] * market.years, made.variance[
            :, -1
        ] - level + own

    return Job(n, run)


def naive_loop(market: Market) -> Job:
    """What a script without vectors does: a loop over paths and steps, numpy scalars within."""
    n = 128
    values = {k: v.tolist() for k, v in market.tensors(n).items()}
    draw = np.random.default_rng(0)

    def run() -> None:
        dt, paths = market.dt, []
        for mu, theta in zip(values["mu"], values["theta"], strict=True):
            sigma, price, path = math.sqrt(theta), 1.0, [1.0]
            for _ in range(market.steps):
                move = (mu - 0.5 * sigma**2) * dt + sigma * np.sqrt(dt) * draw.standard_normal()
                if draw.random() < 10 * dt:
                    move += draw.normal(-0.01, 0.06)
                price *= np.exp(move)
                path.append(price)
            paths.append(path)

    return Job(n, run)


def stochastic_noise(hurst: list[float], steps: int) -> Job:
    """Davies and Harte, one path per call; an exponent's spectrum is made once in a run."""
    from stochastic.processes.noise import FractionalGaussianNoise

    def run() -> Tensor:
        sources = {h: FractionalGaussianNoise(hurst=h, t=float(steps)) for h in hurst}
        return torch.tensor(np.stack([sources[h].sample(steps) for h in hurst]))

    return Job(len(hurst), run)


def fbm_noise(hurst: list[float], steps: int) -> Job:
    """Davies and Harte, one path per call; an exponent's spectrum is made once in a run."""
    from fbm import FBM

    def run() -> Tensor:
        sources = {h: FBM(n=steps, hurst=h, length=steps, method="daviesharte") for h in hurst}
        return torch.tensor(np.stack([sources[h].fgn() for h in hurst]))

    return Job(len(hurst), run)


def final_variance(market: Market, n: int) -> Tensor:
    """E[v_T] of every path."""
    p = market.tensors(n)
    return p["theta"] + (p["v0"] - p["theta"]) * torch.exp(-p["kappa"] * market.years)
