"""Which column plays which role."""

import re
from collections.abc import Mapping, Sequence

from parfait.data.options import ROLES
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
    wide = {role_of(match[2]) for cell in cells if (match := _WIDE.match(cell))}
    return any("close" in found and len(found - {None}) > 1 for found in (roles, wide))


def select_symbol(header: Sequence[str], symbol: str | None) -> list[str]:
    """Headers like "BTC:open" reduced to those of one symbol; others are left as they are.

    Raises:
        UserError: several symbols stand side by side and ``symbol`` names none of them.
    """
    found = {i: m for i, cell in enumerate(header) if (m := _WIDE.match(cell)) and role_of(m[2])}
    symbols = list(dict.fromkeys(match[1] for match in found.values()))
    if not symbols or any(role_of(cell) == "close" for cell in header):
        return list(header)
    if symbol is None and len(symbols) > 1:
        raise UserError(
            f"columns of several symbols ({', '.join(symbols)}); choose one, as in "
            f"symbol={symbols[0]!r}"
        )
    chosen = symbols[0] if symbol is None else symbol
    if chosen not in symbols:
        raise UserError(f"symbol {chosen!r} is not in the file; it holds {', '.join(symbols)}")
    return [
        found[i][2] if i in found and found[i][1] == chosen else ("" if i in found and i else cell)
        for i, cell in enumerate(header)
    ]


def assign_roles(header: Sequence[str], columns: Mapping[str, str] | None) -> dict[str, int]:
    """Role -> column position; "clock" is the time of day beside a date.

    Raises:
        UserError: a role with two candidates, a name in ``columns`` that is not there, or no close.
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
    if "close" not in chosen:
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
    shown = ", ".join(repr(cell[:40]) for cell in header[:20])
    return shown + (", ..." if len(header) > 20 else "")
