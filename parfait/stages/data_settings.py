"""``data`` of a stage that reads files: where they are, and how they are read."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from parfait.data.embedded import embedded_folder
from parfait.data.sources import find_sources
from parfait.stages.schema import plain
from parfait.utils import lineage
from parfait.utils.errors import UserError


def data_path(value: Any) -> str | None:
    """``data.path`` as text; ``None`` stays.

    Raises:
        UserError: it cannot name a file.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise UserError(
            f"data.path={value} names no file; give a file, a folder or a glob in quotes"
        )
    return str(value)


def data_files(value: Any) -> Any:
    """The files that ``data.path`` names, for their fingerprint; those that ship where it is null.

    The folder of a run stays one, since its ``lineage.json`` names what it made; what cannot be
    found stays as it was given, since whoever reads it has a sentence for that.
    """
    if value is None:
        return embedded_folder()
    given = plain(value)
    found = list[Path]()
    with suppress(UserError, OSError):
        for path in given if isinstance(given, list) else [given]:
            run = Path(str(path))
            found += [run] if lineage.read(run) else find_sources(run)
    return found or given


def load_options(value: Any) -> dict[str, Any]:
    """``data.options`` as keyword arguments of ``load_bars``.

    Raises:
        UserError: it is no mapping.
    """
    options = plain(value) or {}
    if not isinstance(options, dict):
        raise UserError(
            f"data.options={options} names no option; give data.options.price_scale=1e-4 or "
            "another option of parfait.data.load_bars"
        )
    return options
