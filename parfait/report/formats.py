"""Numbers as the pages and figures show them."""


def percent(value: float | None) -> str:
    """0.1234 as "12.3%", unknown as a dash."""
    return "–" if value is None else f"{value:.1%}".replace("-", "−")


def signed(value: float | None) -> str:
    """0.1234 as "+12.3%", unknown as a dash."""
    return "–" if value is None else f"{value:+.1%}".replace("-", "−")


def decimal(value: float) -> str:
    """A correlation with two digits and its sign."""
    return f"{value:+.2f}".replace("-", "−")


def number(value: float | None) -> str:
    """Three significant digits, unknown as a dash."""
    return "–" if value is None else f"{value:,.3g}".replace("-", "−")


def money(value: float) -> str:
    """Whole numbers from a thousand on, else four significant digits."""
    return f"{value:,.{'0f' if abs(value) >= 1000 else '4g'}}".replace("-", "−")
