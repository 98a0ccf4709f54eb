"""A number that was measured, or the reason why it could not be."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A value with its standard error; where the data do not identify it, no value but a reason.

    Args:
        value: the number, or None.
        error: its standard error, where one is known.
        reason: why there is no value (or no error), in a few words.
    """

    value: float | None
    error: float | None = None
    reason: str = ""

    @property
    def known(self) -> bool:
        """Is there a value?"""
        return self.value is not None

    @classmethod
    def of(cls, value: float, error: float | None = None, reason: str = "") -> "Measured":
        """A value that may be NaN or infinite: then it is none, for ``reason``."""
        if not math.isfinite(value):
            return cls(None, None, reason or "not defined on this sample")
        if error is not None and not math.isfinite(error):
            return cls(value, None, reason or "no sampling error on this sample")
        return cls(value, error)

    def __str__(self) -> str:
        if self.value is None:
            return f"n/a ({self.reason})"
        return f"{self.value:.4g}" + (f" ± {self.error:.2g}" if self.error is not None else "")
