"""Turn configuration errors of Hydra and OmegaConf into one sentence with the nearest names."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from parfait.utils.paths import conf_dir, config_groups, stage_groups

_UNMATCHED = re.compile(
    r"Could not override '\+?([^']+?)\.?'|Could not delete from config\. '([^']+)' does not exist"
)

_REFUSED = re.compile(
    r"Value (?P<value>'.*') (?:of type '.*' could not be converted to|is not a valid) "
    r"(?P<kind>\w+)",
    re.DOTALL,
)
# What brings launchers and sweepers that Hydra itself has not.
_PLUGINS = {
    "joblib": "parfait[sweep]",
    "submitit_local": "parfait[sweep]",
    "submitit_slurm": "parfait[sweep]",
    "optuna": "parfait[sweep]",
    "ray": "parfait[ray]",
}
_KINDS = {"integer": "a whole number", "float": "a number", "bool": "true or false"}


def explain(error: Exception, stage: str, overrides: Iterable[str] = ()) -> str | None:
    """Return one sentence for a mistake in the configuration, ``None`` for any other error."""
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f"cannot read the setting {key}={value}; put its value in quotes: \"{key}='...'\""
    if isinstance(error, MissingConfigException):
        return _missing_option(error, stage)
    unmatched = _UNMATCHED.search(str(error))
    if isinstance(error, ConfigCompositionException) and unmatched:
        key = unmatched[1] or unmatched[2]
        value = next((o for o in overrides if o.lstrip("+~").startswith(f"{key}=")), key)
        valid = [*stage_groups(stage), *_valid_keys(stage, overrides, key)]
        return f"unknown setting {key!r} in {value!r}{_nearest(key, valid)}"
    refused = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(refused, OmegaConfBaseException):
        return explain_value(refused)
    if isinstance(error, HydraException):
        return _one_line(error)
    if isinstance(error, OSError) and error.filename:
        return (
            f"cannot write the output folder {error.filename} ({error.strerror}); "
            "choose another with output_dir="
        )
    if isinstance(error, ValueError) and str(error).startswith("No trials are completed"):
        return "no trial of the search succeeded"
    if isinstance(error, ValueError) and "can be specified" in str(error):
        return _one_line(error)
    return None


def explain_value(error: Exception) -> str:
    """One sentence for a value that OmegaConf rejects, with its key."""
    cause = error
    while isinstance(cause.__cause__, OmegaConfBaseException):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None)
    refused = _REFUSED.search(_first_line(cause))
    if key and refused:
        kind = _KINDS.get(refused["kind"].lower(), refused["kind"])
        return f"the setting {key!r} cannot be {refused['value']}; give {kind}"
    return f"{_first_line(cause)} (setting {key!r})" if key else _first_line(cause)


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """The sentence for a key that does not exist."""
    return f"unknown setting {key!r}{_nearest(key, valid)}"


def flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key of nested mappings, branches included."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield f"{prefix}{key}"
            yield from flat_keys(value, f"{prefix}{key}.")


def _missing_option(error: MissingConfigException, stage: str) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return f"there is no configuration {option!r}; see --help"
    found = [str(name) for name in error.options or config_groups().get(group, [])]
    options = stage_groups(stage).get(group) or found
    if group in ("hydra/launcher", "hydra/sweeper") and option in _PLUGINS:
        kind = group.removeprefix("hydra/")
        return f"the {kind} {option!r} is not installed; pip install '{_PLUGINS[option]}'"
    if not options:
        return unknown_key(group, stage_groups(stage))
    return f"{group} has no option {option!r}; it has: {', '.join(options)}"


def _valid_keys(stage: str, overrides: Iterable[str], key: str) -> list[str]:
    """Keys of the stage's configuration, or those of Hydra's for a ``key`` of it, with the user's
    choice of groups where it composes.
    """
    hydra = key.startswith("hydra.")
    groups, arguments = config_groups(), list(overrides)
    chosen = [o for o in arguments if o.partition("=")[0].lstrip("+") in groups and "," not in o]
    for flag, value in pairwise(arguments):
        if flag in ("--config-dir", "-cd"):
            chosen.append(f"hydra.searchpath=[file://{Path(value).resolve()}]")
    for selection in (chosen, chosen[-1:], []):
        try:
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                cfg = compose(stage, selection, return_hydra_config=hydra)
            return [
                known
                for known in flat_keys(OmegaConf.to_container(cfg, resolve=False))
                if known.startswith("hydra.") == hydra
            ]
        except (HydraException, OmegaConfBaseException):
            continue
    return []


def _nearest(key: str, valid: Iterable[str]) -> str:
    """Close matches; a wrong last part of a long key is compared with its siblings too."""
    candidates = list(dict.fromkeys(valid))
    near = difflib.get_close_matches(key, candidates, n=3, cutoff=0.6)
    parent, _, leaf = key.rpartition(".")
    siblings = {c.rpartition(".")[2]: c for c in candidates if c.rpartition(".")[0] == parent}
    near += [siblings[m] for m in difflib.get_close_matches(leaf, siblings, n=2, cutoff=0.6)]
    near = list(dict.fromkeys(near))[:3]
    return f"; nearest: {', '.join(near)}" if near else "; --help lists what exists"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
