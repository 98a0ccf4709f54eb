"""Speed of the theory layer: µs of CPU per path of 252 steps, one thread, next to installed peers.

    OMP_NUM_THREADS=1 python benchmarks/sde.py

Prints two tables and asserts nothing: times depend on the machine, ratios less so. Every process
has parameters of its own for every path, as scenarios need; peers get what they can take.
"""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from parfait.regime import Regime
from parfait.sde import PROCESSES, Heston, RegimeSDE
from parfait.sde.fractional import fractional_noise

STEPS, YEARS, PATHS = 252, 1.0, 32_768


def cost(run: Callable[[], Any], paths: int, repeats: int = 3) -> float:
    """Best CPU time of some repeats, in µs per path."""
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best / paths * 1e6


def regimes(n: int, **fixed: float) -> Regime:
    """n different regimes; ``fixed`` fields are equal in all of them."""
    generator = torch.Generator().manual_seed(1)
    spans = {
        "drift": (-0.1, 0.2),
        "volatility": (0.1, 0.4),
        "jump_intensity": (5.0, 15.0),
        "jump_mean": (-0.04, 0.02),
        "jump_std": (0.05, 0.07),
        "mean_reversion": (0.1, 8.0),
        "hurst": (0.3, 0.7),
        "variance_reversion": (1.0, 6.0),
        "vol_of_vol": (0.1, 0.9),
        "leverage": (-0.9, 0.0),
    }
    values = {
        name: low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
        for name, (low, high) in spans.items()
    }
    values |= {name: torch.full((n,), value, dtype=torch.float64) for name, value in fixed.items()}
    return Regime(**values)


def ours() -> dict[str, float]:
    """Every process, and the classes of ``RegimeSDE``."""

    def timed(process: Any) -> float:
        return cost(
            lambda: process.sample(PATHS, STEPS, YEARS, generator=torch.Generator().manual_seed(0)),
            PATHS,
        )

    rows = {"normals only (2 x 252)": cost(lambda: torch.randn(2 * STEPS, PATHS), PATHS)}
    for name, process in PROCESSES.items():
        if name != "regime":
            rows[name] = timed(process.from_regime(regimes(PATHS)))
    rows["heston, scheme=euler"] = timed(Heston.from_regime(regimes(PATHS), scheme="euler"))
    classes = {
        "regime, neither memory nor reversion": {"hurst": 0.5, "mean_reversion": 0.0},
        "regime, reversion": {"hurst": 0.5},
        "regime, memory, constant variance": {"vol_of_vol": 0.0},
        "regime, memory, one H": {"hurst": 0.6, "mean_reversion": 0.0},
        "regime, memory, H by path": {"mean_reversion": 0.0},
        "regime, memory and reversion": {},
    }
    for name, fixed in classes.items():
        rows[name] = timed(RegimeSDE.from_regime(regimes(PATHS, **fixed)))
    white = torch.randn(2 * STEPS, PATHS)
    for name, fixed in (("one H", {"hurst": 0.7}), ("H by path", {})):
        hurst = torch.as_tensor(regimes(PATHS, **fixed).hurst)
        noise = cost(lambda h=hurst: fractional_noise(white, h), PATHS)
        rows[f"fractional noise, {name}"] = noise + rows["normals only (2 x 252)"]
    return rows


def torchsde_heston() -> float:
    import torchsde  # pyright: ignore[reportMissingImports]

    n = 4096
    p = Heston.from_regime(regimes(n, jump_intensity=0.0, hurst=0.5, mean_reversion=0.0))
    f = {k: torch.as_tensor(getattr(p, k)).float() for k in ("mu", "kappa", "theta", "xi", "v0")}

    class Model(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            v = y[:, 1].clamp(min=0)
            return torch.stack([f["mu"] - 0.5 * v, f["kappa"] * (f["theta"] - v)], dim=1)

        def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            root = y[:, 1].clamp(min=0).sqrt()
            return torch.stack([root, f["xi"] * root], dim=1)

    start, times = torch.stack([torch.zeros(n), f["v0"]], 1), torch.linspace(0, YEARS, STEPS + 1)
    return cost(
        lambda: torchsde.sdeint(Model(), start, times, method="euler", dt=YEARS / STEPS), n, 2
    )


def quantlib_heston() -> float:
    import QuantLib as ql  # pyright: ignore[reportMissingImports]

    n = 200
    today = ql.Date(1, 1, 2024)
    ql.Settings.instance().evaluationDate = today
    flat = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.03, ql.Actual365Fixed()))
    p = Heston.from_regime(regimes(n, jump_intensity=0.0, hurst=0.5, mean_reversion=0.0))
    rows = [torch.as_tensor(v).tolist() for v in (p.v0, p.kappa, p.theta, p.xi, p.rho)]

    def run() -> None:
        grid, spot = ql.TimeGrid(YEARS, STEPS), ql.QuoteHandle(ql.SimpleQuote(1.0))
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
                ql.HestonProcess.QuadraticExponentialMartingale,
            )
            uniform = ql.UniformRandomSequenceGenerator(2 * STEPS, ql.UniformRandomGenerator())
            normal = ql.GaussianRandomSequenceGenerator(uniform)
            paths = ql.GaussianMultiPathGenerator(process, list(grid), normal, False)
            sample = paths.next()  # must outlive the value read from it
            list(sample.value()[0])

    return cost(run, n, 2)


def pfhedge_heston() -> float:
    from pfhedge.stochastic import generate_heston  # pyright: ignore[reportMissingImports]

    n = 4096
    return cost(lambda: generate_heston(n, STEPS + 1, dt=YEARS / STEPS), n, 2)


def stochastic_noise() -> float:
    from stochastic.processes.noise import FractionalGaussianNoise  # pyright: ignore[reportMissingImports]

    n = 500
    source = FractionalGaussianNoise(hurst=0.7, t=YEARS)
    return cost(lambda: [source.sample(STEPS) for _ in range(n)], n, 2)


def fbm_noise() -> float:
    from fbm import FBM  # pyright: ignore[reportMissingImports]

    n = 100
    source = FBM(n=STEPS, hurst=0.7, length=YEARS, method="daviesharte")
    return cost(lambda: [source.fgn() for _ in range(n)], n, 2)


PEERS: dict[str, tuple[Callable[[], float], str]] = {
    "torchsde Euler Heston": (torchsde_heston, "heston"),
    "QuantLib QE-M Heston, by path from Python": (quantlib_heston, "heston"),
    "pfhedge Heston (one parameter set)": (pfhedge_heston, "heston"),
    "stochastic fractional noise": (stochastic_noise, "fractional noise, one H"),
    "fbm fractional noise": (fbm_noise, "fractional noise, one H"),
}


def main() -> None:
    """Prints the tables."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = ours()
    floor = rows["normals only (2 x 252)"]
    print(f"{'Parfait':<42}{'µs/path':>9}{'x normals':>11}")
    for name, value in rows.items():
        print(f"{name:<42}{value:>9.2f}{value / floor:>11.1f}")
    print(f"\n{'peer':<42}{'µs/path':>9}{'x ours':>11}")
    for name, (run, baseline) in PEERS.items():
        try:
            value = run()
        except ImportError:
            print(f"{name:<42}{'not installed':>20}")
            continue
        print(f"{name:<42}{value:>9.2f}{value / rows[baseline]:>11.1f}")


if __name__ == "__main__":
    main()
