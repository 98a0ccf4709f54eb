"""The one door from configuration to objects: an allow-list, then Hydra's ``instantiate``."""

import difflib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf

from parfait.utils.errors import UserError

ALLOWED = ("parfait.", "torch.nn.", "torch.optim.", "lightning.", "torchmetrics.")
# Of functions these alone: others write files or start things with what they are given.
FUNCTIONS = frozenset(
    {
        "parfait.semantic.lm.target.language_data",
        "parfait.semantic.lm.target.language_module",
        "parfait.utils.wandb_runs.wandb_logger",
    }
)
FORBIDDEN_MODULES = ("lightning.pytorch.cli.",)  # it imports whatever classes it is told of
FORBIDDEN_KEYS = frozenset({"trust_remote_code"})
_BAD_VALUE = (TypeError, ValueError, InstantiationException)
_META_KEYS = frozenset({"_target_", "_args_", "_partial_", "_convert_", "_recursive_"})


def instantiate(cfg: DictConfig | ListConfig | Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that ``cfg._target_`` names, with plain dicts and lists as arguments.

    The whole tree is checked first: every target must *resolve* to a class defined in an allowed
    package (a prefix of the name is not enough: ``torch.optim.optimizer.torch.load`` is
    ``torch.load``) or to one of ``FUNCTIONS``, and every key must be a parameter of its target.

    Args:
        cfg: a node with ``_target_``.
        **kwargs: further arguments; they win over those of ``cfg``.

    Raises:
        UserError: a target that is not allowed or missing, an unknown or forbidden key, a value
            that the target refuses.
    """
    prefix = cfg._get_full_key(None) if isinstance(cfg, DictConfig | ListConfig) else ""
    plain = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    if isinstance(plain, Mapping) and "_target_" not in plain:
        raise UserError(f"the setting {prefix or 'given'!r} names no _target_")
    check(plain, prefix)
    try:
        return hydra.utils.instantiate(cfg, _convert_="all", **kwargs)
    except InstantiationException as error:
        cause = error.__cause__ or error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, _BAD_VALUE) or type(cause).__name__ == "MisconfigurationException":
            reason = " ".join(str(cause).split())
            raise UserError(f"the setting {prefix!r} cannot be used: {reason}") from cause
        raise cause from None


def check(plain: Any, key: str = "") -> None:
    """Raise ``UserError`` unless every target and key in ``plain`` is allowed."""
    for where, node in walk(plain, key):
        for name in FORBIDDEN_KEYS & {str(k) for k in node}:
            raise UserError(
                f"the setting {_join(where, name)} is not allowed: no downloaded code is ever run"
            )
    for where, node in walk(plain, key):
        if "_target_" in node:
            check_keys(node, resolve(node["_target_"], where), where)


def walk(plain: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping in nested mappings and lists, with its dotted key."""
    if isinstance(plain, Mapping):
        yield key, plain
        for name, value in plain.items():
            yield from walk(value, _join(key, name))
    elif isinstance(plain, Sequence) and not isinstance(plain, str):
        for index, value in enumerate(plain):
            yield from walk(value, f"{key}[{index}]")


def resolve(target: Any, key: str = "") -> Any:
    """The object that ``target`` names, if configuration may name it; else ``UserError``."""
    where = _join(key, "_target_")
    refusal = (
        f"the setting {where}={target} is not allowed: it must be a class of "
        f"{', '.join(p[:-1] for p in ALLOWED)}, or one of {', '.join(sorted(FUNCTIONS))}"
    )
    if not (isinstance(target, str) and target.startswith(ALLOWED)):
        raise UserError(refusal)
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"the setting {where}={target} names nothing: {error}") from error
    home = f"{getattr(found, '__module__', None)}."
    allowed = home.startswith(ALLOWED) and not home.startswith(FORBIDDEN_MODULES)
    if not allowed or not (inspect.isclass(found) or target in FUNCTIONS):
        raise UserError(refusal)
    return found


def check_keys(node: Mapping[str, Any], target: Any, key: str = "") -> None:
    """Raise ``UserError`` if a key of ``node`` is no parameter of ``target``."""
    parameters = inspect.signature(target).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in node:
        if name not in parameters and name not in _META_KEYS:
            near = difflib.get_close_matches(str(name), parameters, n=3)
            hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(parameters)}"
            raise UserError(
                f"unknown setting {_join(key, name)!r}: {target.__qualname__} has "
                f"no such parameter; {hint}"
            )


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)
