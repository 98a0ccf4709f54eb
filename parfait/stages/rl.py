"""``train`` of agents: episodes in, agents and what they earned in held-out years out."""

import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64
from numpy import ndarray
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from parfait.agents import PPO, Agent, Episodes
from parfait.agents.episodes import ARMS, HeldOut
from parfait.agents.judge import (
    METRICS,
    RIVALS,
    compare,
    episode_rows,
    rival_policies,
    together,
    trade,
)
from parfait.data import fingerprint
from parfait.draft import Progress
from parfait.microstructure.model import EMBEDDED
from parfait.stages.data_settings import data_files
from parfait.stages.progress import progress_bar
from parfait.utils import lineage, tracking
from parfait.utils.errors import UserError
from parfait.utils.files import json_bytes, parquet_bytes, sweep_temporaries, write_files
from parfait.utils.instantiate import instantiate
from parfait.utils.run_config import redact, redact_override
from parfait.utils.run_guard import run_guard
from parfait.utils.seeding import derive_seed
from parfait.utils.threads import one_thread

log = logging.getLogger(__name__)

AGENTS, SUMMARY, RESULTS, PAGE = "agents", "summary.json", "results.parquet", "report.html"
OBJECTIVE = "test/loss"
DRAWS = 1000  # of the bootstrap


def rl(cfg: DictConfig) -> float:
    """Trains ``cfg.model.seeds`` agents in every arm of ``cfg.data`` and judges them.

    ``output_dir`` gets ``agents/ARM_K.safetensors`` as they are finished, then ``results.parquet``
    (a row per arm, seed, symbol and episode of the held-out years), ``summary.json``, figures and
    ``report.html``. A run that was stopped continues with the agents it lacks.

    Returns:
        What a sweep minimises: minus the log return a year in the held-out years, averaged over
        arms and seeds.

    Raises:
        UserError: a setting or the data cannot be used.
    """
    _check(cfg)
    start, console = time.perf_counter(), Console()
    with run_guard(cfg, "train") as folder, one_thread():
        from parfait.report.agents import write_report

        episodes: Episodes = instantiate(cfg.data)
        model: PPO = instantiate(cfg.model)
        test = episodes.test()
        tracker = tracking.start(cfg, "rl", folder, _inputs(cfg, episodes))
        frequency, settings = episodes.bars_per_year, model.settings
        rivals = {  # first: they find mistakes in settings of the environment
            name: trade(test, policies, frequency, settings)
            for name, policies in rival_policies(model.seeds, model.weights, cfg.seed).items()
        }
        with progress_bar(console, {"train": "agents"}) as progress:
            bars = _training_bars(episodes, progress)
            agents = _agents(cfg.seed, episodes, bars, model, folder / AGENTS, progress)
        traded = {
            arm: trade(test, [a.act for a in each], frequency, settings)
            for arm, each in agents.items()
        } | rivals
        pairs = [(a, b) for i, a in enumerate(agents) for b in list(agents)[:i]]
        pairs += [(arm, "hold") for arm in agents]
        rows = compare(traded, pairs, bars_per_year=frequency, draws=DRAWS, seed=cfg.seed)
        loss = -float(np.mean([together(traded[arm])[0].mean() for arm in agents]) * frequency)
        told = {
            "objective": {OBJECTIVE: loss},
            "labels": {k: (ARMS | RIVALS)[k] for k in traded},
            "metrics": METRICS,
            "rows": rows,
            "agents": {arm: [a.about for a in each] for arm, each in agents.items()},
            "data": _about(episodes, bars, test, model),
            "settings": _lasting(cfg),
            "command": _command(),
            "commit": lineage.commit(),
        }
        results = pl.DataFrame(list(episode_rows(traded, test, frequency)))
        write_files(folder, {RESULTS: parquet_bytes(results), SUMMARY: json_bytes(told)})
        curves = {name: np.cumsum(together(t)[0], -1) for name, t in traded.items()}
        count = len(test.times) // len(episodes.frames)
        pictures = write_report(told, curves, test.times[:count].ravel(), folder)
        seconds = time.perf_counter() - start
        tracker.report(
            {OBJECTIVE: loss, "seconds": {"train": seconds}, **_numbers(rows)},
            kind="agents",
            outputs={"agents": folder / AGENTS, "results": folder / RESULTS},
            tables={"comparison": rows},
            figures=pictures,
        )
        log.info("%s = %.5g; the agents are in %s.", OBJECTIVE, loss, folder / AGENTS)
    console.print(f"Done in {seconds:.1f} s.", highlight=False)
    console.print(Text(f"Report: {Path(cfg.output_dir) / PAGE}"), soft_wrap=True)
    return loss


def _check(cfg: DictConfig) -> None:
    """``UserError`` for settings of networks that mean nothing to agents."""
    for name in ("ckpt", "ckpt_path"):
        if cfg[name] is not None:
            raise UserError(
                f"{name}={cfg[name]}: agents start from random weights; a stopped run continues "
                "by its output_dir alone"
            )
    if cfg.trainer.get("fast_dev_run"):
        raise UserError("debug=fdr is for networks; agents have debug=rl")
    if cfg.optimized_metric != OBJECTIVE:
        raise UserError(
            f"optimized_metric={cfg.optimized_metric} is not known of agents; it is {OBJECTIVE}"
        )


def _training_bars(episodes: Episodes, progress: Progress) -> dict[str, Float64[ndarray, "..."]]:
    """What the arms are made of; history is in all of them."""
    bars = {"history": episodes.history}
    if "scenarios" in episodes.arms:
        bars["scenarios"] = episodes.scenarios(progress)
    if "bootstrap" in episodes.arms:
        bars["bootstrap"] = episodes.bootstrap()
    return bars


def _agents(
    seed: int,
    episodes: Episodes,
    bars: Mapping[str, ndarray],
    model: PPO,
    place: Path,
    progress: Progress,
) -> dict[str, list[Agent]]:
    """Every agent as it is stored; those that are missing are trained."""
    from parfait.envs import Market

    sweep_temporaries(place)
    found: dict[str, list[Agent]] = {}
    done, total = 0, len(episodes.arms) * model.seeds
    for arm in episodes.arms:
        parts, shares = [bars["history"]], [1.0]
        if arm != "history":
            parts, shares = [*parts, bars[arm]], [1 - episodes.share, episodes.share]
        market = Market.of(
            np.concatenate(parts),
            bars_per_year=episodes.bars_per_year,
            past=episodes.past,
            weight=np.concatenate(
                [np.full(len(p), s / len(p)) for p, s in zip(parts, shares, strict=True)]
            ),
        )
        found[arm] = []
        for k in range(model.seeds):
            file = place / f"{arm}_{k}.safetensors"
            if not file.is_file():
                about = {"arm": arm, "k": k, "train_end": episodes.train_end}
                # The arms share first weights: their differences are paired.
                agent = model.train(market, derive_seed(seed, "agent", k), about)
                write_files(place, {file.name: agent.to_bytes()})
                log.info("%s: agent %d of %d.", ARMS[arm], k + 1, model.seeds)
            found[arm].append(Agent.load(file))
            done += 1
            progress("train", done, total)
    return found


def _about(
    episodes: Episodes, bars: Mapping[str, ndarray], test: HeldOut, model: PPO
) -> dict[str, Any]:
    """What was traded, in training and in the test."""
    trained = [_moments(name, part, episodes) for name, part in bars.items()]
    if "scenarios" in bars:
        said = np.repeat([s.sentence for s in episodes.starting], episodes.paths)
        for text in dict.fromkeys(str(row["text"]) for row in episodes.sentences):
            if (said == text).any():
                trained.append(_moments(f"“{text}”", bars["scenarios"][said == text], episodes))
    return {
        "symbols": list(episodes.frames),
        "sha256": fingerprint(episodes.frames),
        "train_end": episodes.train_end,
        "first": str(test.times.min())[:10],
        "last": str(test.times.max())[:10],
        "episodes": len(test.bars),
        "horizon": test.times.shape[1],
        "seeds": model.seeds,
        "steps": model.steps,
        "bars_per_year": episodes.bars_per_year,
        "trained_on": trained,
    }


def _moments(name: str, bars: ndarray, episodes: Episodes) -> dict[str, Any]:
    """Of the bars that are traded: log return a year, volatility of a bar times sqrt(bars)."""
    steps = np.diff(np.log(bars[:, episodes.past - 1 :, 3]), axis=1)
    return {
        "name": name,
        "paths": len(bars),
        "log_return": float(steps.mean() * episodes.bars_per_year),
        "volatility": float(steps.std() * np.sqrt(episodes.bars_per_year)),
    }


def _inputs(cfg: DictConfig, episodes: Episodes) -> dict[str, Any]:
    """The files that episodes are cut from, and the network that dresses scenarios."""
    made = "scenarios" in episodes.arms
    return {
        "data": data_files(cfg.data.path),
        "model": (episodes.run or EMBEDDED) if made else None,
    }


def _lasting(cfg: DictConfig) -> dict[str, Any]:
    """The settings that decide what comes out."""
    plain: Any = redact(OmegaConf.to_container(cfg, resolve=True))
    del plain["data"]["cache"]
    return {name: plain[name] for name in ("seed", "data", "model")}


def _command() -> str | None:
    """The command line, without what only says where the run is."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return None
    given = [redact_override(word) for word in HydraConfig.get().overrides.task]
    kept = [word for word in given if not word.startswith("output_dir=")]
    return shlex.join(["python", "train.py", *kept])


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``arm/metric`` and ``arm - other/metric``."""
    names = (f"{r['arm']} - {r['minus']}" if r["minus"] else r["arm"] for r in rows)
    return {f"{n}/{r['metric']}": r["value"] for n, r in zip(names, rows, strict=True)}
