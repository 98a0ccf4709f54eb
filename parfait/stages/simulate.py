"""``simulate``: a sentence in, a folder with bars, tables and a report out."""

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parfait.stages.on_ray import on_ray
from parfait.stages.portfolio import hold, read_portfolio, refuse_streamed, show_portfolio
from parfait.stages.progress import progress_bar
from parfait.stages.schema import SimulateConfig, plain, validate
from parfait.stages.stream import Streamer, check_space, is_streamed
from parfait.stages.ticks import refined, tick_options
from parfait.utils import tracking
from parfait.utils.errors import UserError, require
from parfait.utils.printable import printable
from parfait.utils.run_guard import run_guard

if TYPE_CHECKING:
    from parfait.basket import Basket
    from parfait.simulation import Simulation

log = logging.getLogger(__name__)

STREAMED = ("paths.parquet", "scenarios.json", "manifest.json")  # what later stages read
_STEPS = {"read": "reading the sentence", "guide": "drawing guides", "bars": "generating bars"}


def simulate(cfg: DictConfig) -> None:
    """Run every instruction of ``cfg`` and write its results below ``cfg.output_dir``.

    The folder appears when all of it is written. With ``instruction_file`` each line has a
    sub-folder of its own. A large run is streamed instead: its folder fills part by part, which
    other processes may share, and the same call continues it.

    Raises:
        UserError: a setting that cannot be used.
    """
    settings = validate(cfg, SimulateConfig)
    _check(settings)
    if on_ray("simulate", cfg):
        return
    instructions = read_instructions(settings.instruction, settings.instruction_file)
    run = _in_parts if is_streamed(settings) else _in_memory
    run(cfg, settings, instructions, Console())


def _in_parts(
    cfg: DictConfig, settings: SimulateConfig, instructions: list[str], console: Console
) -> None:
    from parfait.stages.findings import Simulations

    refuse_streamed(settings)
    final = Path(settings.output_dir).absolute()
    streamer = Streamer(settings, _layers(cfg, settings), _asked(settings))
    check_space(final, settings.n_paths, settings.horizon, len(instructions))
    part = "" if streamer.shard.whole else str(streamer.shard)
    name = f"simulate.{part}" if part else "simulate"
    with run_guard(cfg, name, shared=True) as folder:
        tracker = tracking.start(cfg, "simulate", folder, _inputs(settings), part)
        made = Simulations(folder)
        for number, instruction in enumerate(instructions, 1):
            place = folder / _place(settings, number)
            place.mkdir(exist_ok=True)
            whole = streamer.run(instruction, place, console, show)
            console.print(Text(f"Folder: {final / _place(settings, number)}"), soft_wrap=True)
            if whole is not None:
                files = [place / name for name in STREAMED]
                made.add(whole, {}, [*files, *sorted(place.glob("*.png"))])
        if len(made.found) == len(instructions):  # else others finish later, and tell
            made.report(tracker)


def _in_memory(
    cfg: DictConfig, settings: SimulateConfig, instructions: list[str], console: Console
) -> None:
    start = time.perf_counter()
    final = Path(settings.output_dir).absolute()
    with run_guard(cfg, "simulate", staged=True) as folder:
        from parfait import report
        from parfait.pipeline import Pipeline
        from parfait.stages.findings import Simulations

        tracker = tracking.start(cfg, "simulate", folder, _inputs(settings))
        made = Simulations(folder)
        pipeline = Pipeline.load(**_layers(cfg, settings))
        ticks = tick_options(settings.ticks)
        holdings = read_portfolio(settings)
        loaded = time.perf_counter() - start
        for number, instruction in enumerate(instructions, 1):
            place = _place(settings, number)
            with progress_bar(console, _STEPS) as progress:
                simulation = pipeline.run(instruction, **_asked(settings), progress=progress)
            if ticks is not None:
                simulation = refined(simulation, ticks)
            saved = simulation.save(folder / place)
            drawn = time.perf_counter()
            held = hold(simulation, holdings)
            saved += [] if held is None else held.save(folder / place)
            pictures = report.write(simulation, folder / place, portfolio=held)
            drawn = time.perf_counter() - drawn
            made.add(simulation, {"load": loaded, "report": drawn}, [*saved, *pictures])
            show(simulation, console)
            show_portfolio(held, console)
            log.info("%s", _sentence(simulation, loaded, drawn), extra={"file_only": True})
            console.print(_sentence(simulation, loaded, drawn), style="dim", highlight=False)
            console.print(Text(f"Report: {final / place / 'report.html'}"), soft_wrap=True)
        made.report(tracker)
    console.print(f"Done in {time.perf_counter() - start:.1f} s.", highlight=False)


def _place(settings: SimulateConfig, number: int) -> Path:
    """Where the results of an instruction lie in the run folder."""
    return Path() if settings.instruction_file is None else Path(f"{number:03d}")


def _inputs(settings: SimulateConfig) -> dict[str, Any]:
    """The files that the bars are made of."""
    from parfait.data.embedded import embedded_folder
    from parfait.microstructure.model import EMBEDDED

    history, correlation = plain(settings.history, text=True), plain(settings.correlation)
    return {
        "model": settings.run or EMBEDDED,
        "history": embedded_folder() / "SP500.parquet" if history is None else history,
        "correlation": correlation if isinstance(correlation, str) else None,
        "reader": settings.semantic.get("run") or settings.semantic.get("base"),
        "instructions": settings.instruction_file,
        "portfolio": settings.portfolio,
    }


def _check(settings: SimulateConfig) -> None:
    """``UserError`` for what the layers below would name by other words."""
    for name in ("history", "asset", "correlation", "portfolio", "run", "instruction_file"):
        value = getattr(settings, name)
        if isinstance(value, bool):
            raise UserError(f"{name}={value} means nothing; 'python simulate.py --help' shows how")
        if value == "":
            raise UserError(f"the setting {name!r} is empty; give {name}=..., or leave it out")
    if settings.history_options is not None and not OmegaConf.is_dict(settings.history_options):
        raise UserError(
            f"history_options={settings.history_options} names no option; give "
            "history_options.price_scale=1e-4 or another option of parfait.data.load_bars"
        )
    require("seed", settings.seed, 0)
    frequency = settings.bars_per_year
    if frequency is not None and not (frequency > 0 and math.isfinite(frequency)):
        raise UserError(
            f"bars_per_year={frequency:g} must be a finite number above 0; "
            "leave it out to estimate it from the history"
        )


def read_instructions(instruction: str | None, file: str | None) -> list[str]:
    """The sentences to simulate: the one given, or the lines of ``file`` that are not blank.

    Raises:
        UserError: none, both, an empty one, or a file that cannot be read as UTF-8 text.
    """
    if instruction is not None and file is not None:
        raise UserError("instruction and instruction_file are both set; give one of them")
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"instruction_file={file} cannot be read: {reason}") from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise UserError(f"instruction_file={file} holds no instruction; write one per line")
        return found
    if instruction is None:
        raise UserError(
            'no instruction; give a sentence in quotes, for example "A calm market, rising slowly"'
        )
    if not instruction.strip():
        raise UserError("the instruction is empty; describe the market in a sentence")
    return [instruction]


def _name_and_options(cfg: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    """The ``name`` of a group, and its other keys."""
    options = cast(dict[str, Any], OmegaConf.to_container(cfg[group], resolve=True))
    return options.pop("name"), options


def _layers(cfg: DictConfig, settings: SimulateConfig) -> dict[str, Any]:
    """Arguments of ``Pipeline.load``."""
    reader, reader_options = _name_and_options(cfg, "semantic")
    process, process_options = _name_and_options(cfg, "sde")
    process_options.pop("guide", None)
    return {
        "run": settings.run,
        "semantic": reader,
        "semantic_options": reader_options,
        "condition": process_options.pop("condition", "pinned"),
        "sde": process,
        "sde_options": process_options,
        "sampler": settings.sampler.name,
        "sampler_steps": settings.sampler.steps,
    }


def _asked(settings: SimulateConfig) -> dict[str, Any]:
    """Arguments of ``Pipeline.run`` beside the instruction."""
    return {
        "history": plain(settings.history, text=True),
        "history_options": plain(settings.history_options),
        "n_paths": settings.n_paths,
        "horizon": settings.horizon,
        "seed": settings.seed,
        "asset": plain(settings.asset, text=True),
        "correlation": plain(settings.correlation),
        "bars_per_year": settings.bars_per_year,
        "guide_every": settings.sde["guide"]["every"],
        "jump_sigmas": settings.sde["guide"]["jump_sigmas"],
        "batch_size": settings.batch_size,
    }


def show(result: "Simulation | Basket", console: Console) -> None:
    """Print the sentence, the warnings, a table of the scenarios and the correlations."""
    from parfait.basket import Basket
    from parfait.report.content import distinct_labels

    if result.instruction:
        words = printable(result.instruction)
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


def _sentence(result: "Simulation | Basket", loaded: float, drawn: float) -> str:
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
