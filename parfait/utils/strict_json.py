"""JSON from outside: an object of finite numbers, or one sentence."""

import json
from pathlib import Path
from typing import Any

from parfait.utils.errors import UserError


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """``json.loads`` of an object, refusing NaN and Infinity.

    Args:
        text: JSON; bytes are UTF-8, UTF-16 or UTF-32.
        what: the subject of the sentence.

    Raises:
        UserError: it is no text, no JSON, nested too deep, or no object.
    """

    def refuse(constant: str) -> None:
        raise UserError(
            f"{what} holds {constant}, which is not a number; use a finite value or null"
        )

    try:
        data = json.loads(text, parse_constant=refuse)
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{what} must be an object, not {type(data).__name__}")
    return data


def read_object(file: Path) -> dict[str, Any]:
    """The object in a file; ``UserError`` names it."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    return parse_object(raw, str(file))
