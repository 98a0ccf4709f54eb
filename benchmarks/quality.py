"""Are the bars realistic? Judges and stylised facts on held-out windows, beside null and rivals.

    python benchmarks/quality.py [--run FOLDER] [--fast]

Guided rows know every 4th true close (8 of 32 degrees of freedom), so compare guided with guided.
A network row is *neutral* (no regime is told), told a regime drawn from the label posterior of the
*history* (what a forecaster may know), or of the *future* (an upper bound that no forecaster has;
it shows what a correct regime is worth). ``SDE guides`` replaces the true closes by Bates paths.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    EVERY,
    HORIZON,
    PURGE_DAYS,
    QUARTER_DAYS,
    TRAIN_END,
    Table,
    Windows,
    load_model,
    load_windows,
    write_results,
)
from torch import Tensor

from parfait.labels import label_windows
from parfait.metrics.baselines import bootstrap_bars, bridge_bars, jitter_bars
from parfait.metrics.functional.c2st import Verdict, c2st, c2st_null, control_rows
from parfait.metrics.functional.facts import stylised_facts
from parfait.metrics.functional.validity import guide_error, validity
from parfait.metrics.functional.windows import encode_window, judge_channels
from parfait.microstructure import Microstructure
from parfait.regime import Regime
from parfait.sde import Bates, Guide, make_guide
from parfait.utils.errors import UserError

CELLS = tuple((view, judge) for view in ("bar", "close") for judge in ("cnn", "gru"))
FACTS = {
    "std": "std",
    "kurtosis": "kurtosis",
    "acf_abs_1": "acf|r| 1",
    "acf_abs_1_10": "1-10",
    "acf_abs_1_within": "1 own mean",
    "leverage_1_5": "leverage",
    "range_ratio": "range/vol",
    "volume_abs": "c(V,|r|)",
    "volume_range": "c(V,range)",
    "acf_volume": "acf V",
    "zero_wick": "wick=0",
    "zero_gap": "gap=0",
    "zero_volume": "V=0",
}
RECENT_DAYS = 5 * 365
Sample = tuple[Tensor, Guide | None]  # bars, and the guide they had to follow


def history_regime(
    windows: Windows, generator: torch.Generator, *, measured: bool = False
) -> Regime:
    """One draw per window from the label posterior of its history.

    ``measured`` leaves what a window cannot tell at the centre of its prior: drawing jumps as well
    would lend every calm history those of a wild one.
    """
    labels = label_windows(windows.history, windows.bars_per_year)
    kept = labels.identified if measured else torch.ones_like(labels.identified)
    return replace(labels, scale=labels.scale * kept).draw(generator)


def bates_guide(windows: Windows, regime: Regime, generator: torch.Generator) -> Guide:
    """Bates paths from each window's last close, anchored as in the pipeline.

    A label's volatility is the total one, so the variance of the drawn jumps is taken out of it.
    """
    sigma, v0 = (
        torch.as_tensor(x, dtype=torch.float64)
        for x in (regime.volatility, regime.initial_volatility)
    )
    size = torch.as_tensor(regime.jump_mean) ** 2 + torch.as_tensor(regime.jump_std) ** 2
    share = (torch.as_tensor(regime.jump_intensity) * size / sigma.square()).clamp_max(0.5)
    keep = (1 - share).sqrt()
    intensity = share * sigma.square() / size.clamp_min(1e-12)
    told = replace(
        regime,
        volatility=sigma * keep,
        initial_volatility=v0 * keep,
        jump_intensity=intensity,
        mean_reversion=torch.zeros_like(sigma),
        hurst=torch.full_like(sigma, 0.5),
    )
    years = HORIZON / windows.bars_per_year
    paths = Bates.from_regime(told).sample(len(windows), HORIZON, years, generator=generator)
    bar_sd = sigma / windows.bars_per_year**0.5
    guide, _ = make_guide(paths, 1.0, every=EVERY, bar_sd=bar_sd)
    return Guide(guide.level * windows.history[:, -1:, 3], guide.anchored)


def candidates(
    model: Microstructure, train: Windows, held: Windows
) -> dict[str, Callable[[torch.Generator], Sample]]:
    """Generators of one set of bars, by the name of their row."""
    truth = held.guide()
    context = torch.cat([held.history[:, -1:], held.future], dim=1)
    future = label_windows(context, held.bars_per_year)

    def network(guide: Guide, regime: Regime | None, g: torch.Generator) -> Sample:
        frequency = held.bars_per_year
        bars = model.generate(held.history, guide, regime, bars_per_year=frequency, generator=g)
        return bars, guide

    def on_sde(told: bool, g: torch.Generator) -> Sample:
        regime = history_regime(held, g, measured=True)
        return network(bates_guide(held, regime, g), regime if told else None, g)

    def bootstrap(source: Windows, g: torch.Generator) -> Sample:
        pool = source.history, source.future
        bars = bootstrap_bars(*pool, held.history, HORIZON, guide=truth, generator=g)
        return bars, truth

    recent = train.rows(torch.nonzero(train.days > train.days.max() - RECENT_DAYS)[:, 0])

    return {
        "network, neutral": lambda g: network(truth, None, g),
        "network, regime of the history": lambda g: network(truth, history_regime(held, g), g),
        "network, regime of the future (oracle)": lambda g: network(truth, future.draw(g), g),
        "network on SDE guides, neutral": lambda g: on_sde(False, g),
        "network on SDE guides, their regime": lambda g: on_sde(True, g),
        "block bootstrap projected on guide": lambda g: bootstrap(train, g),
        "the same, from the last 5 years": lambda g: bootstrap(recent, g),
        "Brownian bridge on guide": lambda g: (
            bridge_bars(held.history, HORIZON, guide=truth, generator=g),
            truth,
        ),
        "GBM, no guide": lambda g: (bridge_bars(held.history, HORIZON, generator=g), None),
    }


class Report:
    """Tables and numbers, filled row by row."""

    def __init__(self, held: Windows, steps: int) -> None:
        self.held, self.asked = held, {"purge": PURGE_DAYS, "steps": steps}
        self.real = judge_channels(encode_window(held.history, held.future))
        self.facts = Table(
            "Stylised facts (returns in units of the history)", ("", *FACTS.values())
        )
        self.scores = Table(
            "C2ST: signed balanced accuracy - 1/2, mean ± sd over judges",
            ("", *(f"{view} {judge}" for view, judge in CELLS), "CPU-s"),
        )
        self.rows: dict[str, dict[str, Any]] = {}

    def add_facts(self, name: str, history: Tensor, bars: Tensor) -> None:
        """Facts of a set of windows."""
        values = stylised_facts(encode_window(history, bars))
        self.facts.add(name, *(values[key] for key in FACTS))
        self.rows.setdefault(name, {})["facts"] = values

    def add_scores(self, name: str, ask: Callable[..., Verdict]) -> None:
        """Puts one question to every judge in every view."""
        start = time.process_time()
        verdicts = {f"{v}/{j}": ask(view=v, judge=j, **self.asked) for v, j in CELLS}
        texts = [f"{v.mean:.3f} ± {v.sd:.3f}" for v in verdicts.values()]
        self.scores.add(name, *texts, f"{time.process_time() - start:.0f}")
        self.rows.setdefault(name, {})["c2st"] = {cell: record(v) for cell, v in verdicts.items()}
        print(f"{name}: {', '.join(texts)}", file=sys.stderr, flush=True)

    def against_real(self, name: str, codes: list[Tensor]) -> None:
        """Generated codes, one set per sampling seed, against the real ones."""
        self.add_scores(name, lambda **how: c2st(self.real, codes, self.held.days, **how))

    def add_nulls(self, repeats: int) -> None:
        """Real against real: the chance level of two samples, and of one set of histories."""
        for name, block, times in (("quarters", QUARTER_DAYS, repeats), ("weeks", 7, 2)):
            self.add_scores(
                f"real vs real, alternate {name}",
                lambda b=block, t=times, **how: c2st_null(
                    self.real, self.held.days, block=b, repeats=t, **how
                ),
            )

    def add_controls(self) -> None:
        """What a judge must see through before its word counts."""
        generator = torch.Generator().manual_seed(0)
        jittered = encode_window(self.held.history, jitter_bars(self.held.future, 0.01, generator))
        controls = control_rows(self.real, judge_channels(jittered), generator)
        for name, code in controls.items():
            self.against_real(f"control: {name}", [code])

    def add_candidate(
        self, name: str, generate: Callable[[torch.Generator], Sample], samples: int
    ) -> None:
        """Validity, facts and scores of one generator."""
        made = [generate(torch.Generator().manual_seed(seed)) for seed in range(1, samples + 1)]
        history = self.held.history
        self.add_facts(name, history.repeat(samples, 1, 1), torch.cat([bars for bars, _ in made]))
        errors = [guide_error(bars, g.level, g.anchored) for bars, g in made if g is not None]
        self.rows[name]["guide_error"] = max(errors, default=0.0)
        self.rows[name]["valid_bars"] = min(validity(bars)["valid"] for bars, _ in made)
        self.against_real(name, [judge_channels(encode_window(history, bars)) for bars, _ in made])


def record(verdict: Verdict) -> dict[str, Any]:
    """Numbers of a cell for the JSON file."""
    return {
        "score": verdict.mean,
        "sd": verdict.sd,
        "auc": float(verdict.auc.mean()),
        "test_se": float(verdict.standard_error.mean()),
        "judges": verdict.score.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--fast", action="store_true", help="judges of 100 steps, one sample")
    parser.add_argument("--only", default="", help="only candidates whose name holds this text")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps, samples, repeats = (100, 1, 2) if arguments.fast else (300, 2, 5)
    start = time.process_time()
    model = load_model(arguments.run)
    train, held = load_windows()
    report = Report(held, steps)
    report.add_facts("real, training period", train.history, train.future)
    report.add_facts("real, held out", held.history, held.future)
    if not arguments.only:
        report.add_nulls(repeats)
        report.add_controls()
    for name, generate in candidates(model, train, held).items():
        if arguments.only in name:
            report.add_candidate(name, generate, samples)
    report.facts.print()
    report.scores.print()
    checked = [row for row in report.rows.values() if "valid_bars" in row]
    print(
        f"{len(held)} held-out windows after {TRAIN_END} and an embargo, {len(train)} of training; "
        f"4 judges x {samples} samples, {steps} steps; each judge is tested on another quarter of "
        f"the period, purged by {PURGE_DAYS} days.\n"
        f"valid bars {min((row['valid_bars'] for row in checked), default=1):.2%}, largest guide "
        f"error {max((row['guide_error'] for row in checked), default=0):g}; "
        f"{time.process_time() - start:.0f} CPU-s"
    )
    settings = {
        "run": arguments.run,
        "model": model.fingerprint,
        "windows": len(held),
        "samples": samples,
        "steps": steps,
    }
    data = {"settings": settings, "rows": report.rows}
    write_results(arguments.output, "quality", [report.scores, report.facts], data)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
