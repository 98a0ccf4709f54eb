"""The settings of ticks, checked, and the trading day that they ask to learn."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from parfait.stages.schema import TickSettings, plain
from parfait.utils.errors import UserError

if TYPE_CHECKING:
    from parfait.basket import Basket
    from parfait.microstructure.ticks import Intraday
    from parfait.simulation import Simulation

_NAMES = ("none", "roll", "learned")


def tick_options(settings: TickSettings) -> dict[str, Any] | None:
    """Options of ``with_ticks``, the day learned where asked; ``None`` when ticks are off.

    Raises:
        UserError: a setting without effect, or one that cannot be used.
    """
    given = {k: plain(getattr(settings, k)) for k in TickSettings.__annotations__ if k != "name"}
    given = {k: v for k, v in given.items() if v is not None}
    if settings.name not in _NAMES:
        raise UserError(f"ticks={settings.name} is unknown; use one of {', '.join(_NAMES)}")
    if settings.name == "none":
        if given:
            name, value = next(iter(given.items()))
            raise UserError(f"ticks.{name}={value} is set, but ticks are off; add ticks=true")
        return None
    minutes, options = given.pop("minutes", None), given.pop("options", None)
    if options is not None and not isinstance(options, Mapping):
        raise UserError(
            f"ticks.options={options} names no option; give ticks.options.price_scale=1e-4 or "
            "another option of parfait.data.load_bars"
        )
    if settings.name == "roll":
        if minutes is not None or options is not None:
            raise UserError("ticks=roll learns nothing from ticks.minutes; give ticks=learned")
        return given | {"command": command(settings)}
    if not minutes:
        raise UserError("ticks=learned needs ticks.minutes=, a file or folder of minute bars")
    session = given.get("session")
    if isinstance(minutes, Mapping):
        day: Any = {str(k): _learned(v, options, session) for k, v in minutes.items()}
    else:
        day = _learned(minutes, options, session)
    return given | {"day": day, "command": command(settings)}


def _learned(source: Any, options: Mapping[str, Any] | None, session: str | None) -> "Intraday":
    from parfait.microstructure.ticks import learn_day, load_minutes

    return learn_day(load_minutes(source, options), session)


def refined(result: "Simulation | Basket", options: dict[str, Any]) -> "Simulation | Basket":
    """The result with ticks; a mapping of days must name the assets.

    Raises:
        UserError: options that the bars cannot meet.
    """
    from parfait.basket import Basket

    day = options.get("day")
    if isinstance(day, Mapping):
        known = result.symbols if isinstance(result, Basket) else ()
        for symbol in day:
            if symbol not in known:
                held = ", ".join(known) or "one series without a symbol"
                raise UserError(f"ticks.minutes names {symbol!r}; the histories are {held}")
    return result.with_ticks(**options)


def command(settings: TickSettings) -> str:
    """The settings as they are typed."""
    from parfait.report.command import word

    parts = [f"ticks={settings.name}"]
    for name in TickSettings.__annotations__:
        value = plain(getattr(settings, name))
        if (
            name == "name"
            or value is None
            or (name, value) in (("per_bar", 100), ("persistence", 0))
        ):
            continue
        if OmegaConf.is_dict(getattr(settings, name)) and name == "options":
            parts += [f"ticks.options.{k}={shlex.quote(word(v))}" for k, v in value.items()]
        else:
            parts.append(f"ticks.{name}={shlex.quote(word(value))}")
    return " ".join(parts)
