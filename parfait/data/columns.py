"""Which column plays which role."""

import re
from collections.abc import Mapping, Sequence

from parfait.data.options import QUOTES, ROLES
from parfait.utils.errors import UserError

_ALIASES = {
    "time": "date time datetime timestamp t ts day dt opentime tradedate 日期 时间 交易日期",
    "open": "open o openprice openingprice 开盘 开盘价",
    "high": "high h highprice 最高 最高价",
    "low": "low l lowprice 最低 最低价",
    "close": "close c last price settle closeprice closingprice 收盘 收盘价",
    "volume": "volume v vol 成交量",
    "adjusted": "adjclose adjustedclose closeadj",
    "symbol": "symbol ticker code asset 代码 股票代码",
}
_ROLE_OF = {alias: role for role, names in _ALIASES.items() for alias in names.split()}
_ROLE_OF |= {
    plain: f"{side} {name}"
    for side in ("bid", "ask")
    for name in ("open", "high", "low", "close")
    for short in (name, name[0])
    for plain in (f"{side}{short}", f"{short}{side}")
} | {"bid": "bid close", "ask": "ask close", "offer": "ask close"}
_DATES, _CLOCKS = ("date", "日期", "day", "交易日期"), ("time", "时间")
_WIDE = re.compile(r"^(.+?)[:/|](\w+)$")
HEADERLESS = ("time", "open", "high", "low", "close", "volume")


def plain_name(name: str) -> str:
    """Lower case, letters and digits only, without a leading "1. "."""
    bare = "".join(c for c in name.casefold() if c.isalnum())
    return bare.lstrip("0123456789") or bare


def role_of(name: str) -> str | None:
    """The role a header cell names, if any."""
    plain = plain_name(name)
    return _ROLE_OF.get(plain) or ("volume" if plain.startswith("volume") else None)


def is_header(cells: Sequence[str]) -> bool:
    """Names a close and something else that bars have, for one symbol or for several."""
    roles = {role_of(cell) for cell in cells}
    if {"bid close", "ask close"} <= roles:
        return True
    wide = {role_of(match[2]) for cell in cells if (match := _WIDE.match(cell))}
    return any("close" in found and len(found - {None}) > 1 for found in (roles, wide))


def side_by_side(header: Sequence[str], symbol: str | None) -> dict[str, dict[int, str]]:
    """Symbol -> position -> name, for headers like "BTC:open"; empty without such.

    "bid:open" is no symbol's column.

    Raises:
        UserError: ``symbol`` is asked for and not there.
    """
    found: dict[str, dict[int, str]] = {}
    for i, cell in enumerate(header):
        if (match := _WIDE.match(cell)) and role_of(match[2]):
            found.setdefault(match[1], {})[i] = match[2]
    if {s.casefold() for s in found} <= {"bid", "ask"}:
        return {}
    if any(role_of(cell) == "close" for cell in header):
        return {}
    if symbol is None:
        return found
    if symbol not in found:
        held = ", ".join(list(found)[:20])
        raise UserError(f"symbol {symbol!r} is not in the file; it holds {held}")
    return {symbol: found[symbol]}


def shared_header(header: Sequence[str]) -> list[str]:
    """The header with "" for columns that belong to one symbol."""
    return ["" if (m := _WIDE.match(cell)) and role_of(m[2]) else cell for cell in header]


def assign_roles(header: Sequence[str], columns: Mapping[str, str] | None) -> dict[str, int]:
    """Role -> column position; "clock" is the time of day beside a date.

    Raises:
        UserError: a role with two candidates, a name in ``columns`` that is not there, or neither
            a close nor a bid and an ask.
    """
    chosen: dict[str, int] = {}
    for role, name in (columns or {}).items():
        same = [i for i, cell in enumerate(header) if cell == name]
        same = same or [i for i, cell in enumerate(header) if plain_name(cell) == plain_name(name)]
        if len(same) != 1:
            count = "no column" if not same else f"{len(same)} columns"
            raise UserError(f"{count} named {name!r} for {role}; the columns are {listed(header)}")
        chosen[role] = same[0]
    taken = set(chosen.values())
    candidates: dict[str, list[int]] = {role: [] for role in ROLES}
    for i, cell in enumerate(header):
        role = role_of(cell)
        if role is not None and i not in taken:
            candidates[role].append(i)
    if "time" not in chosen:
        _split_date_and_clock(header, candidates)
        if not candidates["time"] and [*header[:1]] == [""] and 0 not in taken:
            candidates["time"] = [0]
    for role, positions in candidates.items():
        if role in chosen or not positions:
            continue
        if len(positions) > 1:
            names = ", ".join(repr(header[i]) for i in positions)
            raise UserError(
                f"{len(positions)} columns may be the {role} ({names}); "
                f"choose one, as in columns={{'{role}': {header[positions[0]]!r}}}"
            )
        chosen[role] = positions[0]
    quotes = {"bid close", "ask close"} <= set(chosen)
    if "close" in chosen or not quotes:
        # With trades or one side alone, quotes are other columns like any.
        chosen = {role: i for role, i in chosen.items() if role not in QUOTES}
    if "close" not in chosen and not quotes:
        raise UserError(
            f"no close column; the columns are {listed(header)}: "
            "name it with columns={'close': 'NAME'}"
        )
    return chosen


def _split_date_and_clock(header: Sequence[str], candidates: dict[str, list[int]]) -> None:
    """A date and a time column, one each, are the two halves of one time."""
    plain = [plain_name(cell) for cell in header]
    dates = [i for i in candidates["time"] if plain[i] in _DATES]
    clocks = [i for i in candidates["time"] if plain[i] in _CLOCKS]
    if len(dates) == 1 and len(clocks) == 1 and len(candidates["time"]) == 2:
        candidates["time"], candidates["clock"] = dates, clocks


def listed(header: Sequence[str]) -> str:
    """Column names for a sentence, cut where they are many or long."""
    named = [cell for cell in header if cell] or header
    shown = ", ".join(repr(cell[:40]) for cell in named[:20])
    return shown + (", ..." if len(named) > 20 else "")
