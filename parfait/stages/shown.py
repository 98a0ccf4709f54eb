"""What ``simulate`` prints of a result."""

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parfait.utils.printable import printable

if TYPE_CHECKING:
    from parfait.basket import Basket
    from parfait.simulation import Simulation


def show(result: "Simulation | Basket", console: Console) -> None:
    """Print the sentence, the warnings, a table of the scenarios and the correlations."""
    from parfait.basket import Basket
    from parfait.report.content import distinct_labels

    if result.heading:
        words = printable(result.heading)
        shown = words if len(words) <= 300 else words[:297] + "..."
        console.print(Text(shown, style="bold"))
    for warning in result.warnings:
        console.print(Text(f"! {printable(warning)}", style="yellow"))
    several = isinstance(result, Basket)
    simulations = result.simulations if several else {"": result}
    confidence = min(s.scenarios.confidence for s in simulations.values())
    table = Table(title=f"Scenarios (confidence {confidence:.2f})")
    if several:
        table.add_column("symbol")
    table.add_column("scenario")
    for name in ("prob.", "paths", "return/y", "vol.", "jumps/y"):
        table.add_column(name, justify="right")
    shared: list[str] = []  # a phase that follows every scenario is said once, below the table
    for symbol, simulation in simulations.items():
        records = simulation.scenarios_table()
        later = [simulation.phases_of(number) for number in range(len(records))]
        if all(phases == later[0] for phases in later) and len(later) > 1:
            shared += [f"{symbol} continues {phase}".lstrip() for phase in later[0]]
            later = [[] for _ in later]
        labels = distinct_labels([printable(record["name"]) for record in records])
        for number, (record, label, phases) in enumerate(zip(records, labels, later, strict=True)):
            params = record["params"]
            table.add_row(
                *([Text("" if number else symbol)] if several else []),
                Text("\n".join([label, *(f"  {phase}" for phase in phases)])),
                f"{record['probability']:.0%}",
                str(record["n_paths"]),
                f"{math.expm1(params['drift']):+.0%}",  # E[S_T] = S_0 exp(drift T), T = 1 year
                f"{params['volatility']:.0%}",
                f"{params['jump_intensity']:.1f}",
            )
        if several:
            table.add_section()
    console.print(table)
    for sentence in shared:
        console.print(Text(sentence[0].upper() + sentence[1:]))
    if several:
        console.print(Text(_correlations(result)))


def _correlations(basket: "Basket") -> str:
    """One line: what was asked for and what the bars have."""
    from parfait.correlation import pairs_of

    found = pairs_of(basket.symbols)
    if len(found) > 6:
        gap = float((basket.realised - basket.requested).abs().max())
        return (
            f"Correlation of bar returns: {len(found)} pairs, found within {gap:.2f} of the asked"
        )
    parts = (
        f"{basket.symbols[i]}–{basket.symbols[j]} {basket.requested[i, j]:+.2f} asked, "
        f"{basket.realised[i, j]:+.2f} found"
        for i, j in found
    )
    return f"Correlation of bar returns: {'; '.join(parts)}"


def sentence(result: "Simulation | Basket", loaded: float, drawn: float) -> str:
    """What was done, and how long each part took."""
    from parfait.basket import Basket

    several = isinstance(result, Basket)
    one = result.first if several else result
    seconds = {"load": loaded, **one.seconds, "report": drawn}
    parts = ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())
    after = ", ".join(result.symbols) if several else one.history_name
    return (
        f"{one.n_paths} paths x {one.horizon} bars after {after} "
        f"({one.bars_per_year:g} bars/year), {one.sde} guide hit every "
        f"{one.guide_every} bars, seed {one.seed}: {parts}"
    )
