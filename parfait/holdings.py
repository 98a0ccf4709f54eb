"""What a portfolio holds: positions by symbol, from a table or a file."""

import csv
import difflib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parfait.utils.errors import UserError, first_line

CASH = "CASH"  # a row of units that holds money, unless a history has that name
MOST_CHARACTERS = 1_000_000  # of a file; far more rows than there can be histories
_COLUMNS = ("weight", "units")


@dataclass(frozen=True)
class Holdings:
    """Positions by symbol; short ones are negative.

    Args:
        amounts: of each symbol.
        measure: "weight", a share of the portfolio's value at the last close, the rest of which is
            cash; or "units", shares or contracts, of ``CASH`` money.
        source: the file they were read from.
    """

    amounts: Mapping[str, float]
    measure: Literal["weight", "units"] = "weight"
    source: str | None = None


def read_holdings(path: str | Path, symbols: Sequence[str]) -> Holdings:
    """A CSV file with the columns ``symbol`` and ``weight``, or ``symbol`` and ``units``.

    Columns may be divided by comma, semicolon or tab; others than these two are not read.

    Args:
        path: of the file.
        symbols: what may be held, beside ``CASH``.

    Raises:
        UserError: a file that cannot be read, with its line and column.
    """
    rows = _rows(Path(path))
    line, header = rows[0]
    names = [name.strip().casefold() for name in header]
    at = f"portfolio={path}, line {line}"
    measured = [name for name in _COLUMNS if name in names]
    if "symbol" not in names or len(measured) != 1:
        shown = ", ".join(map(repr, names))[:120]
        raise UserError(
            f"{at}: the columns are {shown}; give 'symbol' and either 'weight' or 'units'"
        )
    if len(set(names)) < len(names):
        raise UserError(f"{at}: a column is there twice; give every column a name of its own")
    measure = "weight" if measured[0] == "weight" else "units"
    amounts: dict[str, float] = {}
    for line, row in rows[1:]:
        at = f"portfolio={path}, line {line}"
        if len(row) != len(names):
            raise UserError(f"{at}: {len(row)} cells under {len(names)} columns; give one for each")
        cells = dict(zip(names, row, strict=True))
        symbol = known_symbol(cells["symbol"].strip(), symbols, f"{at}, column symbol")
        if symbol in amounts:
            raise UserError(f"{at}, column symbol: {symbol!r} is there twice; give its sum once")
        amounts[symbol] = _number(cells[measure].strip(), f"{at}, column {measure}")
    if not amounts:
        raise UserError(f"portfolio={path} holds no position; give a row for each symbol")
    return Holdings(amounts, measure, str(path))


def known_symbol(given: str, symbols: Sequence[str], at: str) -> str:
    """The symbol that is meant, in any case of letters.

    Raises:
        UserError: it is none of ``symbols`` and not ``CASH``, with the nearest ones.
    """
    if given in symbols:
        return given
    folded = {symbol.casefold(): symbol for symbol in (CASH, *symbols)}
    if given.casefold() in folded:
        return folded[given.casefold()]
    near = difflib.get_close_matches(given.casefold(), folded, n=2)
    held = ", ".join([*symbols[:8], "..."] if len(symbols) > 8 else symbols)
    hint = f"did you mean {' or '.join(folded[n] for n in near)}?" if near else "give one of these"
    raise UserError(f"{at}: {given!r} is not among the histories ({held}); {hint}")


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line it ends on."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise UserError(f"portfolio={path} is larger than 1 MB; give one row for each symbol")
        first = text.lstrip().partition("\n")[0]
        reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise UserError(f"portfolio={path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"portfolio={path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise UserError(f"portfolio={path} is not a CSV file: {first_line(error)}") from error
    if not rows:
        raise UserError(f"portfolio={path} is empty; give the columns symbol and weight")
    return rows


def _number(text: str, at: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{at}: {text[:40]!r} is not a finite number; write 0.25 or -3")
    return value
