"""What was made of data, kept under a hash of all that it was made of."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from jaxtyping import Float64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from parfait.data import convert, load_bars
from parfait.data.sources import file_name, find_sources, symbol_from_name
from parfait.labelling.store import code_key
from parfait.labels import Labels, label_windows
from parfait.utils.errors import MISFITS, UserError
from parfait.utils.files import write_files


def read_series(
    path: str | Sequence[str],
    options: Mapping[str, Any],
    pattern: str | None = None,
    cache: Path | None = None,
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Bars by symbol, sorted, and a sentence for every file that was left out.

    Args:
        path: where they are.
        options: of ``load_bars``.
        pattern: as in ``convert``.
        cache: folder for converted bars; ``None`` reads the files themselves.

    Raises:
        UserError: nothing can be used, a single file cannot, or two files have one symbol.
    """
    frames: dict[str, pl.DataFrame] = {}
    failed: list[str] = []
    paths = [path] if isinstance(path, str) else list(path)
    for one in paths:
        if cache is None:
            found, bad = _load(one, options, pattern)
        else:
            told = json.dumps([one, pattern, dict(options)], sort_keys=True, default=str)
            home = cache / "bars" / hashlib.sha256(told.encode()).hexdigest()[:16]
            done = convert(one, home, pattern, **options)
            names = {symbol: home / f"{file_name(symbol)}.parquet" for symbol in done.reports}
            found = {symbol: pl.read_parquet(file) for symbol, file in names.items()}
            bad = list(done.failed.values())
        failed += bad
        for symbol, frame in found.items():
            if symbol in frames:
                raise UserError(f"two data files are called {symbol!r}; rename one of them")
            frames[symbol] = frame
    return dict(sorted(frames.items())), failed


def _load(
    path: str, options: Mapping[str, Any], pattern: str | None
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    frames: dict[str, pl.DataFrame] = {}
    failed: list[str] = []
    for file in find_sources(path):
        try:
            frame, report = load_bars(file, **options)
        except UserError as error:
            failed.append(str(error))
            continue
        if "symbol" in frame.columns:
            found = {str(p["symbol"][0]): p for p in frame.partition_by("symbol")}
        else:
            symbol = report.symbols[0]
            if pattern is not None and "symbol" not in report.columns:
                symbol = symbol_from_name(file, pattern)
            found = {symbol: frame}
        for symbol, part in found.items():
            if symbol in frames:
                raise UserError(f"two data files are called {symbol!r}; rename one of them")
            frames[symbol] = part
    if not frames:
        raise UserError(failed[0])
    return frames, failed


def cached_labels(
    bars: Float64[Tensor, "windows n 5"],
    bars_per_year: Float64[Tensor, " windows"],
    folder: Path,
    **settings: Any,
) -> Labels:
    """``label_windows``, or what it said of the very same windows before.

    The name of the file is the SHA-256 of the bars, their frequencies, every setting and the code
    that makes labels; a broken file counts as none.

    Args:
        bars, bars_per_year, **settings: of ``label_windows``.
        folder: where results are kept.
    """
    digest = hashlib.sha256(json.dumps([list(bars.shape), settings, code_key()]).encode())
    for tensor in (bars, torch.as_tensor(bars_per_year, dtype=torch.float64)):
        digest.update(tensor.contiguous().numpy().tobytes())
    name = f"{digest.hexdigest()}.safetensors"
    try:
        return _read(folder / name)
    except (SafetensorError, *MISFITS):
        pass  # absent, cut short, or of another shape
    labels = label_windows(bars, bars_per_year, **settings)
    write_files(folder, {name: _bytes(labels)})
    return labels


def _read(file: Path) -> Labels:
    with safe_open(file, "pt") as kept:
        told = kept.metadata()
        tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    return Labels(**tensors, method=told["method"], coordinates=int(told["coordinates"]))


def _bytes(labels: Labels) -> bytes:
    told = {"method": labels.method, "coordinates": str(labels.coordinates)}
    tensors = {n: v.contiguous() for n, v in vars(labels).items() if isinstance(v, Tensor)}
    return save(tensors, told)
