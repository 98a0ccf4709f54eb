"""Which column plays which role."""

import re
from collections.abc import Mapping, Sequence

from parfait.data.names import (
    CALENDAR,
    CLOCKS,
    DATES,
    WEAK,
    plain_name,
    ranked_role,
    role_of,
)
from parfait.data.options import QUOTES, ROLES
from parfait.utils.errors import UserError

HEADERLESS = ("time", "open", "high", "low", "close", "volume")
_MARKED = re.compile(r"^([^:|/]+(?:/[^:|/]+)?)[:|/]([\w .]+)$")
_JOINED = re.compile(r"^(.+)[_. ]([A-Za-z]+|[Aa]dj[_. ]?[Cc]lose)$")
_TUPLE = re.compile(r"""^\(\s*['"](.+?)['"]\s*,\s*['"](.+?)['"]\s*\)$""")
_NO_SYMBOLS = [
    "bid",
    "ask",
    "adj",
    "adjusted",
    "prev",
    "previous",
    "mid",
    "px",
    "unadj",
    "raw",
    "split",
    "price",
    "avg",
    "average",
    "ema",
    "sma",
    "total",
    "day",
    "week",
    "month",
    "year",
    "heikin",
    "ha",
]


def is_header(cells: Sequence[str]) -> bool:
    """Names a close and something else that bars have, for one symbol or for several."""
    roles = {role_of(cell) for cell in cells}
    if {"bid close", "ask close"} <= roles:
        return True
    wide = {field for parts in _split(cells).values() for field in parts.values()}
    sides = [roles, {role_of(field) for field in wide}]
    return any("close" in found and len(found - {None}) > 1 for found in sides)


def _split(header: Sequence[str]) -> dict[str, dict[int, str]]:
    """Symbol -> position -> field, for "BTC:open", ("open", "BTC"), and BTC_open or open_BTC.

    Of the last two, whose marks are part of many names, only symbols with a bar's four prices.
    """
    found: dict[str, dict[int, str]] = {}
    loose: dict[str, dict[int, str]] = {}
    for i, cell in enumerate(header):
        if role_of(cell) is not None:
            continue
        if (pair := _TUPLE.match(cell)) is not None:
            symbol, field = (pair[2], pair[1]) if role_of(pair[1]) else (pair[1], pair[2])
            if role_of(field):
                found.setdefault(symbol, {})[i] = field
        elif (pair := _MARKED.match(cell)) and role_of(pair[2]):
            found.setdefault(pair[1], {})[i] = pair[2]
        elif (pair := _JOINED.match(cell)) is not None:
            symbol, field = (pair[1], pair[2])
            if not role_of(field):
                field, _, symbol = cell.replace(".", "_").replace(" ", "_").partition("_")
            if role_of(field) and plain_name(symbol) not in _NO_SYMBOLS:
                loose.setdefault(symbol, {})[i] = field
    for symbol, parts in loose.items():
        if {role_of(field) for field in parts.values()} >= {"open", "high", "low", "close"}:
            found.setdefault(symbol, parts)
    return found


def side_by_side(header: Sequence[str], symbol: str | None) -> dict[str, dict[int, str]]:
    """Symbol -> position -> name, for headers like "BTC:open"; empty without such.

    "bid:open" is no symbol's column.

    Raises:
        UserError: ``symbol`` is asked for and not there.
    """
    if any(role_of(cell) == "close" for cell in header):
        return {}
    found = _split(header)
    fields = {role_of(field) for parts in found.values() for field in parts.values()}
    if {s.casefold() for s in found} <= {"bid", "ask"} or "close" not in fields:
        return {}
    if symbol is None:
        return found
    if symbol not in found:
        held = ", ".join(list(found)[:20])
        raise UserError(f"symbol {symbol!r} is not in the file; it holds {held}")
    return {symbol: found[symbol]}


def shared_header(header: Sequence[str]) -> list[str]:
    """The header with "" for columns that belong to one symbol."""
    owned = {i for parts in _split(header).values() for i in parts}
    return ["" if i in owned else cell for i, cell in enumerate(header)]


def assign_roles(header: Sequence[str], columns: Mapping[str, str | int] | None) -> dict[str, int]:
    """Role -> column position; "clock" is the time of day beside a date.

    Raises:
        UserError: a role with two candidates, a name in ``columns`` that is not there, or neither
            a close nor a bid and an ask.
    """
    chosen = {role: _position(header, role, name) for role, name in (columns or {}).items()}
    ranks: dict[str, dict[int, int]] = {role: {} for role in ROLES}
    taken = set(chosen.values())
    for i, cell in enumerate(header):
        if i not in taken and (found := ranked_role(cell)) is not None:
            ranks[found[0]][i] = found[1]
    if [*header[:1]] == [""] and 0 not in taken:
        ranks["time"][0] = WEAK + 1
    candidates = {role: _lowest(ranked) for role, ranked in ranks.items()}
    _prefer_exact(header, candidates)
    _join_calendar(header, candidates, chosen)
    if "time" not in chosen:
        _split_date_and_clock(header, ranks["time"] | ranks["clock"], candidates)
    for role, positions in candidates.items():
        if role in chosen or not positions:
            continue
        if len(positions) > 1:
            raise UserError(_which(role, [header[i] for i in positions], positions))
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


def _position(header: Sequence[str], role: str, name: str | int) -> int:
    if isinstance(name, int):
        if not 1 <= name <= len(header):
            raise UserError(f"no column {name} for {role}; there are {len(header)} columns")
        return name - 1
    same = [i for i, cell in enumerate(header) if cell == name]
    same = same or [i for i, cell in enumerate(header) if plain_name(cell) == plain_name(name)]
    if not same:
        raise UserError(f"no column named {name!r} for {role}; the columns are {listed(header)}")
    if len(same) > 1:
        raise UserError(_which(role, [header[i] for i in same], same))
    return same[0]


def _which(role: str, names: list[str], positions: list[int]) -> str:
    """Equal names are told apart by their position."""
    shown = ", ".join(repr(name[:40]) for name in names)
    sentence = f"{len(names)} columns may be the {role} ({shown}); choose one, as in columns="
    if len({plain_name(name) for name in names}) == len(names):
        return f"{sentence}{{'{role}': {names[0]!r}}}"
    places = " or ".join(str(i + 1) for i in positions)
    return f"{sentence}{{'{role}': {positions[0] + 1}}} (by position: {places})"


def _prefer_exact(header: Sequence[str], candidates: dict[str, list[int]]) -> None:
    """A column called "close" is the close, beside "last" and "price"; a settlement may be it."""
    plain = {i: plain_name(header[i]) for i in candidates["close"]}
    if "settle" not in plain.values() and "close" in plain.values():
        candidates["close"] = [i for i, name in plain.items() if name == "close"]


def _join_calendar(
    header: Sequence[str], candidates: dict[str, list[int]], chosen: dict[str, int]
) -> None:
    """Columns year, month and day are one date, where no other column is a date."""
    plain = [plain_name(cell) for cell in header]
    where = [[i for i, name in enumerate(plain) if name == part] for part in CALENDAR]
    others = [i for i in candidates["time"] if plain[i] not in (*CLOCKS, "day")]
    if "time" in chosen or others or any(len(found) != 1 for found in where):
        return
    candidates["clock"] += [i for i in candidates["time"] if plain[i] in CLOCKS]
    candidates["time"] = where[0]
    chosen |= {"month": where[1][0], "day": where[2][0]}


def _split_date_and_clock(
    header: Sequence[str], ranked: dict[int, int], candidates: dict[str, list[int]]
) -> None:
    """A date and a time column, one each, are the two halves of one time."""
    dates, clocks = (
        _lowest({i: rank for i, rank in ranked.items() if plain_name(header[i]) in names})
        for names in (DATES, CLOCKS)
    )
    both = {*dates, *clocks}
    if len(dates) == len(clocks) == 1 and both >= {*candidates["time"], *candidates["clock"]}:
        candidates["time"], candidates["clock"] = dates, clocks


def _lowest(ranked: dict[int, int]) -> list[int]:
    return [i for i, rank in ranked.items() if rank == min(ranked.values())]


def listed(header: Sequence[str]) -> str:
    """Column names for a sentence, cut where they are many or long."""
    named = [cell for cell in header if cell] or header
    shown = ", ".join(repr(cell[:40]) for cell in named[:20])
    return shown + (", ..." if len(named) > 20 else "")
