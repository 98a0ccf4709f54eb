"""The correlation of several assets: as it was asked for, as histories show it, as bars have it."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.history import History
from parfait.sde import nearest_correlation
from parfait.utils.errors import UserError
from parfait.utils.threads import one_thread

MIN_COMMON = 30  # returns that all histories share, for an estimate: its error is then below 0.2
_REPAIRED = 0.005  # a smaller change of a correlation shows in no figure

Matrix = Float64[Tensor, "assets assets"]
Given = float | str | Path | Sequence[Any] | Mapping[Any, Any] | None


@dataclass(frozen=True, eq=False)
class Request:
    """The correlation that a run aims at.

    Args:
        asked: as it was given or estimated.
        used: the nearest matrix that assets can have; mostly ``asked`` itself.
        notes: where it comes from, and what had to be changed.
    """

    asked: Matrix
    used: Matrix
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Common:
    """What the histories show together, worked out when it is needed.

    Raises:
        UserError: too few bars are common to all, or a series never moves.
    """

    pasts: Sequence[History]

    @cached_property
    def returns(self) -> pl.DataFrame:
        """Log returns between the bars that all histories have: time, then a column per asset."""
        joined: pl.DataFrame | None = None
        by_day = all(_daily(past.bars["timestamp"]) for past in self.pasts)
        for k, past in enumerate(self.pasts):
            time = past.bars["timestamp"].dt.date() if by_day else past.bars["timestamp"]
            mine = pl.DataFrame({"time": time, str(k): past.bars["close"].log()})
            joined = mine if joined is None else joined.join(mine, on="time", how="inner")
        assert joined is not None
        moves = joined.sort("time").with_columns(pl.exclude("time").diff()).slice(1)
        if moves.height < MIN_COMMON:
            names = ", ".join(past.symbol for past in self.pasts)
            raise UserError(
                f"the histories ({names}) have {joined.height} bars in common, and at least "
                f"{MIN_COMMON + 1} are needed to estimate a correlation; give correlation="
            )
        return moves

    @cached_property
    def matrix(self) -> Matrix:
        """Pearson correlation of the common log returns."""
        values = torch.from_numpy(self.returns.drop("time").to_numpy().copy()).T
        for past, row in zip(self.pasts, values, strict=True):
            if not float(row.std()) > 0:
                raise UserError(
                    f"the history of {past.symbol} never moves on the common bars, so it has no "
                    "correlation with the others; give correlation="
                )
        with one_thread():
            return _unit_diagonal(torch.corrcoef(values))

    @property
    def sentence(self) -> str:
        """For the notes of a run."""
        time = self.returns["time"]
        return f"{self.returns.height:,} common bars ({time[0]:%Y-%m-%d} to {time[-1]:%Y-%m-%d})"


def read_correlation(given: Given, pasts: Sequence[History]) -> Request:
    """The correlation matrix of the bar log returns that a run shall have.

    Args:
        given: a number (for every pair), a matrix as nested lists or a tensor, a mapping of pairs
            (``{A: {B: 0.3}}``, ``{("A", "B"): 0.3}`` or ``{"A/B": 0.3}``, pairs left out are
            estimated), a CSV file of a matrix with the symbols as header, or ``None``: estimated.
        pasts: the histories, in the order of the rows.

    Raises:
        UserError: a matrix of the wrong size, an entry that is no number within [-1, 1], two
            entries of a pair that differ, a symbol that is not there; or nothing to estimate from.
    """
    symbols, common = [past.symbol for past in pasts], Common(pasts)
    said: list[str] = []
    if given is None:
        asked = common.matrix
        said.append(f"Correlation estimated from {common.sentence}: {pairs(asked, symbols)}.")
    elif isinstance(given, Mapping):
        asked = _of_pairs(given, symbols)
        open_pairs = [(i, j) for i, j in pairs_of(symbols) if math.isnan(asked[i, j])]
        if open_pairs:
            asked = torch.where(torch.isnan(asked), common.matrix, asked)
            found = pairs(asked, symbols, open_pairs)
            said.append(f"Correlations that were not given, from {common.sentence}: {found}.")
    elif isinstance(given, str | Path) and not _is_number(given):
        asked = _of_file(Path(given), symbols)
    elif isinstance(given, Sequence | Tensor) and not isinstance(given, str):
        asked = _of_rows(given.tolist() if isinstance(given, Tensor) else given, symbols)
    else:
        value = _number(given, "correlation")
        asked = torch.full((len(symbols), len(symbols)), value, dtype=torch.float64)
        asked.fill_diagonal_(1.0)
    used, _ = nearest_correlation(asked)
    change = float((used - asked).abs().max())
    if change > _REPAIRED:
        said.append(
            f"No {len(symbols)} assets can have the correlations asked for ({pairs(asked, symbols)}"
            f"); the nearest possible are used: {pairs(used, symbols)}."
        )
    return Request(asked, _unit_diagonal(used), tuple(said))


def joint_request(given: Given, pasts: Sequence[History]) -> Request | None:
    """What several assets shall share, by ``read_correlation``; ``None`` for a single one.

    Raises:
        UserError: a correlation of one history alone, or one that cannot be read.
    """
    if len(pasts) > 1:
        return read_correlation(given, pasts)
    if given is not None:
        raise UserError("correlation needs several histories, and one was given; leave it out")
    return None


def realised_correlation(returns: Sequence[Float64[Tensor, "paths steps"]]) -> Matrix:
    """Pearson correlation of the bar log returns of every pair, pooled over paths and bars.

    NaN off the diagonal where a single return is all there is.
    """
    if returns[0].numel() < 2:
        return torch.full((len(returns), len(returns)), math.nan).double().fill_diagonal_(1.0)
    with one_thread():  # sums of several threads round differently
        return _unit_diagonal(torch.corrcoef(torch.stack([r.flatten() for r in returns])))


def pairs(
    matrix: Matrix, symbols: Sequence[str], some: Sequence[tuple[int, int]] | None = None
) -> str:
    """ "A-B 0.30, A-C -0.12": the entries above the diagonal; of many the first ten."""
    wanted = pairs_of(symbols) if some is None else list(some)
    text = ", ".join(f"{symbols[i]}–{symbols[j]} {matrix[i, j]:.2f}" for i, j in wanted[:10])
    return text + (f" and {len(wanted) - 10} more" if len(wanted) > 10 else "")


def nested(matrix: Matrix, symbols: Sequence[str]) -> dict[str, dict[str, float]]:
    """Plain data that ``correlation=`` takes back."""
    return {
        a: {b: float(matrix[i, j]) for j, b in enumerate(symbols)} for i, a in enumerate(symbols)
    }


def pairs_of(symbols: Sequence[str]) -> list[tuple[int, int]]:
    return list(combinations(range(len(symbols)), 2))


def _daily(timestamps: pl.Series) -> bool:
    """At most one bar a day: its clock says nothing, so that 00:00 and 16:00 are one bar."""
    return timestamps.dt.date().n_unique() == timestamps.len()


def _of_rows(rows: Sequence[Any], symbols: Sequence[str]) -> Matrix:
    n = len(symbols)
    sizes = [len(r) if isinstance(r, Sequence) and not isinstance(r, str) else -1 for r in rows]
    if sizes != [n] * n:
        shape = f"{len(rows)} rows" + ("" if -1 in sizes else f" of {sorted(set(sizes))} entries")
        raise UserError(
            f"correlation has {shape}; for {n} symbols ({', '.join(symbols)}) give {n} rows of {n}"
        )
    entries = {
        (i, j): _number(value, f"correlation of {symbols[i]} and {symbols[j]}")
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
    }
    return _symmetric(entries, symbols)


def _of_pairs(given: Mapping[Any, Any], symbols: Sequence[str]) -> Matrix:
    """NaN where a pair is not mentioned."""
    entries: dict[tuple[int, int], float] = {}

    def put(first: Any, second: Any, value: Any) -> None:
        i, j = (_row_of(str(name), symbols) for name in (first, second))
        number = _number(value, f"correlation of {first} and {second}")
        if entries.setdefault((i, j), number) != number:
            raise UserError(f"correlation gives {first} and {second} twice, with different values")

    for key, value in given.items():
        if isinstance(value, Mapping):
            for other, number in value.items():
                put(key, other, number)
        elif isinstance(key, tuple) and len(key) == 2:
            put(*key, value)
        else:
            put(*_split(str(key), symbols), value)
    return _symmetric(entries, symbols)


def _split(key: str, symbols: Sequence[str]) -> tuple[str, str]:
    """Symbols may hold a slash themselves, so every place is tried."""
    for k, character in enumerate(key):
        if character == "/" and key[:k].strip() in symbols and key[k + 1 :].strip() in symbols:
            return key[:k].strip(), key[k + 1 :].strip()
    raise UserError(
        f"correlation has the key {key!r}, which is no pair of the symbols {', '.join(symbols)}; "
        "write A/B: 0.3 for the symbols A and B"
    )


def _of_file(path: Path, symbols: Sequence[str]) -> Matrix:
    """A square table with the symbols as header, with or without a first column of them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [
                [c.strip() for c in row] for row in csv.reader(file) if any(map(str.strip, row))
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not a CSV file in UTF-8"
        raise UserError(f"correlation={path} cannot be read: {reason}") from error
    if not rows:
        raise UserError(f"correlation={path} is empty; give a table with the symbols as header")
    header, body = rows[0], rows[1:]
    labelled = bool(body) and all(len(row) == len(header) and row[0] in header[1:] for row in body)
    names = header[1:] if labelled or not header[0] else header
    labels = [row[0] for row in body] if labelled else names
    values = [row[1:] for row in body] if len(names) < len(header) else body
    if len(values) != len(names) or any(len(row) != len(names) for row in values):
        raise UserError(
            f"correlation={path} has {len(names)} columns and {len(values)} rows; give a square "
            "table with the symbols as header"
        )
    if len(set(labels)) < len(labels) or len(set(names)) < len(names):
        raise UserError(f"correlation={path} names a symbol twice")
    for symbol in symbols:
        if symbol not in names:
            raise UserError(
                f"correlation={path} has no column for {symbol!r}; it has {', '.join(names)}"
            )
    return _of_rows(
        [[values[labels.index(a)][names.index(b)] for b in symbols] for a in symbols], symbols
    )


def _symmetric(entries: Mapping[tuple[int, int], float], symbols: Sequence[str]) -> Matrix:
    matrix = torch.full((len(symbols), len(symbols)), math.nan, dtype=torch.float64)
    matrix.fill_diagonal_(1.0)
    for (i, j), value in entries.items():
        if i == j and value != 1:
            raise UserError(f"correlation of {symbols[i]} with itself is {value:g}; it must be 1")
        other = entries.get((j, i), value)
        if abs(other - value) > 1e-9:
            raise UserError(
                f"correlation of {symbols[i]} and {symbols[j]} is {value:g} and the other way "
                f"round {other:g}; give one value"
            )
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _row_of(symbol: str, symbols: Sequence[str]) -> int:
    if symbol not in symbols:
        raise UserError(
            f"correlation names the symbol {symbol!r}; the histories are {', '.join(symbols)}"
        )
    return list(symbols).index(symbol)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not _is_number(value) or not -1 <= float(value) <= 1:
        raise UserError(f"{what} is {value!r}; it must be a number within [-1, 1]")
    return float(value)


def _unit_diagonal(matrix: Tensor) -> Matrix:
    """Symmetric with ones on the diagonal, to the last bit."""
    matrix = (matrix + matrix.T) / 2
    return matrix.fill_diagonal_(1.0)
