"""Do the bars of several assets have the correlation that was asked for?

    python benchmarks/assets.py

First the main job: 500 paths of 20 bars after the embedded S&P 500 and NASDAQ, three sentences,
five requests. Then the network alone: bars of both under correlated Brownian guides, 1000 paths of
20 bars, volatility 18 and 28 %, by the spacing of the anchors; ``between`` is what is left of a
return when the mean of its segment is taken away. Last the schedule: realised volatility of 400
paths asked for 60 % for ten bars and for 15 % after them.
"""

import math
import warnings

import torch
from _common import Table  # pyright: ignore[reportImplicitRelativeImport]
from torch import Tensor

from parfait import Basket, Pipeline, Simulation
from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.microstructure import Microstructure, Mix
from parfait.microstructure.constraint import Segments
from parfait.microstructure.training import regular_anchors
from parfait.regime import Regime
from parfait.sde import Guide, Schedule

SENTENCES = {
    "calm": "A calm market, rising slowly",
    "rates": "The central bank announces an unexpected 50bps rate hike",
    "crisis": "Global conflict escalates, leading to a liquidity crisis and gold price surge.",
}
REQUESTS = (-0.5, 0.0, 0.5, 0.9, None)
LEVELS = (-0.8, -0.5, 0.0, 0.5, 0.9)
BARS_PER_YEAR, STEPS = 252.0, 20
SIGMAS = {"SP500": 0.18, "NASDAQ": 0.28}


def main_job(pipeline: Pipeline) -> None:
    """Requested and realised correlations by sentence."""
    names = [f"{r:+.1f}" if r is not None else "estimated" for r in REQUESTS]
    table = Table("bar returns of S&P 500 and NASDAQ, asked and found", ("sentence", *names))
    for name, sentence in SENTENCES.items():
        cells = []
        for request in REQUESTS:
            found = pipeline.run(
                sentence, embedded_bars(), n_paths=500, horizon=STEPS, seed=1, correlation=request
            )
            assert isinstance(found, Basket)
            text = f"{float(found.realised[0, 1]):.2f}"
            cells.append(text if request is not None else f"{text} of {found.requested[0, 1]:.2f}")
        table.add(name, *cells)
    table.print()


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


def parts(bars: Tensor, spot: float, anchored: Tensor) -> dict[str, Tensor]:
    """What correlates: returns, their anchored and free parts, gaps, sizes."""
    o, h, low, c = bars[..., :4].log().unbind(-1)
    before = torch.cat([torch.full_like(c[:, :1], math.log(spot)), c[:, :-1]], dim=1)
    mean = Segments.from_anchors(anchored).spread(c - before)
    return {
        "return": c - before,
        "anchored": mean,
        "between": c - before - mean,
        "gap": o - before,
        "log range": (h - low).clamp_min(1e-9).log(),
        "log volume": bars[..., 4].clamp_min(1e-9).log(),
    }


def network(model: Microstructure) -> None:
    """Correlations of bars under correlated Brownian guides."""
    paths, found = 1000, {}
    names = ["guide"]
    table = None
    for every in (1, 4, 8):
        anchored = regular_anchors(paths, STEPS, every)
        anchored[:, -1] = True
        for level in LEVELS:
            z = torch.randn(
                (2, paths, STEPS),
                generator=torch.Generator().manual_seed(1),
                dtype=torch.float64,
            )
            noise = z[0], level * z[0] + math.sqrt(1 - level**2) * z[1]
            matrix = torch.tensor([[1.0, level], [level, 1.0]], dtype=torch.float64)
            for asset, (symbol, sigma) in enumerate(SIGMAS.items()):
                history = bars_to_tensor(embedded_bars()[symbol].tail(80))
                spot = float(history[-1, 3])
                sd = sigma / BARS_PER_YEAR**0.5
                guide = Guide(spot * (sd * noise[asset] - sd**2 / 2).cumsum(1).exp(), anchored)
                bars = model.generate(
                    history,
                    guide,
                    Regime(0.0, sigma).expand(paths),
                    bars_per_year=BARS_PER_YEAR,
                    generator=torch.Generator().manual_seed(3),
                    mix=Mix(matrix, asset),
                )
                found[symbol] = parts(bars, spot, anchored)
            first, second = found.values()
            if table is None:
                names += list(first)
                table = Table("bars under Brownian guides", ("anchors every", "C", *names))
            cells = [f"{correlation(first[name], second[name]):.3f}" for name in first]
            if every == 1:
                cells[list(first).index("between")] = "–"
            table.add(str(every), f"{level:+.1f}", f"{correlation(*noise):.3f}", *cells)
    assert table is not None
    table.print()


def schedule(pipeline: Pipeline) -> None:
    """Realised volatility of a wild fortnight and what follows, by the spacing of the anchors."""
    wild = Regime(0.0, 0.6, variance_reversion=300.0, vol_of_vol=0.5, initial_volatility=0.6)
    calm = Regime(0.0, 0.15, variance_reversion=300.0, vol_of_vol=0.5)
    title = "volatility of bars 1-10, 11-20, 21-40: 60 % for ten bars, then 15 %"
    table = Table(title, ("anchors every", "bars 1-10", "11-20", "21-40"))
    for every in (1, 4, 8):
        plan = Schedule(((wild, 10 / BARS_PER_YEAR), (calm, None)))
        run = pipeline.run(plan, n_paths=400, horizon=40, seed=1, guide_every=every)
        assert isinstance(run, Simulation)
        close = run.column("close").log()
        start = torch.full_like(close[:, :1], math.log(run.spot))
        squares = torch.cat([start, close], dim=1).diff(dim=1).square() * BARS_PER_YEAR
        spans = (slice(0, 10), slice(10, 20), slice(20, 40))
        table.add(str(every), *(f"{float(squares[:, s].mean()) ** 0.5:.2f}" for s in spans))
    table.print()


def main() -> None:
    """Prints the tables."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pipeline = Pipeline.load()
    main_job(pipeline)
    network(Microstructure.load())
    schedule(pipeline)


if __name__ == "__main__":
    main()
