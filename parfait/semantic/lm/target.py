"""What a language model learns to give: a mixture read out by a head, or scenario JSON."""

import inspect
import json
from collections.abc import Callable
from typing import Any

from parfait.semantic.lm.completion import CompletionDataModule
from parfait.semantic.lm.datamodule import DistilledDataModule
from parfait.semantic.lm.json_module import JsonModule
from parfait.semantic.lm.module import ScenarioModule
from parfait.utils.errors import UserError

MODULES = {"mixture": ScenarioModule, "json": JsonModule}
DATA = {"mixture": DistilledDataModule, "json": CompletionDataModule}
# Levers of the mixture's training that would change cost or result if they were left out silently,
# and the values at which they do nothing.
LEVERS = {
    "model": {"quantization": None, "compile": False},
    "data": {"hidden": 0.0},
}


def _chosen(kinds: dict[str, Any], group: str) -> Callable[..., Any]:
    """A function of ``target`` and of all parameters of those kinds; a kind gets its own. Words
    are trained without ``LEVERS``.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for kind in kinds.values():
        parameters |= inspect.signature(kind).parameters

    def make(target: str = "mixture", **settings: Any) -> Any:
        if target not in kinds:
            raise UserError(f"model.target={target} must be one of {', '.join(kinds)}")
        own = inspect.signature(kinds[target]).parameters
        for name, off in LEVERS[group].items() if target == "json" else ():
            if (value := settings.get(name, off)) != off:
                raise UserError(
                    f"{group}.{name}={json.dumps(value)} is for model.target=mixture alone; give "
                    f"{group}.{name}={json.dumps(off)}"
                )
        return kinds[target](**{k: v for k, v in settings.items() if k in own})

    first = inspect.Parameter("target", inspect.Parameter.KEYWORD_ONLY, default="mixture")
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters.values()]
    make.__signature__ = inspect.Signature([first, *keywords])  # pyright: ignore[reportFunctionMemberAccess]
    make.__doc__ = f"The {group} of that target; other settings of the other target are left out."
    return make


language_module = _chosen(MODULES, "model")
language_data = _chosen(DATA, "data")
