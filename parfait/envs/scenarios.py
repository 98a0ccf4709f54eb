"""Generated paths as a market: a ``Simulation``, its table, or the folder it was written to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Float64
from numpy import ndarray

from parfait.bars import BAR_FIELDS, bars_to_tensor, check_bars, estimate_bars_per_year
from parfait.envs.market import Market
from parfait.history import History
from parfait.regime import Regime
from parfait.simulation import Simulation
from parfait.utils.errors import MISFITS, UserError

Frame = pl.DataFrame | str | Path


def of_simulation(simulation: Simulation, window: int) -> Market:
    """The paths of a run, with the regimes they were drawn from."""
    return of_paths(
        simulation.bars,
        window,
        simulation.bars_per_year,
        simulation.history,
        [c.name for c in simulation.resolved.components],
        coordinates(simulation.regime),
    )


def of_folder(
    folder: Path, window: int, bars_per_year: float | None, history: Frame | None
) -> Market:
    """A folder of ``simulate``; the regime of a path is the centre of its scenario.

    Raises:
        UserError: the folder holds no finished run, or not the history that it continues.
    """
    table = folder / "paths.parquet"
    try:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        records = json.loads((folder / "scenarios.json").read_text("utf-8"))
        bars = pl.read_parquet(table / "*.parquet" if table.is_dir() else table)
        years = float(bars_per_year or summary["bars_per_year"])
        assets = summary.get("assets") or {None: summary}
        markets = []
        for symbol, asset in assets.items():
            mine = [r for r in records if r.get("symbol") == symbol]
            part = bars if symbol is None else bars.filter(pl.col("symbol") == symbol)
            regimes = torch.cat(
                [Regime.from_dict(r["params"]).to_unconstrained()[None] for r in mine]
            )
            names = [r["name"] for r in mine]
            centres = regimes.nan_to_num().numpy()[part.filter(pl.col("step") == 0)["scenario"]]
            past = _history(symbol, asset, summary.get("history_options"), history)
            markets.append(of_paths(part, window, years, past, names, centres))
    except UserError:
        raise
    except (*MISFITS, pl.exceptions.PolarsError) as error:
        raise UserError(f"{folder} is no folder of a finished simulate run: {error}") from error
    return Market.join(markets)


def of_paths(
    bars: pl.DataFrame,
    window: int,
    bars_per_year: float | None,
    history: pl.DataFrame | None = None,
    scenarios: Sequence[str] = (),
    regime: Float32[ndarray, "paths 11"] | None = None,
) -> Market:
    """A table with the columns ``path`` and those of bars, by option ``scenario``.

    Args:
        bars: rows of a path follow each other; all paths are equally long.
        window: so many bars of the history are put before every path.
        bars_per_year: estimated from the timestamps of the first path unless given.
        history: what the paths continue.
        scenarios: what the values of ``scenario`` are called.
        regime: of every path.

    Raises:
        UserError: invalid bars, or paths of several lengths.
    """
    check_bars(bars, "the paths")
    lengths = bars["path"].rle().struct.field("len")
    n = len(lengths)
    if lengths.n_unique() != 1:
        raise UserError("the paths must come one after another and be equally long")
    paths = bars_to_tensor(bars).numpy().reshape(n, -1, len(BAR_FIELDS))
    past = 0
    if history is not None:
        end = bars_to_tensor(history.tail(window)).numpy()
        past = len(end)
        paths = np.concatenate([np.broadcast_to(end, (n, *end.shape)), paths], axis=1)
    which = np.zeros(n, dtype=np.int64)
    if "scenario" in bars.columns:
        which = bars["scenario"].to_numpy().reshape(n, -1)[:, 0].astype(np.int64)
    first = bars["timestamp"].head(bars.height // n)
    return Market.of(
        paths,
        bars_per_year=bars_per_year or estimate_bars_per_year(first),
        past=past,
        scenario=which,
        scenarios=scenarios or [str(k) for k in range(int(which.max()) + 1)],
        regime=regime,
    )


def coordinates(regime: Regime) -> Float64[ndarray, "paths 11"]:
    """Unconstrained, of the first bar where a path changes its regime; 0 where unresolved."""
    z = regime.to_unconstrained().nan_to_num()
    return (z if z.ndim == 2 else z[0]).numpy()


def _history(
    symbol: str | None, asset: Mapping[str, Any], options: Any, given: Frame | None
) -> pl.DataFrame | None:
    """The bars that a run's paths continue, found where the run found them."""
    source, named = given, asset["history"] if given is None else "that was given"
    if given is None:
        name = Path(asset["history"])
        embedded = History.load(None)[0]
        if asset["history"] == embedded.name:
            source = None
        elif name.is_file():
            source = name
        else:
            return None
    found = History.load(source, options or {})
    match = next((h for h in found if symbol is None or h.symbol in ("", symbol)), None)
    if match is None or not np.isclose(match.last_close, asset["spot"], rtol=1e-9):
        raise UserError(
            f"the history {named} does not end at {asset['spot']}, where the "
            "paths begin; give the one they continue as history"
        )
    return match.bars
