"""Does a requested regime arrive in the bars? Recovered fields beside the ceiling of SDE paths.

    python benchmarks/round_trip.py [--run FOLDER] [--paths 256] [--steps 60] [--output FOLDER]

Regimes are drawn on a range, one path each; the embedded network dresses the guide, the label layer
reads bars and SDE paths of the same seed. Then a grid of volatilities around the history's, the
growth of prices, and pairs that differ in one field alone.
"""

import argparse
import math
from typing import Any

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)
from torch import Tensor

from parfait.bars import bars_to_tensor
from parfait.data import embedded_bars
from parfait.evaluation.control import PULL, regimes, reverting
from parfait.labels import label_windows
from parfait.metrics.functional.control import (
    Recovery,
    growth_error,
    round_trip,
    volatility_control,
)
from parfait.metrics.functional.counterfactual import counterfactual, cross_talk
from parfait.metrics.probes import Probe, probe
from parfait.microstructure import Microstructure
from parfait.regime import FIELD_NAMES, Regime, mean_volatility

BARS_PER_YEAR = 252.0
FIELDS = ("drift", "volatility", "jump_intensity", "hurst")
GRIDS = {
    "volatility": tuple(0.16 * 1.25**k for k in range(-2, 3)),
    "hurst": (0.3, 0.4, 0.5, 0.6, 0.7),
    PULL: (0.0, 5.0, 20.0, 60.0, 150.0),
    "jump_intensity": (0.0, 5.0, 15.0, 30.0, 50.0),
}
# sd of the coordinates, roughly
UNITS = {"volatility": 0.8, "hurst": 1.0, PULL: 1.5, "jump_intensity": 1.2}


class Bench:
    """A model, a history, and what every probe shares."""

    def __init__(self, model: Microstructure, steps: int) -> None:
        self.model, self.steps = model, steps
        self.history = bars_to_tensor(embedded_bars()["SP500"])[-80:]
        self.spot = float(self.history[-1, 3])
        self.past = float(self.history[:, 3].log().diff().std()) * math.sqrt(BARS_PER_YEAR)

    def probe(self, regime: Regime, seed: int = 1) -> Probe:
        return probe(
            self.model,
            self.history,
            regime,
            self.steps,
            bars_per_year=BARS_PER_YEAR,
            seed=seed,
        )

    def labels(self, made: Probe, which: str) -> Any:
        return label_windows(made.windows(self.spot, which), BARS_PER_YEAR)


def cells(recovery: Recovery) -> list[str]:
    parts = (recovery.bias, recovery.rmse, recovery.spearman, recovery.slope, recovery.coverage)
    return [f"{m.value:.3f}" if m.value is not None else str(m) for m in parts]


def trip_table(bench: Bench, paths: int) -> tuple[Table, dict[str, Any]]:
    columns = ("bias", "rmse", "spearman", "slope", "cover 90")
    table = Table(
        f"Round trip, {paths} regimes, {bench.steps} bars, coordinates",
        ("field", *columns, *(f"path {c}" for c in columns), "loss of rmse"),
    )
    data = {}
    for regime, fields in ((regimes(paths), FIELDS), (reverting(paths), (PULL,))):
        made = bench.probe(regime)
        labels = [bench.labels(made, which) for which in ("bars", "path")]
        for name, trip in round_trip(regime, *labels).items():
            if name in fields and trip.path is not None:
                table.add(name, *cells(trip.bars), *cells(trip.path), str(trip.loss))
                data[name] = [str(trip.bars), str(trip.path), str(trip.loss)]
    return table, data


def grid_table(bench: Bench, paths: int) -> Table:
    table = Table(
        f"Volatility of all closes, history at {bench.past:.0%}: realised / requested - 1",
        ("requested / history", "bars", "path", "anchored closes", "E[S_T]/(S_0 e^(mu T)) - 1"),
    )
    asked, found = [], {"bars": [], "path": []}
    for k, factor in enumerate((0.5, 0.75, 1.0, 1.5, 2.0, 3.0)):
        sigma = factor * bench.past
        regime = Regime(0.05, sigma, vol_of_vol=sigma, initial_volatility=sigma).expand(paths)
        made = bench.probe(regime, seed=10 + k)
        years = bench.steps / BARS_PER_YEAR
        wanted = mean_volatility(regime, 0.0, years)
        closes = {w: made.windows(bench.spot, w)[..., 3] for w in found}
        rows = [volatility_control(wanted, closes[w], BARS_PER_YEAR)["ratio"] for w in found]
        every = torch.cat([closes["bars"][:, :1], closes["bars"][:, 4::4]], dim=1)
        coarse = volatility_control(wanted, every, BARS_PER_YEAR / 4)["ratio"]
        growth = growth_error(closes["bars"][:, -1], bench.spot, wanted * 0 + 0.05, years)
        table.add(f"{factor:g}", *map(str, (*rows, coarse, growth)))
        asked.append(wanted)
        for w in found:
            found[w].append(closes[w])
    every = torch.cat(asked)
    ranks = [volatility_control(every, torch.cat(c), BARS_PER_YEAR)["rank"] for c in found.values()]
    table.add("rank correlation by path", *map(str, ranks), "", "")
    return table


def pairs(bench: Bench, seeds: int) -> tuple[Table, Table]:
    names = list(GRIDS)
    columns = [FIELD_NAMES.index(name) for name in names]
    unit = torch.tensor([UNITS[name] for name in names], dtype=torch.float64)
    responses: dict[str, list[Tensor]] = {"bars": [], "path": []}
    realised = Table(
        f"Paired counterfactuals, {seeds} seeds: share that is monotone over five points, effect",
        ("field", "bars", "effect", "path", "effect "),
    )
    grids = []
    for j, (name, grid) in enumerate(GRIDS.items()):
        points: dict[str, list[Tensor]] = {"bars": [], "path": []}
        for value in grid:
            fixed: dict[str, Any] = {"drift": 0.0, "volatility": 0.16, "jump_std": 0.03}
            fixed |= {"vol_of_vol": 0.16, "initial_volatility": 0.16, name: value}
            if name == "volatility":
                fixed["initial_volatility"] = value
            made = bench.probe(Regime(**fixed).expand(seeds), seed=99)
            for which in points:
                points[which].append(bench.labels(made, which).loc[:, columns])
        asked = Regime(0.0, 0.2).expand(len(grid)).replace(**{name: torch.tensor(grid).double()})
        grids.append(asked.to_unconstrained()[:, columns[j]])
        cells = [name]
        for which in points:
            stacked = torch.stack(points[which])
            responses[which].append(stacked)
            found = counterfactual(stacked[..., j])
            cells += [str(found.monotone), str(found.effect)]
        realised.add(*cells)
    talk = Table(
        "Cross-talk: d recovered / d requested, sd units (ceiling of SDE paths)",
        ("moved", *names),
    )
    matrices = {
        which: cross_talk(torch.stack(grids), torch.stack(rows), unit)[0]
        for which, rows in responses.items()
    }
    for i, name in enumerate(names):
        row = zip(matrices["bars"][i].tolist(), matrices["path"][i].tolist(), strict=True)
        talk.add(name, *(f"{a:.2f} ({b:.2f})" for a, b in row))
    return realised, talk


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--paths", type=int, default=256, help="paths of each part")
    parser.add_argument("--steps", type=int, default=60, help="bars of each path")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    bench = Bench(load_model(arguments.run), arguments.steps)
    first, data = trip_table(bench, arguments.paths)
    tables = [first, grid_table(bench, arguments.paths), *pairs(bench, arguments.paths // 4)]
    for table in tables:
        table.print()
    write_results(arguments.output, "round_trip", tables, data)


if __name__ == "__main__":
    run(main)
