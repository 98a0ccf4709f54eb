"""Every option of every configuration group composes, and means what its targets understand."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from parfait.microstructure.samplers import SAMPLERS
from parfait.regime import Regime
from parfait.sde import SdeWarning, load_process
from parfait.semantic import load_reader
from parfait.stages.schema import (
    DistillConfig,
    EvaluateConfig,
    LabelConfig,
    MergeConfig,
    SimulateConfig,
    TrainConfig,
    validate,
)
from parfait.utils.errors import UserError
from parfait.utils.instantiate import FORBIDDEN_KEYS, check, walk
from parfait.utils.paths import conf_dir, config_groups, top_level_keys

SCHEMAS = {
    "label": LabelConfig,
    "distill": DistillConfig,
    "train": TrainConfig,
    "merge": MergeConfig,
    "simulate": SimulateConfig,
    "evaluate": EvaluateConfig,
}
# Readers that cannot do without a setting of the user, and what they say.
NEEDY = {"json_lm": "semantic.base", "openai": "semantic.model", "qwen2": "semantic.run"}
GROUPS = {g: options for g, options in config_groups().items() if g not in ("hydra", "local")}


def defaults_of(stage: str) -> set[str]:
    entries = yaml.safe_load((conf_dir() / f"{stage}.yaml").read_text())["defaults"]
    return {key.removeprefix("optional ") for e in entries if e != "_self_" for key in e}


def cases() -> Iterator[Any]:
    for stage in SCHEMAS:
        for group in sorted(defaults_of(stage) & set(GROUPS)):
            for option in GROUPS[group]:
                yield pytest.param(stage, group, option, id=f"{stage}-{group}-{option}")


def composed(stage: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(stage, list(overrides))


def plain(cfg: DictConfig) -> dict[str, Any]:
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


@pytest.mark.parametrize(("stage", "group", "option"), list(cases()))
def test_every_option_composes_and_is_understood(stage: str, group: str, option: str) -> None:
    cfg = composed(stage, f"{group}={option}")
    validate(cfg, SCHEMAS[stage])
    check(plain(cfg))  # every target resolves, every key is a parameter of its target


@pytest.mark.parametrize("option", GROUPS["sde"])
def test_processes_know_their_options(option: str) -> None:
    node = plain(composed("simulate", f"sde={option}"))["sde"]
    options = {k: v for k, v in node.items() if k not in ("name", "guide", "condition")}
    assert node["condition"] == "pinned"
    process = load_process(node["name"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdeWarning)  # a process that ignores part of a regime
        process.from_regime(Regime(drift=0.1, volatility=0.2), **options)
    with pytest.raises(UserError, match="colour"):
        process.from_regime(Regime(drift=0.1, volatility=0.2), colour="red")


def test_samplers_and_readers_exist() -> None:
    for option in GROUPS["sampler"]:
        assert plain(composed("simulate", f"sampler={option}"))["sampler"]["name"] in SAMPLERS
    for option in GROUPS["semantic"]:
        options = plain(composed("simulate", f"semantic={option}"))["semantic"]
        if option in NEEDY:
            with pytest.raises(UserError, match=NEEDY[option]):
                load_reader(**options)
        else:
            assert callable(load_reader(**options).read)


def test_every_group_belongs_to_a_stage() -> None:
    assert set(GROUPS) <= set().union(*map(defaults_of, SCHEMAS))


@pytest.mark.parametrize("stage", SCHEMAS)
def test_defaults_lists_end_with_what_must_win(stage: str) -> None:
    entries = yaml.safe_load((conf_dir() / f"{stage}.yaml").read_text())["defaults"]
    assert entries[0] == "_self_"
    keys = [key for e in entries[1:] for key in e]
    assert keys[-3:] == (["optional local", "launcher", "debug"] if stage == "train" else keys[-3:])


def test_a_local_configuration_is_optional_and_wins(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text("# @package _global_\nn_paths: 3\n")
    cfg = composed("simulate", f"hydra.searchpath=[file://{tmp_path}]")
    assert cfg.n_paths == 3
    assert composed("simulate").n_paths == 100


def test_groups_are_two_levels_deep_at_most() -> None:
    deep = [p for p in conf_dir().rglob("*.yaml") if len(p.relative_to(conf_dir()).parts) > 2]
    assert {p.relative_to(conf_dir()).parts[0] for p in deep} <= {"hydra"}  # groups of Hydra's own


def test_an_experiment_begins_with_the_command_that_runs_it() -> None:
    for file in sorted((conf_dir() / "experiment").glob("*.yaml")):
        first, second = file.read_text().splitlines()[:2]
        assert "# @package _global_" in (first, second)
        assert f"experiment={file.stem}" in first + second


def test_debug_runs_are_short_and_unrecorded() -> None:
    for option in GROUPS["debug"]:
        cfg = composed("train", f"debug={option}")
        assert cfg.trainer.accelerator == "cpu"
        assert cfg.trainer.detect_anomaly
        assert not cfg.logger
        assert not cfg.callbacks
        assert cfg.output_dir.startswith("outputs/debug/")


def test_nothing_hides_in_the_configuration() -> None:
    for file in conf_dir().rglob("*.yaml"):
        content = yaml.safe_load(file.read_text()) or {}
        for where, node in walk(content):
            assert not FORBIDDEN_KEYS & set(map(str, node)), f"{file}: {where}"
            assert not ("hydra" in node and "mode" in (node["hydra"] or {})), file
        assert "hydra.mode" not in file.read_text()


def test_keys_are_known_without_composing() -> None:
    for stage in SCHEMAS:
        assert set(composed(stage)) <= top_level_keys(stage)
