"""``simulate``: a sentence in, a folder with bars, tables and a report out."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from parfait.stages.on_ray import on_ray
from parfait.stages.portfolio import hold, read_portfolio, refuse_streamed, show_portfolio
from parfait.stages.progress import progress_bar
from parfait.stages.schema import PlayConfig, SimulateConfig, plain, validate
from parfait.stages.shown import sentence, show
from parfait.stages.sources import read_sources
from parfait.stages.stream import Streamer, check_space, is_streamed
from parfait.stages.ticks import refined, tick_options
from parfait.utils import tracking
from parfait.utils.errors import UserError, require
from parfait.utils.run_guard import run_guard

log = logging.getLogger(__name__)

STREAMED = ("paths.parquet", "scenarios.json", "manifest.json")  # what later stages read
_STEPS = {"read": "reading the sentence", "guide": "drawing guides", "bars": "generating bars"}


def simulate(cfg: DictConfig) -> None:
    """Run every instruction of ``cfg``, or its scenarios, and write results below its folder.

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
    sources = read_sources(settings)
    run = _in_parts if is_streamed(settings) else _in_memory
    run(cfg, settings, sources, Console())


def _in_parts(
    cfg: DictConfig, settings: SimulateConfig, sources: Sequence[Any], console: Console
) -> None:
    from parfait.stages.findings import Simulations

    refuse_streamed(settings)
    final = Path(settings.output_dir).absolute()
    streamer = Streamer(settings, layers(cfg, settings), _asked(settings))
    check_space(final, settings.n_paths, settings.horizon, len(sources))
    part = "" if streamer.shard.whole else str(streamer.shard)
    name = f"simulate.{part}" if part else "simulate"
    with run_guard(cfg, name, shared=True) as folder:
        tracker = tracking.start(cfg, "simulate", folder, _inputs(settings), part)
        made = Simulations(folder)
        for number, source in enumerate(sources, 1):
            place = folder / _place(settings, number)
            place.mkdir(exist_ok=True)
            whole = streamer.run(source, place, console, show)
            console.print(Text(f"Folder: {final / _place(settings, number)}"), soft_wrap=True)
            if whole is not None:
                files = [place / name for name in STREAMED]
                made.add(whole, {}, [*files, *sorted(place.glob("*.png"))])
        if len(made.found) == len(sources):  # else others finish later, and tell
            made.report(tracker)


def _in_memory(
    cfg: DictConfig, settings: SimulateConfig, sources: Sequence[Any], console: Console
) -> None:
    start = time.perf_counter()
    final = Path(settings.output_dir).absolute()
    with run_guard(cfg, "simulate", staged=True) as folder:
        from parfait import report
        from parfait.pipeline import Pipeline
        from parfait.stages.findings import Simulations

        tracker = tracking.start(cfg, "simulate", folder, _inputs(settings))
        made = Simulations(folder)
        pipeline = Pipeline.load(**layers(cfg, settings))
        ticks = tick_options(settings.ticks)
        holdings = read_portfolio(settings)
        loaded = time.perf_counter() - start
        for number, source in enumerate(sources, 1):
            place = _place(settings, number)
            with progress_bar(console, _STEPS) as progress:
                simulation = pipeline.run(source, **_asked(settings), progress=progress)
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
            log.info("%s", sentence(simulation, loaded, drawn), extra={"file_only": True})
            console.print(sentence(simulation, loaded, drawn), style="dim", highlight=False)
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
        "like_history": plain(settings.like_history, text=True),
        "correlation": correlation if isinstance(correlation, str) else None,
        "reader": settings.semantic.get("run") or settings.semantic.get("base"),
        "events": settings.semantic.get("events"),
        "instructions": settings.instruction_file,
        "scenarios": settings.scenarios,
        "portfolio": settings.portfolio,
    }


def _check(settings: SimulateConfig) -> None:
    """``UserError`` for what the layers below would name by other words."""
    names = ("history", "like_history", "asset", "correlation", "portfolio", "run")
    for name in (*names, "instruction_file", "scenarios"):
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


def _name_and_options(cfg: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    """The ``name`` of a group, and its other keys."""
    options = cast(dict[str, Any], OmegaConf.to_container(cfg[group], resolve=True))
    return options.pop("name"), options


def layers(cfg: DictConfig, settings: SimulateConfig | PlayConfig) -> dict[str, Any]:
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
