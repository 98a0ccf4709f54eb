"""What a page may hold, whatever words it was given."""

from html.parser import HTMLParser

FORBIDDEN = {"script", "img", "iframe", "object", "embed", "form", "input", "a", "link", "base"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FORBIDDEN:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            outside = name.split(":")[-1] in ("href", "src") and not (value or "").startswith("#")
            if name.startswith("on") or outside or "javascript:" in (value or ""):
                self.faults.append(f"<{tag} {name}={value}>")


def faults(page: str) -> list[str]:
    """Elements and attributes that run code or reach outside."""
    reader = _Reader()
    reader.feed(page)
    return reader.faults
