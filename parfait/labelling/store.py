"""Tables of labels on disk: one file per symbol, whole or absent, never stale."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import parfait.labels
import parfait.regime
from parfait.data.conversion import Conversion
from parfait.data.sources import file_name
from parfait.labelling.rolling import Rolling, label_symbol
from parfait.utils.code import code_hash
from parfait.utils.files import json_bytes, parquet_bytes, write_files
from parfait.utils.shards import Shard

BARS, LABELS, FAILED, FIGURES = "bars", "labels", "failed", "figures"
FORMAT = 1  # raised when the same labels are written in another form


def label_key(content: str, symbol: str, settings: Rolling) -> str:
    """SHA-256 of the bars' key, the symbol, every setting and the code that makes labels."""
    told = json.dumps([FORMAT, content, symbol, asdict(settings), code_key()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def code_key() -> str:
    """SHA-256 of the files that labels are made by, weights of networks included."""
    return code_hash((parfait.labels, parfait.regime), [Path(__file__).parent / "rolling.py"])


def stored(folder: Path, symbol: str, key: str) -> dict[str, Any] | None:
    """The account of labels that were made with this key and lie there whole, else ``None``."""
    stem = folder / LABELS / file_name(symbol)
    told = read_json(stem.with_name(f"{stem.name}.json"))
    if told is None or told.get("key") != key:
        return None
    if not told["windows"]:
        return told
    return told if _sha256(stem.with_name(f"{stem.name}.parquet")) == told["sha256"] else None


def write_labels(
    folder: Path,
    symbol: str,
    key: str,
    bars: pl.DataFrame,
    settings: Rolling,
    report: Mapping[str, Any],
) -> dict[str, Any]:
    """Labels one symbol, writes its table and then its account, which it returns.

    The account tells what was labelled and how: key, sha256 of the table, windows and
    ``effective_windows`` (windows times stride over length, since neighbours share bars), the
    constants of the symbol, the range of times, and the loader's report. A symbol with too few bars
    in a row has an account and no table.
    """
    made = label_symbol(bars, symbol, settings)
    table = folder / LABELS / f"{file_name(symbol)}.parquet"
    windows = made.frame.height
    data = parquet_bytes(made.frame) if windows else b""
    share = made.frame.select((settings.stride / pl.col("n")).clip(upper_bound=1.0)).sum().item()
    account = {
        "symbol": symbol,
        "key": key,
        "windows": windows,
        "effective_windows": round(float(share or 0), 1),
        "bars": bars.height,
        "first": str(bars["timestamp"][0]),
        "last": str(bars["timestamp"][-1]),
        "longest_segment": max((len(s) for s in made.segments), default=0),
        "sha256": hashlib.sha256(data).hexdigest() if windows else None,
        **made.constants,
        "report": dict(report),
    }
    if not windows:
        table.unlink(missing_ok=True)
    files = {table.name: data} if windows else {}  # the account last: it vouches for the table
    write_files(table.parent, files | {f"{file_name(symbol)}.json": json_bytes(account)})
    return account


def note_failures(folder: Path, done: Conversion, shard: Shard) -> None:
    """One file for each symbol of this shard that could not be used, or not from every file."""
    by_symbol: dict[str, dict[str, str]] = {}
    for key, sentence in done.failed.items():
        by_symbol.setdefault(done.failed_symbols[key], {})[key] = sentence
    for file in (folder / FAILED).glob("*.json"):
        told = read_json(file)
        if told is None or (shard.holds(told["symbol"]) and told["symbol"] not in by_symbol):
            file.unlink(missing_ok=True)
    for symbol, failed in by_symbol.items():
        data = json_bytes({"symbol": symbol, "failed": dict(sorted(failed.items()))})
        write_files(folder / FAILED, {f"{file_name(symbol)}.json": data})


def forget_all_but(folder: Path, symbols: Collection[str], shard: Shard) -> None:
    """What is no longer among the data has no labels; the account goes first."""
    for file in (folder / LABELS).glob("*.json"):
        told = read_json(file)
        if told is None or (shard.holds(told["symbol"]) and told["symbol"] not in symbols):
            for place, ending in ((LABELS, "json"), (LABELS, "parquet"), (FIGURES, "png")):
                (folder / place / f"{file.stem}.{ending}").unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any] | None:
    """What an account says; ``None`` where it is absent or broken."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and "symbol" in told else None


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
