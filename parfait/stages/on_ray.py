"""A stage as tasks of a Ray cluster: each makes one shard, and they share nothing but a folder."""

import importlib
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from parfait.stages.progress import progress_bar
from parfait.utils.errors import UserError

TASKS_PER_CPU = 4  # short tasks: a slow machine then holds up little, a lost one costs little
_RETRIES = 20  # of a task whose worker or machine was lost
EXECUTORS = ("local", "ray")


def on_ray(stage: str, cfg: DictConfig) -> bool:
    """Runs a stage on Ray if ``cfg.executor`` says so; returns whether it did.

    Tasks continue what their folder holds, so that one begun anew elsewhere repeats nothing that is
    finished. At last this process runs the whole stage, which finds everything made but what the
    last shard to finish writes. ``RAY_ADDRESS`` names the cluster; without it Ray starts one on
    this machine.

    Raises:
        UserError: an unknown executor, Ray is not installed, or what a shard raised.
    """
    if cfg.executor not in EXECUTORS:
        raise UserError(f"executor={cfg.executor} is unknown; use one of {', '.join(EXECUTORS)}")
    if cfg.executor == "local":
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("executor=ray needs Ray: pip install 'parfait[ray]'") from error
    cfg = cfg.copy()
    cfg.executor, cfg.output_dir = "local", str(Path(cfg.output_dir).absolute())
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        count = TASKS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_share)
        shards = [f"{number}/{count}" for number in range(count)]
        alone = cfg.copy()
        if "workers" in alone:
            alone.workers = 1  # a task has one CPU
        left = [task.remote(stage, alone, shard, str(Path.cwd())) for shard in shards]
        with progress_bar(Console(), {"shards": "shards on Ray"}) as progress:
            while left:
                progress("shards", count - len(left), count)
                found, left = ray.wait(left)
                ray.get(found)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    finally:
        if ours:
            ray.shutdown()
    _share(stage, cfg, "0/1", str(Path.cwd()))
    return True


def _share(stage: str, cfg: DictConfig, shard: str, home: str) -> None:
    os.chdir(home)  # where relative paths of the settings begin
    cfg = cfg.copy()
    cfg.shard = shard
    run: Any = getattr(importlib.import_module(f"parfait.stages.{stage}"), stage)
    run(cfg)
