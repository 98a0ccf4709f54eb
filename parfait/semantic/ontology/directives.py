# ruff: noqa: E501  (tables read better in long rows)
"""Numbers that name a parameter are taken literally: "annualised volatility of 60 %", "drift 8 %",
"half-life of 5 days".

A number is a parameter only when its head noun is one; otherwise it is the dose of an event (50
bps is no drift). Input
is canonical text (``normalise``), in which "sixty per cent" and 百分之六十 already read ``60%``.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parfait.regime import FIELDS, Condition
from parfait.semantic.ontology.clauses import DURATION, HAN_DURATION, years_of

_BOUNDS = {f.name: (f.low, f.high) for f in FIELDS}
_FIELD = {"volatility_factor": "volatility", "long_run_volatility": "volatility"}
# Periods per year for "daily volatility of 2 %": trading days, or calendar days where markets
# never close.
_HAN_PERIODS = {"日": "daily", "天": "daily", "周": "weekly", "月": "monthly", "年": "yearly"}
PERIODS = {"daily": 252.0, "weekly": 52.0, "monthly": 12.0, "yearly": 1.0}
_A_YEAR = {
    "year": 1.0, "年": 1.0, "quarter": 4.0, "季度": 4.0, "季": 4.0, "month": 12.0, "月": 12.0, "week": 52.0, "周": 52.0, "星期": 52.0, "day": 252.0, "天": 252.0, "日": 252.0,
    "hour": 8760.0, "小时": 8760.0, "minute": 525600.0, "分钟": 525600.0, "second": 31536000.0, "秒": 31536000.0,
}  # fmt: skip
_OFTEN = {
    "annually": "year",
    "yearly": "year",
    "monthly": "month",
    "weekly": "week",
    "daily": "day",
}
DEEPEST = 0.99  # the largest fall: to a hundredth of the price


@dataclass(frozen=True)
class Directive:
    """A literal number: ``field`` of Regime, its value, tolerance and place in the text.

    "volatility_factor" multiplies the present volatility; "long_run_volatility" is a volatility
    that does not hold yet.
    """

    field: str
    value: float
    start: int
    end: int
    about: bool = False
    clamped: bool = False

    @property
    def of(self) -> str:
        """The field of ``Regime`` that it sets."""
        return _FIELD.get(self.field, self.field)


_IS = r"\s*(?:(?:is|are|at|of|to|=|:|equals?|stands\s+at|becomes|set\s+to|jumps\s+to|rises\s+to|falls\s+to|drops\s+to|goes\s+to|spikes\s+to|surges\s+to|climbs\s+to|settles\s+at|stays\s+at|reaches|hits|averages|averaging|remains\s+at|held\s+at|fixed\s+(?:at|to)|(?:should|must|shall|will)\s+be|be|(?:runs?|running)\s+at|(?:sits?|sitting)\s+at|pinned\s+at|trades?\s+at|trading\s+at|hovers?\s+at|hovering\s+at|prints?\s+at|marked\s+at)\s*)+"
_ZH_IS = r"\s*(?:设为|设定为|设定在|设在|设成|设|定为|固定为|固定在|调到|调至|为|是|取|按|给到|给|到|至|达到|达|高达|升至|升到|涨到|涨至|降至|降到|跌到|回落到|回落至|在|=|:|等于|飙升至|飙到|冲到|保持在|维持在|稳定在|预计|假定|假设|会|有|只有|就|差不多|基本|,)*\s*"
_ABOUT = r"(?P<about>(?:about|around|roughly|approximately|some|near|circa|约为?|大约|大概|差不多|接近|将近|~)\s*)?"
_N = r"(?P<v>[+-]?\d+(?:\.\d+)?)(?P<u>%|pp|bps|x)?"
# In Chinese a number before a unit of time is a duration: 波动率1年40%.
_ZH_N = rf"{_N}(?!\d|\.\d|\s*个?(?:年|月|天|周|日|星期|季|小时))"
_PERIOD = r"(?:(?P<period>annuali[sz]ed|annual|yearly|daily|weekly|monthly)\s+)?"
_KIND = r"(?P<kind>implied|reali[sz]ed|historical|long[\s-]run|initial|starting|current|spot|today|market|price|return)?\s*"

_Pattern = tuple[re.Pattern[str], Callable[[re.Match[str], str], tuple[str, float] | None]]


def _number(match: re.Match[str], percent_above: float | None = None) -> float:
    """A fraction: 60% -> 0.6; a bare number above ``percent_above`` is read as per cent."""
    value, unit = float(match["v"]), match["u"] or ""
    if unit in ("%", "pp"):
        return value / 100
    if unit == "bps":
        return value / 10000
    if percent_above is not None and abs(value) > percent_above:
        return value / 100
    return value


def _volatility(match: re.Match[str], asset: str) -> tuple[str, float] | None:
    groups = match.groupdict()
    if match["u"] == "x":
        return "volatility_factor", float(match["v"])
    value = _number(match, 3.0)
    keys = ("period", "period0", "inside", "each", "late")
    period = next((groups[k] for k in keys if groups.get(k)), "annual")
    period = {"day": "daily", "week": "weekly", "month": "monthly"}.get(period, period)
    period = _HAN_PERIODS.get(period.lstrip("每1全")[:1], period)
    per_year = PERIODS.get(period, 1.0)
    if period == "daily" and asset == "crypto":
        per_year = 365.0
    initial = (groups.get("kind") or "") in (
        "initial",
        "starting",
        "current",
        "spot",
        "today",
        *("初始", "起始", "当前", "目前", "现在", "当下", "眼下"),
    )
    field = "initial_volatility" if initial else "volatility"
    if re.fullmatch(r"long[\s-]run|长期", groups.get("kind") or ""):
        field = "long_run_volatility"
    return field, value * math.sqrt(per_year)


def _return(match: re.Match[str], asset: str) -> tuple[str, float] | None:
    years = years_of(match) if match.groupdict().get("unit") else 1.0
    return ("drift", _log(_number(match)) / years) if years > 0 else None


def _field(name: str, percent: bool = False) -> Callable[[re.Match[str], str], tuple[str, float]]:
    def read(match: re.Match[str], asset: str) -> tuple[str, float]:
        return name, _number(match, None) if percent else float(match["v"]) / (
            100 if match["u"] == "%" else 1
        )

    return read


def _constant(name: str, value: float) -> Callable[[re.Match[str], str], tuple[str, float]]:
    return lambda match, asset: (name, value)


def _half_life(match: re.Match[str], asset: str) -> tuple[str, float] | None:
    years = years_of(match)
    return "mean_reversion", math.log(2) / years if years > 0 else math.inf


def _factor(match: re.Match[str], asset: str) -> tuple[str, float] | None:
    sign = -1.0 if match["down"] else 1.0
    return "volatility_factor", 1 + sign * float(match["v"]) / 100


def _jump_mean(match: re.Match[str], asset: str) -> tuple[str, float] | None:
    value = _number(match, 1.0)
    return "jump_size", -abs(value) if match.groupdict().get("down") else value


def _rate(match: re.Match[str], asset: str) -> tuple[str, float]:
    """Jumps a year from jumps a day, a month, ..."""
    each = (match["each"] or _OFTEN[match["often"]]).lstrip("每一1个")
    per_year = 365.0 if each in ("day", "天", "日") and asset == "crypto" else _A_YEAR[each]
    return "jump_intensity", float(match["v"]) * per_year


def _log(move: float) -> float:
    """ln(1 + move), -inf for a loss of all or more."""
    return math.log1p(move) if move > -1 else -math.inf


_VOL = r"(?:volatility|vola?|sigma|(?<!jump )(?<!jumps )(?:standard\s+deviation|std(?:\s+dev)?))"
_INSIDE = r"(?:\s*\((?P<inside>annual|annuali[sz]ed|daily|weekly|monthly)\))?"
_PER = r"(?:\s*(?:a|per|each|every|/)\s*(?P<each>day|week|month|year)\b)?"
_RISES = r"(?:rises?|increases?|jumps?|goes\s+up|climbs?|surges?|up)"
_FALLS = r"(?:falls?|decreases?|drops?|declines?|goes\s+down|down)"
_RULES: tuple[_Pattern, ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (rf"\b(?:correlation(?:\s+between\s+(?:returns?|prices?)\s+and\s+(?:volatility|variance))?|leverage\s+correlation|leverage\s+effect|rho)(?:{_IS}|\s+){_ABOUT}{_N}", _field("leverage")),
        (r"\bleverage\s*(?:of|=|at|is)\s*(?P<v>-\d+(?:\.\d+)?)(?P<u>(?!.))?", _field("leverage")),
        (rf"\b(?:vol[\s-]of[\s-]vol(?:atility)?|volatility\s+of\s+volatility|xi)(?:{_IS}|\s+){_ABOUT}{_ZH_N}|(?:波动率的波动率?|波动的波动){_ZH_IS}(?P<v1>\d+(?:\.\d+)?)|(?:vol\s?of\s?vol){_ZH_IS}(?P<v2>\d+(?:\.\d+)?)", _field("vol_of_vol")),
        (rf"\b(?:variance\s+reversion|variance\s+mean\s+reversion|kappa_v)(?:\s+speed)?(?:{_IS}|\s+){_ABOUT}{_N}", _field("variance_reversion")),
        (rf"\b{_PERIOD}{_KIND}{_PERIOD.replace('period', 'period0')}{_VOL}{_INSIDE}(?:{_IS}|\s+){_ABOUT}{_N}{_PER}(?!\s*(?:day|week|month|year|sigma))", _volatility),
        (rf"\b(?P<v>\d+(?:\.\d+)?)(?P<u>%|bps)\s+(?:of\s+)?{_PERIOD}{_KIND}{_VOL}\b{_PER}", _volatility),
        (r"\b(?:(?P<period>annuali[sz]ed|annual|daily|weekly|monthly)\s+)?(?P<v>\d+(?:\.\d+)?)(?P<u>%)?[\s-]+vol\b(?!\s*(?:of|points?|spike))", _volatility),
        (rf"\bvix(?:{_IS}|\s+){_ABOUT}(?P<v>\d+(?:\.\d+)?)(?P<u>%)?(?!\s*(?:day|%))", lambda m, a: ("volatility", float(m["v"]) / 100)),
        (rf"(?P<kind>长期|初始|起始|当前|目前|现在|当下|眼下)?的?(?P<period>年化|每年|全年|年|日均|每日|每天|日内|日|天|周度|每周|周|月度|每月|月)?的?(?:隐含|历史|实际|平均|预期)?(?:波动率|波动幅度|波动)(?:水平|中枢)?(?!率)(?:(?P<late>1年|1天|每天|每年|年化|1周|1月)(?:大概|大约|约)?)?{_ZH_IS}{_ABOUT}{_ZH_N}", _volatility),
        (rf"{_ZH_N}的(?P<period>年化|年|日均|每日|日|周|月)?(?:隐含|历史)?波动率", _volatility),
        (rf"(?<![a-z])vix(?:指数)?{_ZH_IS}{_ABOUT}(?P<v>\d+(?:\.\d+)?)(?P<u>%)?|恐慌指数{_ZH_IS}(?P<v1>\d+(?:\.\d+)?)", lambda m, a: ("volatility", float(m["v"]) / 100)),
        (rf"\b{_VOL}\s+{_RISES}\s+(?:by\s+)?{_ABOUT}(?P<v>\d+(?:\.\d+)?)%(?P<down>(?!.))?", _factor),
        (rf"\b{_VOL}\s+(?P<down>{_FALLS})\s+(?:by\s+)?{_ABOUT}(?P<v>\d+(?:\.\d+)?)%", _factor),
        (r"波动率?(?:比现在|比平时|较现在|较当前)?(?:上升|增加|提高|上涨|放大|扩大|高出?|增大)了?(?P<v>\d+(?:\.\d+)?)%(?P<down>(?!.))?", _factor),
        (r"波动率?(?:比现在|比平时|较现在|较当前)?(?P<down>下降|下跌|减少|降低|回落|缩小|收窄|低)了?(?P<v>\d+(?:\.\d+)?)%", _factor),
        (rf"\b{_VOL}\s+(?:has\s+|will\s+|is\s+)?doubl(?:es|ed|ing|e)\b|\bdoubl(?:es|ed|ing|e)\s+(?:the\s+|of\s+)?{_VOL}\b|\btwice\s+the\s+{_VOL}\b|\b{_VOL}\s+(?:(?:{_RISES}|is|reaches|at|of)\s+)?(?:to\s+)?twice\s+(?:its|the|today)\b(?:\s+\w+){{0,2}}?\s*(?:level|value)?|波动率?(?:翻倍|翻1?番|加倍|(?:变为|变成|扩大到|增至|升至|是|为)(?:原来|现在|目前|平时|当前)?的?2x)|上涨100%的波动率|波动率?上涨100%", _constant("volatility_factor", 2.0)),
        (rf"\b{_VOL}\s+(?:has\s+|will\s+)?(?:tripl|trebl)(?:es|ed|ing|e)\b|\btripl(?:es|ed|ing|e)\s+(?:the\s+|of\s+)?{_VOL}\b|波动率?(?:变为|变成|扩大到|增至|升至|是|为)(?:原来|现在|目前|平时|当前)?的?3x", _constant("volatility_factor", 3.0)),
        (rf"\b{_VOL}\s+(?:has\s+|will\s+|is\s+)?halv(?:es|ed|ing|e)\b|\bhalv(?:es|ed|ing|e)\s+(?:the\s+)?{_VOL}\b|\bhalf\s+the\s+(?:usual\s+)?{_VOL}\b|波动率?(?:减半|腰斩|减少50%|降低50%|变为(?:原来|现在)的50%)", _constant("volatility_factor", 0.5)),
        (rf"\bexpect\s+(?:an?\s+)?(?:annual\s+|yearly\s+|total\s+)?return(?:{_IS}|\s+){_ABOUT}{_N}(?:\s+(?:over|in|per|within|for)\s+(?:the\s+next\s+)?{DURATION})?", _return),
        (rf"(?P<n>\d+(?:\.\d+)?)\s*个?(?P<unit>年|月)(?:内|的|期)?(?:总)?(?:预期|期望)(?:总)?(?:收益率|收益|回报率|回报){_ZH_IS}{_ABOUT}{_N}", _return),
        (rf"\bexpected\s+(?:annual\s+|yearly\s+|total\s+)?return(?:{_IS}|\s+){_ABOUT}{_N}(?:\s+(?:over|in|per|within|for)\s+(?:the\s+next\s+)?{DURATION}|\s*/\s*(?P<slash>year))?", _return),
        (rf"\b(?:annual|annuali[sz]ed|yearly)\s+(?:expected\s+)?returns?(?:{_IS}|\s+){_ABOUT}{_N}", _return),
        (rf"(?:未来|今后|接下来)?{HAN_DURATION}(?:内|里|期|间)?的?(?:的?总)?(?:预期|期望|预计)的?(?:总)?(?:收益率|收益|回报率|回报){_ZH_IS}{_ABOUT}{_ZH_N}", _return),
        (rf"(?:预期|期望|预计)(?:未来|今后)?{HAN_DURATION}(?:内|里|期)?的?(?:总)?(?:收益率|收益|回报率|回报){_ZH_IS}{_ABOUT}{_ZH_N}", _return),
        (rf"(?:预期|期望|预计)的?(?:总)?(?:收益率|收益|回报率|回报){_ZH_IS}{HAN_DURATION}(?:内|里)?{_ZH_IS}{_ABOUT}{_ZH_N}", _return),
        (rf"(?:年化|年均|每年|年)(?:的?(?:预期|期望|平均))?的?(?:收益率|收益|回报率|回报|涨幅){_ZH_IS}{_ABOUT}{_ZH_N}", _return),
        (rf"(?:预期|期望|预计)的?(?:年化|年|每年)?(?:的)?(?:收益率|收益|回报率|回报){_ZH_IS}{_ABOUT}{_ZH_N}", _return),
        (rf"\b(?:annual\s+|annuali[sz]ed\s+|yearly\s+)?(?:drift|mu)(?:\s+rate|\s+term)?(?:{_IS}|\s+){_ABOUT}{_N}(?:\s*(?:/|per|a)\s*(?:year|annum))?", _field("drift", True)),
        (rf"(?:年化|每年的?|年)?漂移(?:率|项|系数)?(?:mu)?{_ZH_IS}{_ABOUT}(?:每年|一年|年化)?{_ZH_N}", _field("drift", True)),
        (rf"(?:跳跃|跳幅|跳空)(?:的)?(?:标准差|离散度|波动率?|波幅){_ZH_IS}{_ABOUT}{_ZH_N}", _field("jump_std", True)),
        (rf"(?:平均跳幅|平均跳跃幅度|跳跃均值|跳跃幅度均值|平均跳跃|跳幅|跳跃幅度|每次跳跃(?:平均|幅度)?)(?:均值)?{_ZH_IS}{_ABOUT}(?P<down>跌|下跌)?{_ZH_N}(?!\s*次)", _jump_mean),
        (rf"\bjump\s+(?:std|standard\s+deviation|spread|deviation|volatility|dispersion)(?:{_IS}|\s+){_ABOUT}{_N}", _field("jump_std", True)),
        (rf"\b(?:jump\s+size|jump\s+mean|mean\s+jump|average\s+jump|jumps?\s+averag(?:e|ing))(?:\s+size)?(?:{_IS}|\s+){_ABOUT}{_N}", _jump_mean),
        (rf"\b(?:jump\s+(?:intensity|frequency|rate)|lambda)(?:{_IS}|\s+){_ABOUT}{_N}", _field("jump_intensity")),
        (r"(?P<v>(?:(?<![\w%.])-)?(?<![\w.])\d+(?:\.\d+)?)\s+(?:price\s+)?jumps?\s+(?:(?:a|an|per|every|each|/)\s*(?P<each>year|quarter|month|week|day|hour|minute|second)|(?P<often>annually|yearly|monthly|weekly|daily))\b", _rate),
        (r"\bjumps?\s+(?P<v>\d+(?:\.\d+)?)(?P<u>x|(?!.))?\s+(?:times\s+)?(?:(?:a|an|per|every|each|/)\s*(?P<each>year|quarter|month|week|day|hour|minute|second)|(?P<often>annually|yearly|monthly|weekly|daily))\b", _rate),
        (rf"(?:平均)?(?P<each>每年|一年|1年|每月|每个月|一个月|1个月|每季度|每个季度|每周|每星期|每天|每日|每小时|每分钟|每秒)(?:平均|大概|大约|约|会|要|有|发生|出现|来)*{_ZH_N}\s*次(?:左右)?的?(?:价格)?(?:跳跃|大跳|跳空|跳)", _rate),
        (rf"(?P<each>每月|每个月|每季度|每周)(?:价格)?(?:跳跃|跳空)(?:约|大约|大概)?{_ZH_N}\s*次", _rate),
        (r"(?:每年|一年|1年)(?:平均|大概|大约|约|会|要)*跳跃?(?P<v>\d+(?:\.\d+)?)(?P<u>(?!.))?次", _field("jump_intensity")),
        (rf"(?:价格)?(?:跳跃|跳空)(?:次数|频率|强度)?(?:平均|大概|大约|约|会|要|有|发生|出现|为|是|,)*(?P<each>每年|一年|1年|每月|每个月|每季度|每周)(?:平均|大概|大约|约|会|有|发生)*{_ZH_N}\s*次", _rate),
        (rf"跳跃(?:强度|频率|次数|率)(?:lambda)?{_ZH_IS}(?:每年|一年)?{_ABOUT}{_ZH_N}", _field("jump_intensity")),
        (rf"\b(?:mean[\s-]reversion|reversion)?\s*half[\s-]life(?:{_IS}|\s+)?{_ABOUT}{DURATION}", _half_life),
        (rf"\b(?:deviations?|gaps?|shocks?|dislocations?|it)\s+halv(?:e|es)\s+(?:every|in|within)\s+{_ABOUT}{DURATION}", _half_life),
        (rf"半衰期{_ZH_IS}{_ABOUT}{HAN_DURATION}", _half_life),
        (rf"{HAN_DURATION}的?(?:均值(?:回归|回复|复归)的?)?半衰期", _half_life),
        (rf"(?:方差|波动率)(?:的)?(?:均值)?(?:回归|回复|复归)(?:的)?(?:速度|强度|速率|系数)?{_ZH_IS}{_ABOUT}{_ZH_N}", _field("variance_reversion")),
        (rf"(?:均值回归|均值回复|均值复归|回归)(?:的)?(?:速度|强度|速率|系数){_ZH_IS}{_ABOUT}{_ZH_N}", _field("mean_reversion")),
        (rf"(?:收益率?(?:与|和|跟)(?:波动率?|方差)的?|价格(?:与|和|跟)波动率?的?)?(?:相关系数|相关性|杠杆系数|杠杆效应|杠杆相关)(?:rho)?{_ZH_IS}{_ABOUT}{_ZH_N}", _field("leverage")),
        (rf"\b(?:mean[\s-]reversion\s+(?:speed|rate|strength)?|kappa)(?:{_IS}|\s+){_ABOUT}{_N}", _field("mean_reversion")),
        (rf"\b(?:hurst(?:\s+(?:exponent|parameter|index))?(?:{_IS}|\s+)|h\s*=\s*){_ABOUT}{_ZH_N}|(?:赫斯特|hurst|赫斯)(?:指数|参数|系数)?{_ZH_IS}(?P<v1>\d+(?:\.\d+)?)", _field("hurst")),
    )
)  # fmt: skip
_JUMP_TAIL = re.compile(
    rf"(?:[\s,]+(?:jumps?\s+)?(?:of|averaging|with\s+(?:a\s+)?mean(?:\s+of)?|at|平均|均值|幅度)(?:为)?\s*{_ABOUT}{_N}(?:\s+on\s+average|\s+each)?)(?:[\s,]+(?:and\s+)?(?:(?:with\s+)?(?:a\s+)?(?:spread|std|standard\s+deviation)(?:\s+of)?)\s*(?P<s>\d+(?:\.\d+)?)%)?"
)
_HAN_JUMP_TAIL = re.compile(
    rf"[\s,]*(?:每次|单次|幅度|平均|均值|跳幅|大约|大概|约|为|是)+(?P<down>下跌|跌|下挫|向下)?{_ABOUT}{_N}"
    r"(?:[\s,]*标准差(?:为|是)?\s*(?P<s>\d+(?:\.\d+)?)%)?"
)
_DRAWDOWN = re.compile(
    rf"\b(?:max(?:imum)?\s+)?drawdown{_IS}{_ABOUT}(?P<v>\d+(?:\.\d+)?)%|\b(?P<w>\d+(?:\.\d+)?)%\s+(?:max(?:imum)?\s+)?drawdown|(?:最大)?回撤{_ZH_IS}(?:约|超过|大约)?(?P<x>\d+(?:\.\d+)?)%"
)


def read_directives(clean: str, asset: str) -> list[Directive]:
    """Every literal parameter of the text, clamped into bounds; overlapping matches give way to
    the earlier rule.
    """
    found: list[Directive] = []
    for pattern, rule in _RULES:
        for match in pattern.finditer(clean):
            if any(d.start < match.end() and match.start() < d.end for d in found):
                continue
            read = _safely(rule, match, asset)
            if read is None:
                continue
            name, value = read
            about = bool(match.groupdict().get("about"))
            if name == "jump_size":
                found.append(_bounded("jump_mean", _log(value), match.span(), about))
            else:
                found.append(_bounded(name, value, match.span(), about))
            if name == "jump_intensity":
                found += _jump_tail(clean, match.end())
    return sorted(found, key=lambda d: d.start)


def _safely(
    rule: Callable[[Any, str], tuple[str, float] | None], match: re.Match[str], asset: str
) -> tuple[str, float] | None:
    try:
        return rule(match, asset)
    except (
        TypeError,
        IndexError,
        OverflowError,
    ):  # an alternative of the pattern without its number
        spare = next((match[g] for g in ("v1", "v2") if match.groupdict().get(g)), None)
        return None if spare is None else (rule(_Spare(spare), asset))


class _Spare(dict):
    def __init__(self, value: str) -> None:
        super().__init__(v=value, u="")


def _bounded(name: str, value: float, span: tuple[int, int], about: bool) -> Directive:
    low, high = (0.05, 20.0) if name == "volatility_factor" else _BOUNDS[_FIELD.get(name, name)]
    clamped = min(max(value, low), high)
    return Directive(name, clamped, *span, about, clamped != value)


def _jump_tail(clean: str, at: int) -> list[Directive]:
    """ "... jumps a year of -8 % on average, spread 3 %": log J ~ N(m, s^2), so m = ln(1 + R) -
    s^2/2.
    """
    match = _HAN_JUMP_TAIL.match(clean, at) or _JUMP_TAIL.match(clean, at)
    if match is None:
        return []
    size = _number(match, 1.0)
    size = -abs(size) if match.groupdict().get("down") else size
    s = float(match["s"]) / 100 if match["s"] else 0.0
    found = [_bounded("jump_mean", _log(size) - s * s / 2, match.span(), bool(match["about"]))]
    if match["s"]:
        found.append(_bounded("jump_std", s, match.span(), False))
    return found


def read_drawdowns(clean: str) -> list[tuple[Condition, int, int]]:
    """Drawdown conditions: "a drawdown of 20 %", 回撤20%; at most ``DEEPEST``."""
    return [
        (Condition("drawdown", -min(depth, DEEPEST)), *span)
        for depth, span in stated_drawdowns(clean)
    ]


def stated_drawdowns(clean: str) -> list[tuple[float, tuple[int, int]]]:
    """Depth as it stands in the text, above 0, and its place."""
    found = []
    for match in _DRAWDOWN.finditer(clean):
        depth = float(next(match[g] for g in ("v", "w", "x") if match[g])) / 100
        if depth > 0:
            found.append((depth, match.span()))
    return found
