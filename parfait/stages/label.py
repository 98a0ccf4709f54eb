"""``label``: files of bars in, a table of regime posteriors per symbol out."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.data.conversion import Conversion, convert
from parfait.data.embedded import embedded_folder
from parfait.data.sources import file_name
from parfait.labelling import Rolling
from parfait.labelling.overview import write_overview
from parfait.labelling.store import (
    BARS,
    FAILED,
    FIGURES,
    LABELS,
    forget_all_but,
    label_key,
    note_failures,
    stored,
    write_labels,
)
from parfait.stages.data_settings import data_files, data_path, load_options
from parfait.stages.findings import label_findings
from parfait.stages.on_ray import on_ray
from parfait.stages.progress import progress_bar
from parfait.stages.schema import LabelConfig, plain, validate
from parfait.utils import tracking
from parfait.utils.errors import UserError, require
from parfait.utils.files import sweep_temporaries
from parfait.utils.run_guard import run_guard
from parfait.utils.shards import Shard
from parfait.utils.threads import one_thread

log = logging.getLogger(__name__)

_STEPS = {"read": "reading files", "written": "writing bars", "label": "labelling symbols"}
Progress = Callable[[str, int, int], None]


def label(cfg: DictConfig) -> None:
    """Converts the files of ``cfg.data`` and labels their symbols, one at a time.

    ``output_dir`` gets ``bars`` (see ``convert``), ``labels/SYMBOL.parquet`` with its account in
    ``labels/SYMBOL.json``, ``figures/SYMBOL.png``, ``summary.json`` and ``quality.txt``. What an
    earlier call made of the same bytes by the same settings is not made again. Shards may share the
    folder; together they leave what one run leaves.

    Raises:
        UserError: a setting or the data cannot be used, or no symbol has a window.
    """
    start = time.perf_counter()
    settings = validate(cfg, LabelConfig)
    if on_ray("label", cfg):
        return
    shard = Shard.of(settings.shard)
    require("figures", settings.figures, 0)
    rolling = _rolling(settings)
    data = settings.data
    options = load_options(data.options)
    if "max_gap" in options:
        raise UserError("data.options.max_gap is data.max_gap here; give that")
    options |= {"max_gap": rolling.max_gap}
    path = data_path(data.path) or embedded_folder()
    console = Console()
    name = "label" if shard.whole else f"label.{shard}"
    with run_guard(cfg, name, shared=True) as folder, one_thread():
        part = "" if shard.whole else str(shard)
        tracker = tracking.start(cfg, "label", folder, {"data": data_files(data.path)}, part)
        for place in (folder / BARS, folder / LABELS, folder / FAILED, folder / FIGURES):
            sweep_temporaries(place)
        with progress_bar(console, _STEPS) as progress:
            done = convert(path, folder / BARS, data.pattern, progress, shard, **options)
            made = _label_all(folder, done, rolling, shard, settings.figures, progress)
        summary, table = write_overview(folder, rolling)
        told = (
            f"{made} symbols labelled, {len(done.reports) - made} unchanged, "
            f"{len(done.failed)} failed."
        )
        log.info("%s", told, extra={"file_only": True})
        if shard.whole and not summary["windows"]:
            raise UserError(
                f"no symbol has {rolling.bars(min(rolling.lengths))} bars in a row, the longest "
                f"has {summary['longest_segment']}; give more data, or smaller labels.n or "
                "labels.before"
            )
        bars = [folder / BARS / f"{file_name(symbol)}.parquet" for symbol in sorted(done.reports)]
        tracker.report(
            **label_findings(summary, done.reports.values(), made, bars),
            figures=sorted((folder / FIGURES).glob("*.png")),
            outputs={"bars": folder / BARS / "*.parquet", "labels": folder / LABELS},
        )
    console.print(Text(table), soft_wrap=True)
    console.print(f"{told} {time.perf_counter() - start:.1f} s.", highlight=False)
    console.print(Text(f"Labels: {folder / LABELS}"), soft_wrap=True)


def _label_all(
    folder: Path,
    done: Conversion,
    rolling: Rolling,
    shard: Shard,
    figures: int,
    progress: Progress,
) -> int:
    """Labels what is not labelled yet, one symbol in memory at a time; returns how many."""
    forget_all_but(folder, set(done.reports), shard)
    note_failures(folder, done, shard)
    made = drawn = 0
    for number, (symbol, report) in enumerate(sorted(done.reports.items()), 1):
        stem = file_name(symbol)
        source, picture = folder / BARS / f"{stem}.parquet", folder / FIGURES / f"{stem}.png"
        key = label_key(done.keys[symbol], symbol, rolling)
        account = stored(folder, symbol, key)
        if account is None:
            picture.unlink(missing_ok=True)  # before the labels it would otherwise outlive
            account = write_labels(folder, symbol, key, pl.read_parquet(source), rolling, report)
            made += 1
        if account["windows"] and drawn < figures:
            drawn += 1
            if not picture.exists():
                from parfait.report.labels import write_figure

                write_figure(folder, symbol, rolling, account)
        progress("label", number, len(done.reports))
    return made


def _rolling(settings: LabelConfig) -> Rolling:
    data, labels = settings.data, settings.labels
    lengths = plain(labels.n)
    lengths = lengths if isinstance(lengths, list) else [lengths]
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in lengths):
        raise UserError(f"labels.n={labels.n} must be a whole number of returns, or a list of them")
    return Rolling(
        lengths=tuple(lengths),
        stride=labels.stride,
        before=labels.before,
        max_gap=data.max_gap,
        method=labels.method,
        bars_per_year=data.bars_per_year,
        range_correction=labels.range_correction,
        train_end=data.train_end,
    )
