"""Every option of every configuration group composes, and means what its targets understand."""

import importlib.util
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra_plugins.hydra_optuna_sweeper import _impl
from omegaconf import DictConfig, OmegaConf

from parfait.microstructure.samplers import SAMPLERS
from parfait.regime import Regime
from parfait.sde import SdeWarning, load_process
from parfait.semantic import load_reader
from parfait.stages.schema import (
    DistillConfig,
    EvaluateConfig,
    ExportConfig,
    LabelConfig,
    MergeConfig,
    PlayConfig,
    SimulateConfig,
    TrainConfig,
    validate,
)
from parfait.utils.argv import rewrite
from parfait.utils.config_errors import flat_keys
from parfait.utils.errors import UserError
from parfait.utils.instantiate import FORBIDDEN_KEYS, check, walk
from parfait.utils.paths import (
    conf_dir,
    config_groups,
    experiment_stage,
    stage_groups,
    top_level_keys,
)

SCHEMAS = {
    "label": LabelConfig,
    "distill": DistillConfig,
    "train": TrainConfig,
    "merge": MergeConfig,
    "simulate": SimulateConfig,
    "export": ExportConfig,
    "play": PlayConfig,
    "evaluate": EvaluateConfig,
}
# Readers that cannot do without a setting of the user, and what they say.
NEEDY = {"json_lm": "semantic.base", "openai": "semantic.model", "qwen2": "semantic.run"}
RAY = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None,
    reason="parfait[ray] is not installed",
)
GROUPS = {g: options for g, options in config_groups().items() if g not in ("hydra", "local")}


def defaults_of(stage: str) -> set[str]:
    entries = yaml.safe_load((conf_dir() / f"{stage}.yaml").read_text())["defaults"]
    return {key.removeprefix("optional ") for e in entries if e != "_self_" for key in e}


def cases() -> Iterator[Any]:
    for stage in SCHEMAS:
        for group, options in stage_groups(stage).items():
            for option in options:
                yield pytest.param(
                    stage,
                    group,
                    option,
                    id=f"{stage}-{group}-{option}",
                    marks=RAY if option == "ray" else (),
                )


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
    last = ["experiment", "hparams_search", "optional local", "launcher", "debug"]
    assert [key for key in keys if key in last] == [key for key in last if key in keys]
    assert keys[-1] == ("debug" if stage == "train" else "launcher")
    assert ("experiment" in keys) == (stage not in ("merge", "export", "play"))


def test_a_local_configuration_is_optional_and_wins(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text("# @package _global_\nn_paths: 3\n")
    cfg = composed("simulate", f"hydra.searchpath=[file://{tmp_path}]")
    assert cfg.n_paths == 3
    assert composed("simulate").n_paths == 100


def test_groups_are_two_levels_deep_at_most() -> None:
    assert not [p for p in conf_dir().rglob("*.yaml") if len(p.relative_to(conf_dir()).parts) > 2]


EXPERIMENTS = sorted((conf_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_an_experiment_begins_with_the_command_that_runs_it(file: Path) -> None:
    package, command = file.read_text().splitlines()[:2]
    assert package == "# @package _global_"
    stage = experiment_stage(file.stem)
    assert stage is not None
    words = shlex.split(command.removeprefix("# ").partition(" && ")[0])
    called = ["python", f"{stage}.py"], ["python", "-m", "parfait", stage]
    assert (words[:2] == called[0]) or (words[:4] == called[1])
    words = words[2:] if words[:2] == called[0] else words[4:]
    known = top_level_keys(stage)
    flags, overrides = [], []
    for word in rewrite(words, known_keys=known, command="", read_stdin=str):
        (flags if word.startswith("-") else overrides).append(word)
    assert f"experiment={file.stem}" in overrides
    if "-m" in flags:  # one job of the sweep
        overrides = [re.sub(r"=(\w+),[\w,]+", r"=\1", word) for word in overrides]
    cfg = composed(stage, *overrides)
    validate(cfg, SCHEMAS[stage])
    check(plain(cfg))
    settings = yaml.safe_load(file.read_text())
    for key in flat_keys({k: v for k, v in settings.items() if k != "defaults"}):
        assert OmegaConf.select(cfg, key) is not None


def test_every_stage_has_an_experiment() -> None:
    found = {experiment_stage(file.stem) for file in EXPERIMENTS}
    assert found == set(SCHEMAS) - {"merge", "export", "play"}


@pytest.mark.parametrize("option", GROUPS["hparams_search"])
def test_a_search_minimises_what_exists(option: str) -> None:
    overrides = [f"hparams_search={option}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra_cfg = compose("train", overrides, return_hydra_config=True).hydra
    sweeper = hydra_cfg.sweeper
    assert (sweeper.sampler.seed, sweeper.storage, sweeper.max_failure_rate) == (None, None, 1.0)
    assert sweeper.study_name != "search" or option == "default"
    assert sweeper.direction == "minimize"
    space = search_space(option)
    assert bool(space) == (option != "default")
    cfg = composed("train", *overrides)
    for key, distribution in space.items():
        usual = OmegaConf.select(cfg, key)
        assert distribution._contains(distribution.to_internal_repr(usual)), f"{key}={usual}"


def search_space(option: str) -> dict[str, optuna.distributions.BaseDistribution]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra_cfg = compose("train", [f"hparams_search={option}"], return_hydra_config=True).hydra
    words = [f"{key}={value}" for key, value in (hydra_cfg.sweeper.params or {}).items()]
    return _impl.create_params_from_overrides(words)[0]


def test_the_search_on_a_server_is_the_one_without() -> None:
    """conf/wandb_sweep/unet1d.yaml is read by W&B: the same keys and ranges, and words that
    compose.
    """
    twin = yaml.safe_load((conf_dir() / "wandb_sweep" / "unet1d.yaml").read_text())
    assert {k: ranges(v) for k, v in twin["parameters"].items()} == {
        key: (
            tuple(d.choices)
            if isinstance(d, optuna.distributions.CategoricalDistribution)
            else (d.low, d.high, isinstance(d, optuna.distributions.LogUniformDistribution))  # type: ignore[attr-defined]
        )
        for key, d in search_space("unet1d_optuna").items()
    }
    env, interpreter, program, *words, arguments = twin["command"]
    assert (env, interpreter, program) == ("${env}", "${interpreter}", "${program}")
    assert arguments == "${args_no_hyphens}"  # key=value, as Hydra reads it
    assert (conf_dir().parent / twin["program"]).is_file()
    proposed = [f"{k}={v.get('values', [v.get('min')])[0]}" for k, v in twin["parameters"].items()]
    cfg = composed("train", *words, *proposed)
    validate(cfg, TrainConfig)
    check(plain(cfg))
    assert "wandb" in cfg.logger
    assert twin["metric"] == {"name": cfg.optimized_metric, "goal": "minimize"}
    search = composed("train", "hparams_search=unet1d_optuna")
    assert (cfg.name, cfg.trainer.max_epochs) == (search.name, search.trainer.max_epochs)


def ranges(parameter: dict[str, Any]) -> tuple[Any, ...]:
    if "values" in parameter:
        return tuple(parameter["values"])
    logarithmic = parameter["distribution"] == "log_uniform_values"
    assert logarithmic or parameter["distribution"] == "uniform"
    return parameter["min"], parameter["max"], logarithmic


def test_debug_runs_are_short_and_unrecorded() -> None:
    for option in GROUPS["debug"]:
        cfg = composed("train", f"debug={option}")
        assert cfg.trainer.accelerator == "cpu"
        assert cfg.trainer.detect_anomaly
        assert not cfg.logger
        assert list(cfg.callbacks) == (["one_batch"] if option == "overfit" else [])
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
