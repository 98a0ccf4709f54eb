"""Is Parfait's own forecast calibrated, and no worse than the classics? CRPS, coverage, PIT, skill.

    python benchmarks/calibration.py [--assets FILE.json] [--tune] [--paths 500] [--output FOLDER]

The reading of nothing ("") through the default process, from every fifth bar of the held-out part
of each asset, scored on return, realised volatility, range and largest fall of the closes of 5, 10
and 20 bars. Scores are in units of the asset's training deviation, pooled over assets; intervals
are of a block bootstrap over dates (87 days, three horizons). ``--assets`` adds files to the
embedded indices, a list of {"name", "path", "asset", "options"} with options of ``load_bars``.
``--tune`` scores 2005-2014 instead, with parameters of the rivals from before: for choices.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    run,
    write_results,
)
from torch import Tensor

from parfait.bars import bars_to_tensor, estimate_bars_per_year
from parfait.data import embedded_bars, load_bars
from parfait.data.windows import end_of
from parfait.evaluation.windows import EMBEDDED_CUT
from parfait.metrics.functional.calibration import (
    covered,
    crps,
    ks_uniform,
    mean_interval,
    pit,
    skill,
)
from parfait.metrics.functional.targets import TARGETS, path_targets
from parfait.metrics.functional.utility import tail_risk
from parfait.metrics.neutral import neutral_paths
from parfait.metrics.rivals.forecasts import FORECASTS

HORIZONS, STEPS, BLOCK = (5, 10, 20), 20, 87
_DAY = 86_400_000_000
TUNE_FROM = "2004-12-31"
RISK = (0.95, 0.99)


@dataclass(frozen=True)
class Asset:
    """One series and the origins of its forecasts: rows of the last known bar."""

    name: str
    kind: str
    bars: Tensor
    days: Tensor
    frequency: float
    train: int
    origins: Tensor

    @property
    def returns(self) -> Tensor:
        return self.bars[:, 3].log().diff()

    @property
    def scale(self) -> float:
        return float(self.returns[: self.train].std())

    @property
    def truth(self) -> Tensor:
        return self.returns[self.origins[:, None] + torch.arange(STEPS)]


def load_assets(file: str | None, *, tune: bool) -> list[Asset]:
    """The embedded indices and those of a file, cut at 2014-12-31, or at three quarters where less
    than 1000 bars lie before that or 300 after."""
    frames = [(name, "equity", frame) for name, frame in embedded_bars().items()]
    for row in json.loads(Path(file).read_text()) if file else []:
        frame, _ = load_bars(row["path"], **row.get("options", {}))
        frames.append((row["name"], row["asset"], frame))
    return [_asset(*each, tune=tune) for each in frames]


def _asset(name: str, kind: str, frame: pl.DataFrame, *, tune: bool) -> Asset:
    days = (frame["timestamp"].cast(pl.Int64) // _DAY).to_torch()
    bars, n = bars_to_tensor(frame), frame.height

    def cut(date: str) -> int:
        return int(torch.searchsorted(days, end_of(date) // _DAY, right=True))

    split = cut(EMBEDDED_CUT)
    split = split if 1000 <= split <= n - 300 else int(0.75 * n)
    if tune:
        n, split = split, cut(TUNE_FROM)
        split = split if 500 <= split < n - 300 else n // 2
    origins = torch.arange(max(split, 260), n - 1 - STEPS, 7 if tune else 5)
    frequency = estimate_bars_per_year(frame["timestamp"])
    return Asset(name, kind, bars[:n], days[:n], frequency, split - 1, origins)


def neutral(asset: Asset, paths: int, generator: torch.Generator) -> Tensor:
    return neutral_paths(
        asset.bars,
        asset.origins,
        STEPS,
        paths,
        bars_per_year=asset.frequency,
        asset=asset.kind,
        generator=generator,
    )


def classic(name: str) -> Callable[[Asset, int, torch.Generator], Tensor]:
    def forecast(asset: Asset, paths: int, generator: torch.Generator) -> Tensor:
        rows = asset.origins - 1  # returns begin with the second bar
        how: dict[str, Any] = {"train": asset.train, "generator": generator}
        return FORECASTS[name](asset.returns, rows, STEPS, paths, **how)

    return forecast


def scored(
    assets: list[Asset], forecast: Callable[..., Tensor], paths: int
) -> dict[tuple[str, int], dict[str, Tensor]]:
    """Scores by (target, horizon), pooled over assets."""
    rows: dict[tuple[str, int], dict[str, list[Tensor]]] = {}
    for k, asset in enumerate(assets):
        samples = forecast(asset, paths, torch.Generator().manual_seed(1 + k))
        for h in HORIZONS:
            drawn = path_targets(samples[..., :h])
            came = path_targets(asset.truth[:, :h])
            for target in TARGETS:
                x, y = drawn[target], came[target]
                cell = rows.setdefault((target, h), {})
                unit = asset.scale * (1.0 if target == "volatility" else h**0.5)
                cell.setdefault("crps", []).append(crps(x, y) / unit)
                cell.setdefault("pit", []).append(pit(x, y, torch.Generator().manual_seed(99)))
                for level in (0.5, 0.8, 0.9):
                    cell.setdefault(f"{level}", []).append(covered(x, y, level))
                cell.setdefault("date", []).append(asset.days[asset.origins])
                if target == "return":
                    cell.setdefault("came", []).append(y / unit)
                    cell.setdefault("samples", []).append(x / unit)
    return {key: {n: torch.cat(v) for n, v in cell.items()} for key, cell in rows.items()}


def risk_table(scores: dict[str, dict[tuple[str, int], dict[str, Tensor]]]) -> Table:
    """VaR and ES of buying and holding, in units of the asset's deviation over the horizon."""
    columns = ("breaches", "return / ES", "FZ0")
    table = Table(
        "VaR and ES of buy-and-hold",
        ("forecast", "bars", *(f"{c} {level:.0%}" for level in RISK for c in columns)),
    )
    for name, cells in scores.items():
        for h in HORIZONS:
            cell, row = cells["return", h], []
            for level in RISK:
                g = torch.Generator().manual_seed(0)
                given = cell["samples"], cell["came"], cell["date"], BLOCK
                row += tail_risk(*given, level=level, generator=g).values()
            table.add(name, h, *row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--assets", default=None, help="JSON list of further files")
    parser.add_argument("--tune", action="store_true", help="score 2005-2014 instead")
    parser.add_argument("--paths", type=int, default=500, help="paths of each forecast")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    assets = load_assets(arguments.assets, tune=arguments.tune)
    count = sum(len(asset.origins) for asset in assets)
    ours = scored(assets, neutral, arguments.paths)
    rivals = {name: scored(assets, classic(name), arguments.paths) for name in FORECASTS}
    levels = Table(
        f"{len(assets)} assets, {count} forecasts of {arguments.paths} paths",
        ("forecast", "target", "bars", "CRPS", "cover 50", "80", "90", "95 % interval", "PIT-KS"),
    )
    skills = Table("Skill, 1 - CRPS / CRPS of the rival", ("target", "bars", *FORECASTS))
    data: dict[str, Any] = {}
    for key, cell in ours.items():
        gains = []
        for rival in rivals.values():
            how = {"draws": 1000, "generator": torch.Generator().manual_seed(0)}
            s = skill(cell["crps"], rival[key]["crps"], cell["date"], BLOCK, **how)
            gains.append(f"{s.value:+.3f} [{s.low:+.3f}, {s.high:+.3f}]")
        skills.add(*key, *gains)
        data[f"{key[0]} {key[1]}"] = gains
    for name, table in {"Parfait": ours, **rivals}.items():
        for key, cell in table.items():
            g = torch.Generator().manual_seed(0)
            c = mean_interval(cell["0.9"], cell["date"], BLOCK, generator=g)
            mean = [float(cell[x].mean()) for x in ("crps", "0.5", "0.8", "0.9")]
            levels.add(name, *key, *mean, f"[{c.low:.3f}, {c.high:.3f}]", ks_uniform(cell["pit"]))
    tables = [skills, levels, risk_table({"Parfait": ours, **rivals})]
    for table in tables:
        table.print()
    write_results(arguments.output, "calibration", tables, data)


if __name__ == "__main__":
    run(main)
