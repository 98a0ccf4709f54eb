"""Do the stylised facts discriminate? Distances of trivial candidates from a real index.

    python benchmarks/facts.py [--symbol SP500]

Paths of 252 bars every 21 bars; the sampling error of the real side is a block bootstrap over time,
blocks of a year, that of the generated side one over paths. Candidates know the whole sample, so
this shows what the yardstick sees, not what they are worth.
"""

import argparse
import time
from collections.abc import Callable

import torch
from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]
from torch import Tensor

from parfait.data import embedded_bars, make_segments
from parfait.metrics.functional.cont import Reference
from parfait.metrics.functional.distance import Distances, fact_distances, summarise
from parfait.metrics.functional.suite import CONT_FACTS, MEMORY_FACTS, Sampling, measure_facts
from parfait.metrics.functional.windows import WindowCode, encode_path
from parfait.metrics.rivals import GARCHES, make_rivals
from parfait.utils.errors import UserError

STEPS, EVERY, HISTORY, YEAR = 252, 21, 61, 365
RETURNS = {*CONT_FACTS, *MEMORY_FACTS} - {"volume_abs", "hurst_range"}
_DAY_MICROSECONDS = 86_400_000_000


def sample(symbol: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Histories, paths, dates of the paths' ends, and the log returns of one series."""
    segments = [s for s in make_segments(embedded_bars()) if s.symbol == symbol]
    if not segments:
        raise UserError(f"symbol {symbol!r} is unknown; use one of {', '.join(embedded_bars())}")
    segment = max(segments, key=len)
    starts = range(HISTORY, len(segment) - STEPS + 1, EVERY)
    history = torch.stack([segment.bars[i - HISTORY : i] for i in starts])
    paths = torch.stack([segment.bars[i : i + STEPS] for i in starts])
    ends = torch.tensor([i + STEPS - 1 for i in starts])
    days = segment.timestamps[ends] // _DAY_MICROSECONDS
    return history, paths, days, segment.bars[:, 3].log().diff()


def runs(code: WindowCode, length: int, generator: torch.Generator) -> WindowCode:
    """Paths of the same size, made of random runs of ``length`` bars of the sample."""
    paths, steps = code.r.shape
    blocks = -(-steps // length)
    row = torch.randint(paths, (paths, blocks, 1), generator=generator)
    start = torch.randint(steps - length + 1, (paths, blocks, 1), generator=generator)
    column = start + torch.arange(length)
    return WindowCode(*(x[row, column].flatten(1)[:, :steps] for x in code))


def with_returns(code: WindowCode, r: Tensor) -> WindowCode:
    """Bars with other returns; only facts of returns mean something then."""
    return code._replace(r=r)


def candidates(
    code: WindowCode, history: Tensor, paths: Tensor, returns: Tensor
) -> dict[str, Callable[[torch.Generator], WindowCode] | str]:
    """Paths by name, or why there are none."""
    deviation, mean = float(returns.std()), float(returns.mean())

    def normal(g: torch.Generator) -> Tensor:
        return torch.randn(code.r.shape, generator=g, dtype=torch.float64)

    def student(g: torch.Generator) -> Tensor:
        chi = sum(normal(g).square() for _ in range(4))
        return normal(g) * (2 / torch.as_tensor(chi)).sqrt()  # unit variance: t(4) has 2

    made: dict[str, Callable[[torch.Generator], WindowCode] | str] = {
        "iid normal": lambda g: with_returns(code, mean + deviation * normal(g)),
        "iid t(4)": lambda g: with_returns(code, mean + deviation * student(g)),
        "all days shuffled": lambda g: runs(code, 1, g),
        "real, time reversed": lambda g: WindowCode(*(x.flip(1) for x in code)),
        "bootstrap, 20-day blocks": lambda g: runs(code, 20, g),
    }
    for name, rival in make_rivals(history, paths, [returns], 252).items():
        if isinstance(rival, str):
            made[name] = rival
        elif name in (*GARCHES, "gbm", "heston"):
            made[name] = lambda g, rival=rival: encode_path(
                history, rival(history, STEPS, generator=g)
            )
    return made


def null(code: WindowCode, days: Tensor, reference: Reference, seed: int) -> Distances:
    """Real against real: paths that end in the second year of four against those of the fourth,
    which share no bar."""
    year = (days - days.min()) // YEAR % 4
    sides = []
    for which in (1, 3):
        rows = year == which
        part = WindowCode(*(x[rows] for x in code))
        sampling = Sampling(days[rows], YEAR, seed=seed)
        sides.append(measure_facts(part, sampling, reference=reference))
    return summarise(fact_distances(*sides))


def only_returns(each: Distances) -> Distances:
    """Summary over the facts of returns."""
    return summarise({name: d for name, d in each.each.items() if name in RETURNS})


def row(found: Distances) -> tuple[str, ...]:
    """Cells of a candidate."""
    known = {n: d.value for n, d in found.each.items() if d.value is not None}
    largest = sorted(known, key=lambda n: -known[n])[:4]
    return (
        f"{found.median.value:.2f}",
        f"{found.largest.value:.1f}",
        f"{found.within.value:.2f}",
        ", ".join(f"{n} {known[n]:.1f}" for n in largest),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--symbol", default="SP500", help="of the embedded data")
    parser.add_argument("--seed", type=int, default=0, help="of candidates and bootstraps")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    history, paths, days, returns = sample(arguments.symbol)
    code = encode_path(history, paths)
    reference = Reference.of(code)
    real = measure_facts(code, Sampling(days, YEAR, seed=arguments.seed), reference=reference)
    table = Table(
        f"Distances from {arguments.symbol}, facts of returns ({len(RETURNS)})",
        ("", "median d", "max d", "share < 2", "largest four", "CPU-s"),
    )
    start = time.process_time()
    apart = only_returns(null(code, days, reference, arguments.seed))
    table.add("real against real, years apart", *row(apart), time.process_time() - start)
    data = {"real": {name: (m.value, m.error) for name, m in real.items()}}
    for name, make in candidates(code, history, paths, returns).items():
        if isinstance(make, str):
            table.add(name, f"n/a ({make})", "", "", "", "")
            continue
        start = time.process_time()
        made = make(torch.Generator().manual_seed(arguments.seed))
        facts = measure_facts(made, Sampling(seed=arguments.seed), reference=reference)
        found = only_returns(summarise(fact_distances(real, facts)))
        table.add(name, *row(found), time.process_time() - start)
        data[name] = {n: (m.value, m.error) for n, m in facts.items()}
    values = Table(f"{arguments.symbol}, value ± block-bootstrap error", ("fact", "value"))
    for name, fact in real.items():
        values.add(name, str(fact))
    table.print()
    values.print()
    write_results(arguments.output, "facts", [table, values], data)


if __name__ == "__main__":
    run(main)
