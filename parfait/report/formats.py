"""Numbers as the pages and figures show them; what is unknown, ``None`` or NaN, is a dash."""

import math


def percent(value: float | None) -> str:
    """0.1234 as "12.3%"."""
    return _shown(value, ".1%")


def signed(value: float | None) -> str:
    """0.1234 as "+12.3%"."""
    return _shown(value, "+.1%")


def decimal(value: float) -> str:
    """A correlation with two digits and its sign."""
    return _shown(value, "+.2f")


def number(value: float | None) -> str:
    """Three significant digits."""
    return _shown(value, ",.3g")


def money(value: float) -> str:
    """Whole numbers from a thousand on, else four significant digits."""
    return _shown(value, ",.0f" if abs(value) >= 1000 else ",.4g")


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:{form}}".replace("-", "−")
