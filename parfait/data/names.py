"""What vendors call the columns of bars, in several languages."""

import re

from parfait.data.options import ROLES

# Role -> the names that most files use | others, which have the role only where none of these does.
_ALIASES = {
    "time": (
        "date time datetime timestamp t ts day dt opentime tradedate 日期 时间 交易日期 | "
        "dates times openingtime tradingdate exchangedate datadate pricedate quotedate "
        "timeperiodstart begin beginsat gmttime utctime localtime dateutc datetimeutc "
        "timestamputc timeutc candlebegintime windowstart snappedat timekey pricingdate "
        "kursdatum 交易时间 日時 日付 交易日 時間 일자 날짜 datum data fecha ritdatum дата "
    ),
    "open": (
        "open o openprice openingprice 开盘 开盘价 | midopen mido priceopen pxopen openprc "
        "openlast öffnung eröffn eröffnung eröffnungskurs erster anfangskurs ouverture ouv "
        "apertura abertura otwarcie öppning 開盤 開盤價 始値 시가 откр "
    ),
    "high": (
        "high h highprice 最高 最高价 | midhigh midh pricehigh pxhigh hoch höchst höchster "
        "höchstkurs tageshoch plushaut haut máximo maximo máx max massimo máxima najwyzszy "
        "najwyższy högst 最高價 高値 고가 макс "
    ),
    "low": (
        "low l lowprice 最低 最低价 | midlow midl pricelow pxlow tief tiefst tiefster "
        "tiefstkurs tagestief plusbas bas mínimo minimo mín min mínima najnizszy najniższy "
        "lägst 最低價 安値 저가 мин "
    ),
    "close": (
        "close c last price settle closeprice closingprice 收盘 收盘价 | midclose midc "
        "closelast priceclose pxlast pxclose lastprice schluss schlusskurs zuletzt clôture "
        "cloture dernier último ultimo cierre chiusura fechamento zamkniecie zamknięcie "
        "stängning senast 收盤 收盤價 終値 종가 цена "
    ),
    "volume": (
        "volume v vol tickvolume tickvol 成交量 | pxvolume totalvolume tradevolume "
        "tradedvolume volumetraded sharestraded sharevolume totaltradedquantity "
        "totaltradequantity tottrdqty tradedquantity qty quantity noofshares volumen wolumen "
        "volym 成交股數 成交量股 出来高 거래량 объём "
    ),
    "adjusted": (
        "adjclose adjustedclose closeadj | adjusted closeadjusted adjustedclosingprice "
        "終値調整値 調整後終値 "
    ),
    "symbol": (
        "symbol ticker code asset 代码 股票代码 | tscode stockcode secid ric 證券代號 종목코드 "
    ),
    "clock": "clock",
}
# Names of other things, too: last of all.
_WEAK = {
    "time": (
        "unix unixtime unixtimestamp epoch epochtime index indexlevel0 unnamed0 closetime "
        "timeopen timeclose starttime endtime"
    ),
    "symbol": "name permno isin instrument instrumentid pair coin",
}
_ROLE_OF = {
    alias: role for role, names in _ALIASES.items() for alias in names.split() if alias != "|"
}
_OTHERS = {alias for names in _ALIASES.values() for alias in names.partition("|")[2].split()}
_WEAK_ROLE_OF = {alias: role for role, names in _WEAK.items() for alias in names.split()}
_ROLE_OF |= {
    plain: f"{side} {name}"
    for side in ("bid", "ask")
    for name in ("open", "high", "low", "close")
    for short in (name, name[0])
    for plain in (f"{side}{short}", f"{short}{side}")
} | {"bid": "bid close", "ask": "ask close", "offer": "ask close"}
DATES = [
    "date",
    "日期",
    "day",
    "交易日期",
    "дата",
    "datum",
    "data",
    "fecha",
    "dates",
    "tradedate",
    "tradingdate",
]
EPOCHS = ["unix", "unixtime", "unixtimestamp", "epoch", "epochtime"]
CALENDAR = ("year", "month", "day")
CLOCKS = ("time", "时间", "時間", "clock", "交易时间")
# "Volume BTC" counts bitcoins; "Volume MA" and "Volume Change" are other things.
_VOLUME_OF = re.compile(
    r"^(?i:volume)[\s_(]+([A-Z0-9]{2,6}|(?i:btc|eth|usdt?|eur|base|quote|from|to|shares|currency"
    r"|contracts|lots))\)?$"
)
_OTHER_VOLUMES = (
    "ma sma ema avg mean chg change pct ratio rank osc delta std sum usage index adi obv"
)
WEAK = 2  # a rank
_BRACKETS = re.compile(r"[\[(][^\])]*[\])]")


def plain_name(name: str) -> str:
    """Lower case, letters and digits only, without a leading "1. "."""
    bare = "".join(c for c in name.casefold() if c.isalnum())
    return bare.lstrip("0123456789") or bare


def role_of(name: str) -> str | None:
    """The role a header cell names, if any; a unit or zone in brackets after it does not matter."""
    if (role := name.strip().casefold()) in ROLES:
        return role
    found = _ROLE_OF.get(plain_name(name))
    if found is None and (unit := _VOLUME_OF.match(name.strip())):
        return None if unit[1].casefold() in _OTHER_VOLUMES.split() else "volume"
    if found is None and (bare := _BRACKETS.sub("", name).strip()) != name.strip():
        inside = plain_name(name[len(bare) :])
        found = None if inside.startswith(("adj", "prev", "%")) else _ROLE_OF.get(plain_name(bare))
    return found


def ranked_role(name: str) -> tuple[str, int] | None:
    """The role a cell may have, and a rank; of columns for one role the lowest rank has it."""
    plain = plain_name(name)
    if (role := role_of(name)) is not None:
        return role, int(plain in _OTHERS)
    weak = _WEAK_ROLE_OF.get(plain)
    return None if weak is None else (weak, WEAK)


def hints_at_volume(name: str) -> bool:
    """Whether a column without a role may be a volume under a name of its own."""
    return any(
        w in name.casefold()
        for w in ("vol", "qty", "quantity", "shares", "成交", "lots", "turnover", "umsatz")
    )
