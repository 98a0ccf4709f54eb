"""Bars that sentences make of days in the past, generated once and kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64
from numpy import ndarray

import parfait.semantic
from parfait.bars import BAR_FIELDS, bars_to_tensor
from parfait.data import fingerprint
from parfait.draft import Progress
from parfait.pipeline import Pipeline
from parfait.semantic.ontology.subject import symbol_asset
from parfait.streaming.job import code_key
from parfait.utils.code import code_hash
from parfait.utils.files import parquet_bytes, sweep_temporaries, write_files
from parfait.utils.seeding import derive_seed


@dataclass(frozen=True)
class Start:
    """A day from which a sentence goes on.

    Args:
        symbol: of the bars.
        bars: everything that was known at its close.
        sentence: what happens then.
    """

    symbol: str
    bars: pl.DataFrame
    sentence: str


def scenario_bars(
    starts: Sequence[Start],
    *,
    past: int,
    horizon: int,
    paths: int,
    run: str | None,
    cache: Path | None,
    seed: int,
    progress: Progress,
) -> Float64[ndarray, "paths bars 5"]:
    """``paths`` continuations of every start, each behind ``past`` bars of its history.

    Args:
        starts: where they begin, and by which sentence they go on.
        past, horizon: bars before and after.
        paths: of every start.
        run: training run of the network; ``None`` is what ships.
        cache: folder that keeps them; ``None`` keeps nothing.
        seed: of all of them.
        progress: called with ("scenarios", done, total).

    Raises:
        UserError: the run holds no model, or a sentence cannot be read.
    """
    pipeline = Pipeline.load(run)
    place = None if cache is None else cache / "scenarios"
    if place is not None:
        sweep_temporaries(place)
    code = [code_key(), code_hash([parfait.semantic])]  # an edit makes what is kept stale
    found = []
    for k, start in enumerate(starts):
        told = [*code, pipeline.microstructure.fingerprint, fingerprint({start.symbol: start.bars})]
        told += [start.sentence, horizon, paths, seed, k]
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        made = _kept(place, key)
        if made is None:
            simulation = pipeline.run(
                start.sentence,
                start.bars,
                n_paths=paths,
                horizon=horizon,
                seed=derive_seed(seed, "scenarios", k),
                asset=symbol_asset(start.symbol),
            )
            made = simulation.bars.sort("path", "step").select(BAR_FIELDS)
            if place is not None:
                write_files(place, {f"{key}.parquet": parquet_bytes(made)})
        ahead = bars_to_tensor(made).numpy().reshape(paths, horizon, -1)
        before = bars_to_tensor(start.bars.tail(past)).numpy()
        found.append(np.concatenate([np.broadcast_to(before, (paths, *before.shape)), ahead], 1))
        progress("scenarios", k + 1, len(starts))
    return np.concatenate(found)


def _kept(place: Path | None, key: str) -> pl.DataFrame | None:
    """What was generated before; ``None`` where it is absent or broken."""
    if place is None or not (place / f"{key}.parquet").is_file():
        return None
    try:
        return pl.read_parquet(place / f"{key}.parquet")
    except (OSError, pl.exceptions.PolarsError):
        return None
