"""Words of others on a terminal."""


def printable(text: str) -> str:
    """The text on one line, without characters that move a cursor, colour or turn a line around."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
