"""JSON from outside: an object of finite numbers, or one sentence."""

import json
from pathlib import Path
from typing import Any

from parfait.utils.errors import UserError


def parse_json(text: str | bytes, what: str) -> Any:
    """``json.loads``, refusing NaN and Infinity.

    Args:
        text: JSON; bytes are UTF-8, UTF-16 or UTF-32.
        what: the subject of the sentence.

    Raises:
        UserError: it is no text, no JSON, or nested too deep.
    """

    def refuse(constant: str) -> None:
        raise UserError(
            f"{what} holds {constant}, which is not a number; use a finite value or null"
        )

    try:
        return json.loads(text, parse_constant=refuse)
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} cannot be read: {error}") from error


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """``parse_json`` of an object; ``UserError`` for anything else."""
    data = parse_json(text, what)
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
