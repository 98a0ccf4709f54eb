"""Stages on Ray: a cluster that loses a worker and a node leaves what one process leaves."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parfait.stages.distill import distill
from parfait.stages.simulate import simulate
from parfait.streaming.job import ACCOUNTS
from parfait.utils.errors import UserError
from tests.distill import test_distill_stage as distilled
from tests.streaming.test_stream_stage import (
    begin,
    command,
    config,
    end,
    model,
    no_figures,
    results,
)

__all__ = ["config", "model", "no_figures"]  # fixtures


def test_without_ray_it_is_said(config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"executor=ray needs Ray: pip install 'parfait\[ray\]'"):
        simulate(config("executor=ray"))


class RayTaskError(Exception):
    """What Ray wraps the error of a task in."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def inline(tasks: list[str]) -> SimpleNamespace:
    """The few functions of Ray that are used, in this process; notes the shards of its tasks."""

    def remote(**_: Any) -> Callable[..., SimpleNamespace]:
        def wrap(function: Callable[..., None]) -> SimpleNamespace:
            def call(*given: Any) -> Callable[[], None]:
                tasks.append(given[2])
                return lambda: function(*given)

            return SimpleNamespace(remote=call)

        return wrap

    def get(found: list[Callable[[], None]]) -> None:
        for task in found:
            try:
                task()
            except UserError as error:
                raise RayTaskError(error) from error

    return SimpleNamespace(
        is_initialized=lambda: True,
        cluster_resources=lambda: {"CPU": 1.0},
        remote=remote,
        wait=lambda left: (left[-1:], left[:-1]),
        get=get,
        exceptions=SimpleNamespace(RayTaskError=RayTaskError),
    )


@pytest.mark.usefixtures("no_figures")
def test_tasks_are_shards_and_the_last_word_is_the_callers(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[str] = []
    monkeypatch.setitem(sys.modules, "ray", inline(tasks))
    monkeypatch.setattr(distilled.ontology, "PART", 20)
    simulate(config("executor=ray"))
    simulate(config(f"output_dir={tmp_path / 'alone'}"))
    assert results(tmp_path / "out") == results(tmp_path / "alone")
    distill(distilled.config(tmp_path / "taught", "executor=ray"))
    distill(distilled.config(tmp_path / "by one", f"cache={tmp_path / 'other'}"))
    assert distilled.results(tmp_path / "taught") == distilled.results(tmp_path / "by one")
    assert tasks == ["0/4", "1/4", "2/4", "3/4"] * 2
    large = ["part_paths=5000000", "n_paths=5000000", f"output_dir={tmp_path / 'large'}"]
    with pytest.raises(UserError, match="above the 10,000,000 that"):
        simulate(config("executor=ray", *large))


CLUSTER = """
import os, sys, threading, time
from pathlib import Path
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
import ray
from ray.cluster_utils import Cluster
from parfait.cli import main

accounts = Path(sys.argv.pop(1))
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)

def destroy():
    killed = []
    while len(killed) < 2:
        made = len(list(accounts.glob("*.json")))
        if made > 3 and not killed:  # a worker in the middle of its work
            import psutil
            mine = psutil.Process().children(recursive=True)
            working = [p for p in mine if "ray::_share" in " ".join(p.cmdline())]
            if working:
                working[0].kill()
                killed.append("worker")
        if made > 8 and killed:
            cluster.remove_node(second, allow_graceful=False)
            killed.append("node")
        time.sleep(0.05)
    print("killed", *killed, flush=True)

threading.Thread(target=destroy, daemon=True).start()
main("simulate")
"""


@pytest.mark.slow
def test_a_killed_worker_and_a_lost_node_lose_nothing(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    many = ["n_paths=240"]
    _, _, *rest = command(model, tmp_path / "ray", *many, "executor=ray")
    shown = end(begin(sys.executable, "-c", CLUSTER, str(tmp_path / "ray" / ACCOUNTS), *rest))
    assert "killed worker node" in shown
    end(begin(*command(model, tmp_path / "alone", *many)))
    assert results(tmp_path / "ray") == results(tmp_path / "alone")
