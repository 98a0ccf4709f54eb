"""Draws docs/images/sde.png: every process beside its theory.

python scripts/draw_sde_gallery.py [target.png]
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from parfait.regime import Regime
from parfait.report.style import FAINT, INK, MUTED, SCENARIO_COLOURS, png_bytes, style
from parfait.sde import (
    GBM,
    OU,
    PROCESSES,
    Bates,
    FractionalGBM,
    Heston,
    Kou,
    Merton,
    Process,
    RegimeSDE,
    RoughBergomi,
    quantile,
)

PATHS, STEPS, YEARS, SPOT, SHOWN = 20_000, 252, 1.0, 100.0, 16
QUANTILES = (0.05, 0.5, 0.95)
THEORY_AT = range(21, STEPS + 1, 21)
BLUE, ORANGE = SCENARIO_COLOURS[:2]
JUMPS: dict[str, Any] = {"lam": 4.0, "jump_mean": -0.06, "jump_std": 0.05}
VARIANCE: dict[str, Any] = {"kappa": 4.0, "theta": 0.05, "xi": 0.7, "rho": -0.7, "v0": 0.03}
MU, SIGMA = 0.08, 0.22
CRISIS = Regime(
    drift=MU,
    volatility=SIGMA,
    jump_intensity=4.0,
    jump_mean=-0.06,
    jump_std=0.05,
    mean_reversion=2.0,
    hurst=0.6,
)
PANELS: dict[str, tuple[str, Process]] = {
    "gbm": ("Geometric Brownian motion", GBM(mu=MU, sigma=SIGMA)),
    "merton": ("Merton: normal jumps", Merton(mu=MU, sigma=0.15, **JUMPS)),
    "kou": (
        "Kou: double exponential jumps",
        Kou(mu=MU, sigma=0.15, lam=6.0, p_up=0.3, eta_up=25.0, eta_down=14.0),
    ),
    "ou": ("Ornstein–Uhlenbeck: pull to a trend", OU(mu=MU, sigma=0.3, kappa=5.0)),
    "heston": ("Heston: moving variance", Heston(mu=MU, **VARIANCE)),
    "bates": ("Bates: moving variance and jumps", Bates(mu=MU, **VARIANCE, **JUMPS)),
    "fgbm": ("Fractional GBM: H = 0.62", FractionalGBM(mu=MU, sigma=0.16, hurst=0.62)),
    "rough_bergomi": (
        "Rough Bergomi: H = 0.1 of the variance",
        RoughBergomi(mu=MU, hurst=0.1, eta=1.6, rho=-0.7, xi0=0.05),
    ),
    "regime": ("RegimeSDE: all of it", RegimeSDE(regime=CRISIS)),
}


def draw_panel(ax: Axes, title: str, process: Process) -> None:
    """Paths, sample mean and quantiles as lines, theory as marks."""
    generator = torch.Generator().manual_seed(0)
    paths = process.sample(PATHS, STEPS, YEARS, generator=generator)
    price = SPOT * paths.log_price.double().exp().numpy()
    t = np.linspace(0, YEARS, STEPS + 1)
    ax.plot(t, price[:SHOWN].T, color=FAINT, linewidth=0.5, alpha=0.7)
    ax.plot(t, np.quantile(price, QUANTILES, axis=0).T, color=BLUE, linewidth=1.2)
    ax.plot(t, price.mean(axis=0), color=ORANGE, linewidth=1.2)
    at = t[list(THEORY_AT)]
    ax.plot(at, SPOT * np.exp(MU * at), "o", color=ORANGE, markersize=3.2)
    if not isinstance(process, RoughBergomi | RegimeSDE):
        for q in QUANTILES:
            x = [float(quantile(process, q, k, YEARS * k / STEPS)) for k in THEORY_AT]
            ax.plot(at, SPOT * np.exp(x), "o", color=BLUE, markersize=3.2)
    else:
        ax.text(0.02, 0.03, "quantiles: no closed form", transform=ax.transAxes, color=MUTED)
    ax.set_title(title)
    ax.set_ylim(45, 185)
    ax.set_xlim(0, YEARS)
    ax.set_xticks([0, 0.25, 0.5, 0.75])


def draw() -> Figure:
    """One panel per process."""
    with style():
        figure = Figure(figsize=(11, 8.2), layout="constrained")
        axes = figure.subplots(3, 3, sharex=True, sharey=True)
        for ax, (title, process) in zip(axes.flat, PANELS.values(), strict=True):
            draw_panel(ax, title, process)
        for ax in axes[-1]:
            ax.set_xlabel("years")
        for ax in axes[:, 0]:
            ax.set_ylabel("price")
        entries = [
            Line2D([], [], color=FAINT, linewidth=1, label=f"{SHOWN} of {PATHS:,} paths"),
            Line2D([], [], color=BLUE, label="quantiles 5, 50, 95 %"),
            Line2D([], [], color=ORANGE, label="mean"),
            Line2D([], [], color=INK, marker="o", markersize=4, linewidth=0, label="theory"),
        ]
        figure.legend(handles=entries, loc="outside lower center", ncols=4)
    return figure


def main() -> None:
    """Writes the figure."""
    default = Path(__file__).parents[1] / "docs" / "images" / "sde.png"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    target.write_bytes(png_bytes(draw(), dpi=110))
    print(f"wrote {target}")


if __name__ == "__main__":
    assert set(PANELS) == set(PROCESSES)
    main()
