"""From text to bars: what twenty instructions ask for, and what their bars tell.

    python benchmarks/text_control.py [--reader student] [--run FOLDER] [--paths 200]

Every instruction is read against the embedded S&P 500 (two ends: a lively and a calm market), its
scenarios are drawn, the network dresses the paths, and the label layer reads bars and SDE paths
of the same seed: what the paths tell is the ceiling. Volatility is the one expected over the
horizon. Drift is told by the mean growth of all paths of an instruction.
"""

import argparse
import math
from pathlib import Path

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    load_model,
    run,
    write_results,
)

from parfait.evaluation.instructed import (
    FIELDS,
    INSTRUCTIONS,
    Instructed,
    by_instruction,
    by_path,
    drift_control,
    follow,
)
from parfait.metrics.functional.control import Recovery
from parfait.regime import FIELD_NAMES
from parfait.regime.fields import from_coordinate
from parfait.semantic import load_reader

VOLATILITIES = (0.05, 0.1, 0.2, 0.4, 0.8)  # marks of the axes
NAMES = {
    "volatility": "σ",
    "jump_intensity": "λ",
    "hurst": "H",
    "mean_reversion": "κ",
}


def natural(one: Instructed, field: str) -> tuple[float, float, float]:
    """Middle of what was asked, what the SDE paths tell and what the bars tell."""
    j = FIELD_NAMES.index(field)
    columns = (one.asked[:, j], one.path.loc[:, j], one.bars.loc[:, j])
    asked, path, bars = (float(from_coordinate(field, c.mean())) for c in columns)
    return asked, path, bars


def each_table(found: list[Instructed]) -> Table:
    names = [f"{NAMES[f]}: asked, path, bars" for f in FIELDS]
    table = Table("Every instruction", ("instruction", "asset", "μ: asked", "grown", *names))
    for (text, asset, _), one in zip(INSTRUCTIONS, found, strict=True):
        cells = [" ".join(f"{v:.2f}" for v in natural(one, f)) for f in FIELDS]
        table.add(text, asset, f"{one.drift:+.2f}", str(one.growth), *cells)
    return table


def pooled_table(found: list[Instructed]) -> Table:
    table = Table(
        "Asked and recovered, coordinates: bars (SDE paths)",
        ("field", "over", "bias", "rmse", "spearman", "slope"),
    )
    for field in FIELDS:
        for over, pool in (("instructions", by_instruction), ("paths", by_path)):
            table.add(field, over, *cells(*pool(found, field)))
    slope, order = drift_control(found)
    table.add("drift", "instructions", "", "", f"{order} in order", str(slope))
    return table


def cells(bars: Recovery, path: Recovery) -> list[str]:
    pairs = zip(
        (bars.bias, bars.rmse, bars.spearman, bars.slope),
        (path.bias, path.rmse, path.spearman, path.slope),
        strict=True,
    )
    return [f"{short(a.value)} ({short(b.value)})" for a, b in pairs]


def short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def draw(found: list[Instructed], file: Path) -> None:
    """A panel for every field and the drift: asked against recovered, an instruction a point."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

    figure, axes = plt.subplots(1, 1 + len(FIELDS), figsize=(16, 3.6), layout="constrained")
    drift = axes[0]
    asked = [one.drift for one in found]
    grown = [one.growth.value or math.nan for one in found]
    errors = [one.growth.error or 0.0 for one in found]
    drift.errorbar(asked, grown, yerr=errors, fmt="o", ms=4, lw=0.8, color="#0072b2")
    drift.set_title("μ: mean growth, ± s.e.")
    drift.set_ylabel("recovered")
    for panel, field in zip(axes[1:], FIELDS, strict=True):
        rows = torch.tensor([natural(one, field) for one in found])
        panel.plot(
            rows[:, 0], rows[:, 1], "o", ms=7, mfc="none", color="#767d86", label="SDE paths"
        )
        panel.plot(rows[:, 0], rows[:, 2], "o", ms=4, color="#d55e00", label="bars")
        panel.set_title(f"{NAMES[field]}: {field.replace('_', ' ')}")
        if field == "volatility":
            panel.set(xscale="log", yscale="log")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_locator(FixedLocator(VOLATILITIES))
                axis.set_minor_locator(NullLocator())
                axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        elif field in ("jump_intensity", "mean_reversion"):
            panel.set(xscale="symlog", yscale="symlog")
    axes[1].legend(frameon=False)
    for panel in axes:
        low = min(panel.get_xlim()[0], panel.get_ylim()[0])
        high = max(panel.get_xlim()[1], panel.get_ylim()[1])
        panel.plot([low, high], [low, high], lw=0.8, color="#a9b3bf", zorder=0)
        panel.set(xlim=(low, high), ylim=(low, high), xlabel="asked")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reader", default="ontology", help="what reads: ontology, student")
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--paths", type=int, default=200, help="paths of an instruction")
    parser.add_argument("--steps", type=int, default=60, help="bars of each path")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    given = parser.parse_args()
    reader, model = load_reader(given.reader), load_model(given.run)
    found = follow(reader, model, INSTRUCTIONS, paths=given.paths, steps=given.steps)
    tables = [each_table(found), pooled_table(found)]
    for table in tables:
        table.print()
    data = {
        "reader": given.reader,
        "instructions": [
            {
                "text": text,
                "asset": asset,
                "drift": one.drift,
                "growth": one.growth.value,
                "error": one.growth.error,
                **{
                    f: dict(zip(("asked", "path", "bars"), natural(one, f), strict=True))
                    for f in FIELDS
                },
            }
            for (text, asset, _), one in zip(INSTRUCTIONS, found, strict=True)
        ],
    }
    write_results(given.output, "text_control", tables, data)
    draw(found, Path(given.output) / "text_control.png")


if __name__ == "__main__":
    run(main)
