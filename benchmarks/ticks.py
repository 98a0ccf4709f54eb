"""Do refined ticks look like the minutes of a day that they were not learned from?

    python benchmarks/ticks.py --minutes FOLDER [--symbols aapl,ibm,spy] [--paths 100]

For each symbol the shape of the day is learned from all days of minute bars but the last. The last
day is given as one daily bar, refined many times into ticks, and these are put together to minutes
again. The shape "parametric" learns nothing, "uniform" has an even day and independent arrivals.
FOLDER holds files SYMBOL_DATE_*.csv as LEAN writes them: ten-thousandths, times since midnight in
New York; shares are those of half-hours of the regular session.

Before that, the law of Roll (1984) on Brownian bars (--bars of them, 100 trades each): the mean
lag-1 product of trade returns over -S^2/4, as shipped and with the two rules undone that keep it.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
from _common import Table, write_results  # pyright: ignore[reportImplicitRelativeImport]

from parfait.microstructure.ticks import (
    Intraday,
    TickModel,
    learn_day,
    load_minutes,
    parametric_day,
)
from parfait.microstructure.ticks.learn import autocorrelation
from parfait.microstructure.ticks.refine import Draws, narrowed, refine

OPTIONS = {"price_scale": 1e-4, "timezone": "America/New_York", "session": "09:30-16:00"}
MINUTES, PARTS = 390, 13
MINUTE = 60_000_000


def main() -> None:
    """Print the table of every symbol."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", required=True)
    parser.add_argument("--symbols", default="aapl,ibm,spy")
    parser.add_argument("--paths", type=int, default=100)
    parser.add_argument("--per-bar", type=int, default=4000)
    parser.add_argument("--bars", type=int, default=200_000)
    parser.add_argument("--out", default="outputs/benchmarks")
    given = parser.parse_args()
    tables, data = [bounce(given.bars)], {}
    tables[0].print()
    for symbol in given.symbols.split(","):
        files = sorted(Path(given.minutes).glob(f"{symbol}_*.csv"))
        table, numbers = compare(symbol, files, given.paths, given.per_bar)
        table.print()
        tables.append(table)
        data[symbol] = numbers
    write_results(given.out, "ticks", tables, data)


def bounce(bars: int, batch: int = 10_000, n: int = 100, spread: float = 1e-3) -> Table:
    """Lag-1 products in units of -S^2/4: 1 is Roll's law."""
    ticks = "parfait.microstructure.ticks"
    rows = {
        "shipped": nullcontext(),
        "no rests beside pinned trades": patch(f"{ticks}.refine.quiet_ticks", lambda n, phi: 0),
        "a mid that moves at every trade": patch(f"{ticks}.bridge.choose_moves", _always),
    }
    table = Table("Lag-1 covariance over -S^2/4", ("mid", "bars", "ratio"))
    whole = np.zeros(batch), np.ones(batch)
    for name, change in rows.items():
        found, random = [], np.random.default_rng(0)
        with change:
            for _ in range(max(bars // batch, 1)):
                moves = random.standard_normal((batch, 300)) * 0.01 / np.sqrt(300)
                price = np.exp(np.cumsum(moves, axis=1))
                ends = price[:, 0], price.max(1), price.min(1), price[:, -1], np.full(batch, 1e6)
                given = np.stack(ends, axis=1)
                draws = Draws.of(random, batch, n)
                made = refine(given, draws, parametric_day(), whole, spread)
                move = np.diff(np.log(made.price), axis=1)
                own = narrowed(given, spread)
                found.append(-(move[:, 1:] * move[:, :-1]).mean(1) / (own**2 / 4))
        ratio = np.concatenate(found)
        error = ratio.std() / np.sqrt(len(ratio))
        table.add(name, len(ratio), f"{ratio.mean():.4f} ± {error:.4f}")
    return table


def _always(uniform: np.ndarray, *_: object) -> np.ndarray:
    return np.broadcast_to(np.arange(uniform.shape[1]) > 0, uniform.shape)


def compare(symbol: str, files: list[Path], paths: int, per_bar: int) -> tuple[Table, dict]:
    """Rows: the real day, the mean of the days learned from, and the shapes."""
    past = load_minutes(files[:-1], OPTIONS)
    test = load_minutes(files[-1], OPTIONS)[0]
    day = learn_day(past)
    assert day.session is not None
    open_ = day.session[0]
    learned = day.spread or 1e-4
    flat = Intraday(np.ones(1), np.ones(1), branching=0.0)
    shapes = {"learned": day, "parametric": parametric_day(), "uniform": flat}
    real = facts(*grid(test, open_))
    table = Table(
        f"{symbol}: {len(past)} days learned, tested on {test['timestamp'][0].date()}, "
        f"S = {1e4 * learned:.2f} bp",
        (
            *("", "volume shape corr", "error", "variance shape corr", "error"),
            *("acf |r| 1", "acf |r| 1-10", "acf r 1", "acf volume 1", "acf volume 1-10"),
        ),
    )
    table.add("real", 1.0, 0.0, 1.0, 0.0, *(f"{x:.3f}" for x in real["acf"]))
    numbers = {"real": real["acf"].tolist()}
    before = [facts(*grid(frame, open_)) for frame in past]
    rows = {"mean of the days before": before}
    bar = daily(test).with_columns(path=pl.lit(0, pl.Int32))
    bars = pl.concat([bar.with_columns(path=pl.lit(i, pl.Int32)) for i in range(paths)])
    hours = "{:02d}:{:02d}-{:02d}:{:02d}".format(
        *divmod(open_ // MINUTE, 60), *divmod(day.session[1] // MINUTE, 60)
    )
    history = pl.concat([bar, bar.with_columns(pl.col("timestamp") + pl.duration(days=1))])
    for name, shape in shapes.items():
        model = TickModel.of(
            bars, history, day=shape, session=hours, per_bar=per_bar, spread=learned
        )
        rows[name] = []
        for ticks in model.frames(bars):
            for one in ticks.partition_by("path", maintain_order=True):
                rows[name].append(facts(*tick_grid(one, open_)))
    for name, found in rows.items():
        shape = [np.mean([f[x] for f in found], axis=0) for x in ("volume", "variance")]
        pairs = list(zip(shape, (real["volume"], real["variance"]), strict=True))
        corr = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]
        error = [float(np.abs(a - b).mean() * PARTS) for a, b in pairs]
        acf = np.array([f["acf"] for f in found])
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(acf.mean(0), acf.std(0), strict=True)]
        first = "n/a (even)" if name == "uniform" else corr[0]  # a constant with sampling noise
        table.add(name, first, error[0], corr[1], error[1], *cells)
        numbers[name] = [*corr, *error, *acf.mean(0).tolist()]
    return table, numbers


def daily(frame: pl.DataFrame) -> pl.DataFrame:
    """The minutes of a day as one bar."""
    return frame.select(
        pl.col("timestamp").first().dt.truncate("1d"),
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )


def grid(frame: pl.DataFrame, open_: int) -> tuple[np.ndarray, np.ndarray]:
    """Volume and log close by minute; a minute without trades keeps the close."""
    time = frame["timestamp"].cast(pl.Int64).to_numpy() % (1440 * MINUTE)
    place = (time - open_) // MINUTE
    keep = (place >= 0) & (place < MINUTES)
    volume, close = np.zeros(MINUTES), np.full(MINUTES, np.nan)
    volume[place[keep]] = frame["volume"].to_numpy()[keep]
    close[place[keep]] = np.log(frame["close"].to_numpy()[keep])
    return volume, filled(close, float(np.log(frame["open"][0])))


def tick_grid(ticks: pl.DataFrame, open_: int) -> tuple[np.ndarray, np.ndarray]:
    """The same from ticks."""
    time = ticks["timestamp"].cast(pl.Int64).to_numpy() % (1440 * MINUTE)
    place = np.clip((time - open_) // MINUTE, 0, MINUTES - 1)
    price = np.log(ticks["price"].to_numpy())
    close = np.full(MINUTES, np.nan)
    close[place] = price  # the last of a minute stays
    return np.bincount(place, ticks["size"].to_numpy(), MINUTES), filled(close, price[0])


def filled(close: np.ndarray, first: float) -> np.ndarray:
    """Absent closes replaced by the last before them."""
    latest = np.maximum.accumulate(np.where(np.isnan(close), -1, np.arange(len(close))))
    return np.where(latest >= 0, close[np.maximum(latest, 0)], first)


def facts(volume: np.ndarray, close: np.ndarray) -> dict[str, np.ndarray]:
    """Shares by half-hour, and autocorrelations of minutes."""
    move = np.diff(close, prepend=close[0])
    parts = np.arange(MINUTES) * PARTS // MINUTES
    size = autocorrelation(np.abs(move), 10)
    return {
        "volume": np.bincount(parts, volume) / volume.sum(),
        "variance": np.bincount(parts, move**2) / (move**2).sum(),
        "acf": np.array(
            [
                size[0],
                size.mean(),
                autocorrelation(move, 1)[0],
                autocorrelation(volume, 1)[0],
                autocorrelation(volume, 10).mean(),
            ]
        ),
    }


if __name__ == "__main__":
    main()
