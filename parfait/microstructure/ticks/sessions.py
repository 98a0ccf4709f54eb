"""When a bar trades: from its timestamp to an interval of the clock, and of the trading day."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parfait.calendars import read_calendar
from parfait.utils.errors import UserError

Array = NDArray[np.float64]
Times = NDArray[np.int64]
_MINUTE = 60_000_000  # microseconds
_DAY = 1440 * _MINUTE
_ASSUMED = (570 * _MINUTE, 960 * _MINUTE)  # 09:30 to 16:00


@dataclass(frozen=True)
class Session:
    """The trading day and the length of a bar.

    Args:
        open, close: of the day [microseconds since midnight, the clock of the timestamps].
        bar: length of a bar from its timestamp on [microseconds]; ``None`` when bars are days.
        source: where it comes from, for a person.
    """

    open: int
    close: int
    bar: int | None
    source: str

    @property
    def round_the_clock(self) -> bool:
        """The session is the whole day."""
        return self.close - self.open >= _DAY

    @property
    def bars(self) -> float:
        """Bars in a session."""
        return 1.0 if self.bar is None else (self.close - self.open) / self.bar

    def spans(self, timestamps: Times) -> tuple[Times, Times, Array, Array]:
        """(begin, length) of bars in microseconds, and (begin, end) as fractions of the session.

        An intraday bar outside the session lies in its middle, where the day is even.
        """
        day = timestamps // _DAY * _DAY
        if self.bar is None:
            whole = np.full(len(timestamps), self.close - self.open)
            return day + self.open, whole, np.zeros(len(day)), np.ones(len(day))
        start = (timestamps - day - self.open) / (self.close - self.open)
        end = np.clip(start + self.bar / (self.close - self.open), 0.0, 1.0)
        start = np.clip(start, 0.0, 1.0)
        outside = end - start < 1e-9
        start, end = np.where(outside, 0.5, start), np.where(outside, 0.5 + 1e-6, end)
        return timestamps, np.full(len(timestamps), self.bar), start, end


def read_session(
    timestamps: pl.Series,
    given: str | None = None,
    learned: tuple[int, int] | None = None,
) -> Session:
    """The session of bars: as given, as learned from minutes, as the bars' own calendar shows, or
    09:30 to 16:00 for daily bars that show none.

    Args:
        timestamps: of bars at least two of which tell how far they are apart.
        given: "09:30-16:00".
        learned: open and close of ``learn_day``.

    Raises:
        UserError: bars slower than daily, fewer than two bars, or times that cannot be read.
    """
    calendar = read_calendar(timestamps)
    if calendar.months or calendar.step > _DAY:
        raise UserError(
            f"ticks need bars of a day or less, and these are {calendar.step / _DAY:g} days apart: "
            "they hold no intraday session; give a daily or intraday history"
        )
    if calendar.step < 2:
        raise UserError("ticks need bars of at least two microseconds")
    bar = None if calendar.step == _DAY else int(calendar.step)
    if given is not None:
        return Session(*parse_session(given), bar, "given")
    if learned is not None:
        return Session(*learned, bar, "learned from minute bars")
    slots = [s for s in calendar.sessions if len(s)]
    if bar is not None and slots:
        first, last = min(int(s[0]) for s in slots), max(int(s[-1]) for s in slots) + bar
        return Session(first, min(last, _DAY), bar, "the times of the bars")
    if bar is not None or all(calendar.weekdays):
        return Session(0, _DAY, bar, "round the clock, as the bars")
    return Session(*_ASSUMED, bar, "assumed: daily bars tell of no hours")


def parse_session(text: str) -> tuple[int, int]:
    """ "09:30-16:00" as microseconds since midnight.

    Raises:
        UserError: another form, or a close that is not after the open.
    """
    found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", str(text).strip())
    if found:
        a, b, c, d = map(int, found.groups())
        start, end = (60 * a + b) * _MINUTE, (60 * c + d) * _MINUTE
        if start < end <= _DAY and b < 60 and d < 60:
            return start, end
    raise UserError(f"ticks.session={text} must be like 09:30-16:00, the close after the open")


def clock(microseconds: int) -> str:
    """Microseconds since midnight as HH:MM."""
    return f"{microseconds // (60 * _MINUTE):02d}:{microseconds // _MINUTE % 60:02d}"
