"""The command line that makes a run again, or the Python call where none can."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from typing import Any

from parfait.basket import Basket
from parfait.likeness import LIKE, like_summary
from parfait.microstructure.generate import DEFAULT_SAMPLER, DEFAULT_STEPS
from parfait.pipeline import Pipeline
from parfait.sde import load_process
from parfait.semantic import OntologyReader
from parfait.simulation import Simulation
from parfait.stress import Stress
from parfait.utils.argv import quote

# What each of these arguments of ``Pipeline`` is called on the command line.
SETTINGS = {
    "bars_per_year": "bars_per_year",
    "guide_every": "sde.guide.every",
    "jump_sigmas": "sde.guide.jump_sigmas",
    "sampler": "sampler",
    "sampler_steps": "sampler.steps",
}
_WORD = re.compile(r"[\w./^-]+")  # what Hydra reads as a key or a value without quotes


def reproduce(simulation: Simulation, portfolio: Stress | None = None) -> str:
    """The command line, or the Python call where regimes were given instead of a sentence.

    Args:
        simulation: what it makes again.
        portfolio: what was held; its file is named where it came from one.
    """
    s = simulation
    told = told_by(s)
    if told is None:
        return python_call(s, "scenarios, history", portfolio)
    options = f"n_paths={s.total_paths} horizon={s.horizon} seed={s.seed}"
    if s.whole is not None:
        options += f" stream=true part_paths={s.whole.part_paths}"
    parts = [f"python simulate.py {told} {options} sde={s.sde}"]
    if s.condition != "pinned":
        parts.append(f"sde.condition={s.condition}")
    if s.history_source is not None:
        plain = re.fullmatch(r"[\w./ -]+", s.history_source)  # blanks need the shell's quotes alone
        source = s.history_source if plain else word(s.history_source)
        parts.append(f"history={shlex.quote(source)}")
    if s.asset is not None:
        parts.append(f"asset={s.asset}")
    return " ".join([*parts, *options_given(s, portfolio)])


def told_by(s: Simulation) -> str | None:
    """What the command begins with: the sentence, ``like=`` or ``scenarios=``; ``None`` for regimes
    as numbers.
    """
    if s.instruction is not None:
        return shlex.quote(s.instruction)
    like = like_summary(s.scenarios).get(LIKE, {})
    given = [f"{name}={shlex.quote(like[name])}" for name in (LIKE, "like_history") if name in like]
    if s.scenarios.file is not None:
        given = [f"scenarios={shlex.quote(word(s.scenarios.file))}"]
    return " ".join(given) or None


def options_given(s: Simulation, portfolio: Stress | None) -> list[str]:
    """The trained network, the reader of the sentence, the solver and the guide and options of the
    process where they are not the usual ones, of the reader of files, the portfolio's file, ticks.
    """
    made = [("run", s.trained)]
    if s.instruction is not None and s.scenarios.source != OntologyReader.source:
        made += [("semantic", s.scenarios.source)]
    made += [(f"semantic.{k}", v) for k, v in s.semantic_options.items()]
    made += [(SETTINGS[k], v) for k, v in unusual(s).items()]
    given = made + [(f"sde.{k}", v) for k, v in process_options(s).items()]
    given += [(f"history_options.{k}", v) for k, v in s.history_options.items()]
    given += [("portfolio", None if portfolio is None else portfolio.holdings.source)]
    ticks = [s.tick_model.command] if s.tick_model is not None and s.tick_model.command else []
    return [*(f"{k}={shlex.quote(word(v))}" for k, v in given if v is not None), *ticks]


def python_call(s: Simulation, given: str, portfolio: Stress | None, **more: Any) -> str:
    """The call of Python, with ``given`` for what has no text and ``more`` arguments of ``run``."""
    load = {"run": s.trained, "sde": s.sde, "sde_options": process_options(s)}
    load |= {"condition": s.condition, "semantic_options": s.semantic_options}
    if s.instruction is not None:
        load["semantic"] = s.scenarios.source
    run = {"n_paths": s.total_paths, "horizon": s.horizon, "seed": s.seed, **unusual(s), **more}
    layers = signature(Pipeline.load).parameters
    load |= {k: run.pop(k) for k in tuple(run) if k in layers}
    told = {k: v for k, v in load.items() if k == "sde" or (v and v != layers[k].default)}
    loaded, ran = (", ".join(f"{k}={v!r}" for k, v in each.items()) for each in (told, run))
    call = f"Pipeline.load({loaded}).run({given}, {ran})"
    source = None if portfolio is None else portfolio.holdings.source
    return call if source is None else f"stress({call}, {source!r})"


def process_options(s: Simulation) -> dict[str, Any]:
    """Options of the process that are not its own defaults."""
    usual = {f.name: f.default for f in fields(load_process(s.sde))}
    return {k: v for k, v in s.sde_options.items() if v != usual.get(k)}


def unusual(s: Simulation) -> dict[str, Any]:
    """Arguments of ``Pipeline`` on the solver, the guide and the frequency that are not its own."""
    usual = {
        "sampler": DEFAULT_SAMPLER,
        "sampler_steps": DEFAULT_STEPS[s.sampler],
        "bars_per_year": s.bars_per_year if not s.frequency_given else None,
    }
    usual |= {
        k: signature(Pipeline.run).parameters[k].default for k in ("guide_every", "jump_sigmas")
    }
    found = {name: getattr(s, name) for name in SETTINGS}
    return {k: v for k, v in found.items() if v is not None and v != usual[k]}


def word(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {word(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(word, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./-]+", value) else quote(value)
    return json.dumps(value)


def reproduce_basket(basket: Basket, portfolio: Stress | None = None) -> str:
    """The command line, or the Python call where it cannot say what was given."""
    s, simulations = basket.first, basket.simulations
    options = f"n_paths={s.n_paths} horizon={s.horizon} seed={s.seed}"
    sources = [one.history_source for one in simulations.values()]
    words = [*basket.symbols, *(source or " " for source in sources)]
    said = {told_by(one) for one in simulations.values()}
    told = said.pop() if len(said) == 1 else None
    if told is None or not all(_WORD.fullmatch(word) for word in words):
        what = "scenarios" if s.instruction is None else "sentence"
        correlation = basket.requested.tolist()
        return python_call(s, f"{what}, histories", portfolio, correlation=correlation)
    parts = [f"python simulate.py {told} {options} sde={s.sde}"]
    if s.condition != "pinned":
        parts.append(f"sde.condition={s.condition}")
    pairs = (f"{name}: {source}" for name, source in zip(basket.symbols, sources, strict=True))
    history = str(sources[0]) if len(set(sources)) == 1 else f"{{{', '.join(pairs)}}}"
    parts.append(f"history={shlex.quote(history)}")
    classes = [f"{name}: {one.asset}" for name, one in simulations.items() if one.asset]
    if classes:
        parts.append(f"asset={shlex.quote('{' + ', '.join(classes) + '}')}")
    if not basket.estimated:
        parts.append(f"correlation={shlex.quote(str(basket.requested.tolist()).replace(' ', ''))}")
    return " ".join([*parts, *options_given(s, portfolio)])
