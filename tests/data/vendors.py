"""Bars as vendors write them: layouts of small files, made from a frame with known values."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

Row = dict[str, Any]
STEPS = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}


def market(
    step: str = "day", n: int = 60, seed: int = 0, start: datetime = datetime(2019, 1, 2)
) -> pl.DataFrame:
    """Valid bars with prices of two decimals and whole volumes; days leave out weekends."""
    rng = np.random.default_rng(seed)
    close = (150 * np.exp(np.cumsum(0.012 * rng.standard_normal(n)))).round(2)
    opened = (close * np.exp(0.004 * rng.standard_normal(n))).round(2)
    times = [start + i * STEPS[step] for i in range(2 * n)]
    times = [t for t in times if step != "day" or t.weekday() < 5][:n]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(times, dtype=pl.Datetime("us")),
            "open": opened,
            "high": (np.maximum(opened, close) + 0.5).round(2),
            "low": (np.minimum(opened, close) - 0.5).round(2),
            "close": close,
            "volume": rng.integers(1_000_000, 9_000_000, n).astype(float),
        }
    )


def write(bars: pl.DataFrame, header: str | None, row: str | Callable[[Row], str]) -> str:
    """Lines of ``row`` filled with t, o, h, l, c, v and ms, the epoch in milliseconds."""
    names = {"timestamp": "t"} | {n: n[0] for n in ("open", "high", "low", "close", "volume")}
    lines = [] if header is None else [header]
    for bar in bars.rename(names).iter_rows(named=True):
        ms = round((bar["t"] - datetime(1970, 1, 1)).total_seconds() * 1000)
        filled = bar | {"v": int(bar["v"]), "ms": ms, "s": ms // 1000, "us": ms * 1000}
        lines.append(row(filled) if callable(row) else row.format(**filled))
    return "\n".join(lines) + "\n"


OHLCV = "{o},{h},{l},{c},{v}"
# name -> (step of the bars, header, row)
LAYOUTS: dict[str, tuple[str, str | None, str]] = {
    "yahoo page": (
        "day",
        "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume",
        "{t:%b %d, %Y}\t{o:,.2f}\t{h:,.2f}\t{l:,.2f}\t{c:,.2f}\t{c:,.2f}\t{v:,}",
    ),
    "yfinance": (
        "day",
        "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\nDate,,,,,",
        "{t:%Y-%m-%d},{c},{h},{l},{o},{v}",
    ),
    "yfinance by ticker": (
        "day",
        "Ticker,X,X,X,X,X\nPrice,Open,High,Low,Close,Volume\nDate,,,,,",
        "{t:%Y-%m-%d}," + OHLCV,
    ),
    "stooq": (
        "minute",
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "X,5,{t:%Y%m%d},{t:%H%M%S}," + OHLCV + ",0",
    ),
    "finam": (
        "minute",
        "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
        "X;1;{t:%Y%m%d};{t:%H%M};{o:.7f};{h:.7f};{l:.7f};{c:.7f};{v}",
    ),
    "metatrader 4": ("minute", None, "{t:%Y.%m.%d},{t:%H:%M}," + OHLCV),
    "metatrader 5": (
        "minute",
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<SPREAD>",
        "{t:%Y.%m.%d}\t{t:%H:%M:%S}\t{o}\t{h}\t{l}\t{c}\t{v}\t2",
    ),
    "binance": ("minute", None, "{ms}," + OHLCV + ",{ms}1,{v}.5,12,{c},{c},0"),
    "binance 2025": ("minute", None, "{us}," + OHLCV + ",{us}1,{v}.5,12,{c},{c},0"),
    "cryptodatadownload": (
        "minute",
        "https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC",
        "{s},{t:%Y-%m-%d %H:%M:%S},X," + OHLCV,
    ),
    "investing": (
        "day",
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        '"{t:%m/%d/%Y}","{c:,.2f}","{o:,.2f}","{h:,.2f}","{l:,.2f}","{v}","-0.52%"',
    ),
    "nasdaq": (
        "day",
        "Date,Close/Last,Volume,Open,High,Low",
        "{t:%m/%d/%Y},${c:.2f},{v},${o:.2f},${h:.2f},${l:.2f}",
    ),
    "wsj": ("day", "Date, Open, High, Low, Close, Volume", "{t:%m/%d/%y}, {o}, {h}, {l}, {c}, {v}"),
    "google": ("day", "\ufeffDate,Open,High,Low,Close,Volume", "{t:%d-%b-%y}," + OHLCV),
    "quandl": (
        "day",
        "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. Close",
        "{t:%Y-%m-%d}," + OHLCV + ",0.0,1.0,{o},{c}",
    ),
    "nse": (
        "day",
        '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","VOLUME "',
        '"{t:%d-%b-%Y}","EQ","{o:,.2f}","{h:,.2f}","{l:,.2f}","1","1","{c:,.2f}","{v:,}"',
    ),
    "bhavcopy": (
        "day",
        "Symbol,Date,Prev Close,Open,High,Low,Last,Close,VWAP,Volume",
        "X,{t:%Y-%m-%d},1,{o},{h},{l},1,{c},1,{v}",
    ),
    "bloomberg": (
        "day",
        "Security,X US Equity,,,,\nCurrency,USD,,,,\nDate,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME",
        "{t:%m/%d/%Y}," + OHLCV,
    ),
    "tushare": (
        "day",
        "ts_code,trade_date,open,high,low,close,pre_close,vol,amount",
        "X,{t:%Y%m%d},{o},{h},{l},{c},1,{v},1",
    ),
    "akshare": (
        "day",
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额",
        "{t:%Y-%m-%d},X,{o},{c},{h},{l},{v},1",
    ),
    "dukascopy": (
        "minute",
        "Gmt time,Open,High,Low,Close,Volume",
        "{t:%d.%m.%Y %H:%M:%S}.000," + OHLCV,
    ),
    "histdata": ("minute", None, "{t:%Y%m%d %H%M%S};{o};{h};{l};{c};{v}"),
    "eoddata": ("day", None, "X,{t:%d-%b-%Y}," + OHLCV),
    "polygon": (
        "minute",
        "ticker,volume,open,close,high,low,window_start,transactions",
        "X,{v},{o},{c},{h},{l},{us}000,3",
    ),
    "tradestation": ("minute", "Date,Time,Open,High,Low,Close,Vol", "{t:%Y%m%d},{t:%H%M}," + OHLCV),
    "sas": ("minute", "dt,o,h,l,c,v", "{t:%d%b%Y:%H:%M:%S}," + OHLCV),
    "year month day": (
        "day",
        "Year,Month,Day,Open,High,Low,Close,Volume",
        "{t:%Y,%m,%d}," + OHLCV,
    ),
    "quantmod": (
        "day",
        ",X.Open,X.High,X.Low,X.Close,X.Volume,X.Adjusted",
        "{t:%Y-%m-%d}," + OHLCV + ",{c}",
    ),
    "pandas tuples": (
        "day",
        ",".join(
            ["Date", *(f"\"('{n}', 'X')\"" for n in ("Close", "High", "Low", "Open", "Volume"))]
        ),
        "{t:%Y-%m-%d},{c},{h},{l},{o},{v}",
    ),
    "fields before symbols": (
        "day",
        "Date,Open_X,High_X,Low_X,Close_X,Volume_X",
        "{t:%Y-%m-%d}," + OHLCV,
    ),
    "index of rows": (
        "day",
        ",Date,Open,High,Low,Close,Volume",
        "7,{t:%Y-%m-%d}," + OHLCV,
    ),
    "spreadsheet texts": (
        "day",
        "Date,Open,High,Low,Close,Volume",
        '="{t:%Y-%m-%d}",="{o}",' + "{h},{l},{c},{v}",
    ),
    "runs of spaces": (
        "day",
        "Date  Open  High  Low  Close  Volume",
        "{t:%Y-%m-%d}   {o} {h} {l}  {c} {v}",
    ),
    "lines in quotes": ("day", '"Date,Open,High,Low,Close,Volume"', '"{t:%Y-%m-%d},' + OHLCV + '"'),
    "German": (
        "day",
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen",
        "{t:%d.%m.%y};{o};{h};{l};{c};{v}",
    ),
    "French": (
        "day",
        "date;ouverture;plus haut;plus bas;clôture;volume",
        "{t:%d/%m/%Y};{o} €;{h} €;{l} €;{c} €;{v}",
    ),
    "offset and zone": (
        "hour",
        "Date,Open,High,Low,Close,Volume",
        "{t:%Y-%m-%dT%H:%M:%S}+00:00[UTC]," + OHLCV,
    ),
    "half days": ("hour", "Date,Open,High,Low,Close,Volume", "{t:%Y-%m-%d %I:%M %p}," + OHLCV),
}
