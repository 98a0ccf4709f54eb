"""What ``simulate`` draws from: sentences, a stretch of history, or scenarios of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parfait.stages.schema import SimulateConfig, plain
from parfait.utils.errors import UserError


def read_sources(settings: SimulateConfig) -> Sequence[Any]:
    """The instructions, or the ``Like`` or the distribution that stands in their place.

    Raises:
        UserError: none of them, several, or a file that cannot be used.
    """
    history = plain(settings.like_history, text=True)
    if settings.like is None and history is not None:
        raise UserError("like_history= is where like= lies; give like=2008-09-01:2008-12-31")
    names = ("like", "scenarios", "instruction", "instruction_file")
    given = [name for name in names if getattr(settings, name) is not None]
    if len(given) > 1 and given[0] in ("like", "scenarios"):
        raise UserError(
            f"{given[0]}= takes the place of a sentence, and {given[1]} is set too; "
            "give one of them"
        )
    if settings.like is not None:
        from parfait.likeness import Like

        return [Like(settings.like, history, plain(settings.history_options))]
    if settings.scenarios is not None:
        from parfait.regime.records import read_scenarios

        return [read_scenarios(settings.scenarios)]
    return read_instructions(settings.instruction, settings.instruction_file)


def read_instructions(instruction: str | None, file: str | None) -> list[str]:
    """The sentences to simulate: the one given, or the lines of ``file`` that are not blank.

    Raises:
        UserError: none, both, an empty one, or a file that cannot be read as UTF-8 text.
    """
    if instruction is not None and file is not None:
        raise UserError("instruction and instruction_file are both set; give one of them")
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"instruction_file={file} cannot be read: {reason}") from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise UserError(f"instruction_file={file} holds no instruction; write one per line")
        return found
    if instruction is None:
        raise UserError(
            'no instruction; give a sentence in quotes, for example "A calm market, rising '
            'slowly", or like=2008-09-01:2008-12-31'
        )
    if not instruction.strip():
        raise UserError("the instruction is empty; describe the market in a sentence")
    return [instruction]
