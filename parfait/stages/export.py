"""``export``: the bars of a simulation as files that other tools read."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.stages.schema import ExportConfig, plain, validate
from parfait.utils import tracking
from parfait.utils.errors import UserError
from parfait.utils.run_guard import run_guard

FORMATS = ("csv", "lean", "zipline")


def export(cfg: DictConfig) -> None:
    """Writes the chosen paths of ``cfg.run`` into ``cfg.output_dir``, which appears when all of
    them are there.

    Raises:
        UserError: a run that cannot be read, a setting that cannot be used, or bars that the format
            cannot hold.
    """
    settings = validate(cfg, ExportConfig)
    if not settings.run:
        raise UserError("export needs run=..., the folder that simulate.py printed")
    _check(settings)
    console = Console()
    with run_guard(cfg, "export", staged=True) as folder:
        tracker = tracking.start(cfg, "export", folder, {"simulation": settings.run})
        from parfait.export.files import CONTENTS, write_csv, write_zipline
        from parfait.export.lean import write_lean
        from parfait.export.source import Source

        scaled = {"volume_scale": settings.volume_scale}
        write = {
            "csv": write_csv,
            "lean": partial(write_lean, timezone=settings.timezone, **scaled),
            "zipline": partial(write_zipline, **scaled),
        }[settings.format]
        source = Source.of(Path(settings.run))
        count = write(source, folder, plain(settings.select))
        tracker.report({"series": count}, outputs={"contents": folder / CONTENTS})
    final = Path(settings.output_dir).absolute()
    console.print(Text(f"{count:,} series as {settings.format}: {final}"), soft_wrap=True)


def _check(settings: ExportConfig) -> None:
    if settings.format not in FORMATS:
        raise UserError(f"format={settings.format} is unknown; use one of {', '.join(FORMATS)}")
    if settings.timezone is not None and settings.format != "lean":
        raise UserError(f"timezone is of format=lean; leave it out of format={settings.format}")
    if settings.volume_scale != 1 and settings.format == "csv":
        raise UserError("volume_scale is of lean and zipline; format=csv keeps volumes as they are")
