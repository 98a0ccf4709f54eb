"""Effect sizes of the ontology beside what followed dated events, by type and pooled.

    python benchmarks/effects.py

Windows of 20 daily bars of the embedded S&P 500 and NASDAQ from each event's session on. `file`:
what the reader says on average of the type's texts, at the sizes that effects.yaml has before
`realised`; `came`: what followed, as a deviation from windows in general at such a volatility.
Drift is the return over the window in units of the volatility before it, turbulence ln sigma.

Pooled: the slope h of came = h * file through the origin, its standard error from sums over
stretches of 60 days, and the size that is left when it is shrunk towards the one in the file,

    h ~ N(1, 1/2^2)  =>  (1/s^2 h + 4) / (1/s^2 + 4).

The rule (events to 2011 decide, later ones only test) is that of docs/semantic.md.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from torch import Tensor

from parfait.data import embedded_bars
from parfait.distill.catalogue import read_catalogue
from parfait.distill.shrinkage import fit_baseline, observed, shrink
from parfait.evaluation.followed import HORIZON, PERIODS, within
from parfait.evaluation.occasions import Occasions, occasions
from parfait.metrics.functional.reading import Yardstick, mixture_mean
from parfait.regime.fields import from_coordinate
from parfait.semantic import load_reader
from parfait.semantic.ontology.lexicon import effects

BLOCK = int(60 * 86_400e6)  # microseconds
FIELDS = ("drift", "turbulence")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="outputs/benchmarks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    asked, usual = occasions(embedded_bars(), read_catalogue(), HORIZON)
    with unscaled():
        told = said(asked)
    came = followed(asked, usual)
    kinds = groups(asked)
    pooled = Table(
        "Slope of what came on what the file says",
        ("events", "period", "windows", "blocks", "field", "slope", "s.e.", "shrunk towards 1"),
    )
    found: dict[str, object] = {}
    for group, mine in kinds.items():
        for period in PERIODS.values():
            rows = mine & within(asked.date, period)
            for j, field in enumerate(FIELDS):
                slope, error, blocks = fitted(told[rows, j], came[rows, j], asked.date[rows])
                kept = (slope / error**2 + 4) / (1 / error**2 + 4)
                numbers = (f"{slope:+.2f}", f"{error:.2f}", f"{kept:.2f}")
                pooled.add(group, period, int(rows.sum()), blocks, field, *numbers)
                found[f"{group}/{period}/{field}"] = (slope, error, kept)
    by_type = types_table(asked, usual, told, came)
    for table in (pooled, by_type):
        table.print()
    write_results(args.output, "effects", [pooled, by_type], found)


@contextmanager
def unscaled() -> Iterator[None]:
    """The sizes of the file, as if every event were followed by all of them."""
    shares = effects()["constants"]["realised"]
    kept = dict(shares)
    shares.update(drift=1.0, turbulence=1.0)
    try:
        yield
    finally:
        shares.update(kept)


def said(asked: Occasions) -> Tensor:
    """Mean return over the window in units of the volatility before, and the shift of ln sigma,
    of each reading's mean less the prior's.
    """
    reader, rows = load_reader(), []
    for event, context in zip(asked.events, asked.contexts, strict=True):
        unit = Yardstick.of(context.asset_class or "equity", context)
        mean = mixture_mean(reader.read(event.text, context))
        drift = from_coordinate("drift", mean[0]) - from_coordinate("drift", unit.centre[0])
        rows.append(torch.stack([drift, mean[1] - unit.centre[1]]))
    shifts = torch.stack(rows)
    years = asked.returns.shape[1] / asked.bars_per_year
    return torch.stack([shifts[:, 0] * years.sqrt() / asked.present, shifts[:, 1]], 1)


def followed(asked: Occasions, usual: Occasions) -> Tensor:
    """Return in the same units, and ln sigma of the label, less what follows in general."""
    x, at = usual.present.log(), asked.present.log()
    seen = usual.observed(usual.returns)
    returns = fit_baseline(seen, torch.zeros_like(seen), x).at(at)[:, 0]
    sigma = fit_baseline(usual.loc[:, 1:2] - x[:, None], usual.scale[:, 1:2], x).at(at)[:, 0]
    came = asked.observed(asked.returns)[:, 0]
    return torch.stack([came - returns, asked.loc[:, 1] - at - sigma], 1)


def groups(asked: Occasions) -> Mapping[str, Tensor]:
    """All; events with a dose in the file; those of unstated size, to which `realised` applies."""
    dosed = torch.tensor(["ref" in effects()["events"][kind] for kind in asked.types])
    return {"all": torch.ones_like(dosed), "with a dose": dosed, "of unstated size": ~dosed}


def fitted(told: Tensor, came: Tensor, date: Tensor) -> tuple[float, float, int]:
    """Slope through the origin, its standard error over blocks of time, and how many there are."""
    whole = float(told.square().sum())
    slope = float((told * came).sum()) / whole
    residual, block = told * (came - slope * told), date // BLOCK
    parts = torch.stack([residual[block == b].sum() for b in block.unique()])
    return slope, float(parts.square().sum().sqrt()) / whole, len(parts)


def types_table(asked: Occasions, usual: Occasions, told: Tensor, came: Tensor) -> Table:
    """By type: sizes, what came with its standard error and shrunk to no effect, and the source."""
    table = Table(
        "By type",
        (
            *("type", "dates"),
            *(f"{field}: {what}" for field in FIELDS for what in ("file", "came", "shrunk")),
            "source",
        ),
    )
    x, at = usual.present.log(), asked.present.log()
    law = fit_baseline(usual.loc[:, 1:2] - x[:, None], usual.scale[:, 1:2], x)
    spread = torch.cat([torch.ones(len(at), 1, dtype=torch.float64), law.spread(at)], 1)
    sigma, width = observed(came[:, 1:], asked.scale[:, 1:2], spread[:, 1:])
    value = torch.cat([came[:, :1], sigma], 1)
    noise = torch.cat([torch.zeros_like(width), width], 1)
    events = [(e.type, e.date) for e in asked.events]
    weight = torch.tensor([1 / events.count(one) for one in events], dtype=torch.float64)
    found = shrink(value, noise, asked.types, weight, spread)
    dates = {kind: len({d for t, d in events if t == kind}) for kind in found.groups}
    for kind in sorted(found.groups, key=lambda k: (-dates[k], k)):
        mine, k = asked.of_type(kind), found.groups.index(kind)
        cells = []
        for j in range(2):
            error = float(came[mine, j].std()) / dates[kind] ** 0.5 if dates[kind] > 1 else None
            cells.append(f"{float(told[mine, j].mean()):+.2f}")
            plus = "" if error is None else f" ± {error:.2f}"
            cells.append(f"{float(came[mine, j].mean()):+.2f}{plus}")
            cells.append(f"{float(found.mean[k, j]):+.2f} ± {float(found.sd[k, j]):.2f}")
        table.add(kind, dates[kind], *cells, effects()["events"][kind]["source"][:60])
    return table


if __name__ == "__main__":
    run(main)
