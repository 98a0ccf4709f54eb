"""Factor files: splits and dividends as multipliers of past prices."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parfait.data.archive import read_raw
from parfait.utils.errors import UserError

_LAYOUT = "date,price_factor,split_factor,reference_close"
_MAX_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Factors:
    """What multiplies the prices of a day.

    Args:
        days: (rows,) int64, days since 1970, increasing; row i holds for days in
            (days[i - 1], days[i]], and 1 holds after the last.
        prices, splits: (rows,) float64, for dividends and for splits.
    """

    days: np.ndarray
    prices: np.ndarray
    splits: np.ndarray

    def at(self, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Price factor and split factor of each day."""
        row = np.searchsorted(self.days, days, side="left")
        return np.append(self.prices, 1.0)[row], np.append(self.splits, 1.0)[row]


def find_factors(path: str | Path, symbol: str) -> Factors | None:
    """Those of a file, or of SYMBOL.csv in a folder (``None`` where it is absent).

    Raises:
        UserError: the file is absent or not of the layout.
    """
    path = Path(path)
    if not path.is_dir():
        return read_factors(path)
    for file in sorted(path.glob("*.csv")):
        if file.stem.casefold() == symbol.casefold():
            return read_factors(file)
    return None


def read_factors(path: Path) -> Factors:
    """Reads ``date,price_factor,split_factor[,reference_close]`` with or without a header.

    Raises:
        UserError: a row is not of this layout, a factor is not above 0, or dates do not increase.
    """
    try:
        text = read_raw(path, _MAX_BYTES).data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a factor file of the layout {_LAYOUT}") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not any(cells) or (number == 1 and cells[0].casefold() == "date"):
            continue
        rows.append(_parse(path, number, cells))
    if not rows:
        raise UserError(f"{path} holds no factors; its layout is {_LAYOUT}")
    days, prices, splits = (np.array(column) for column in zip(*rows, strict=True))
    late = np.flatnonzero(np.diff(days) <= 0)
    if len(late):
        raise UserError(f"{path}: dates of factors must increase, but row {late[0] + 2} does not")
    return Factors(days, prices, splits)


def _parse(path: Path, number: int, cells: list[str]) -> tuple[int, float, float]:
    try:
        digits = cells[0].replace("-", "")
        day = np.datetime64(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}", "D")
        price, split = float(cells[1]), float(cells[2])
        if len(digits) != 8 or not all(math.isfinite(x) and x > 0 for x in (price, split)):
            raise ValueError("a factor must be above 0")
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{path}, row {number}: {','.join(cells)[:60]!r} is not of the layout {_LAYOUT}"
        ) from error
    return int(day.astype(np.int64)), price, split
