# ruff: noqa: E501  (tables read better in long rows)
"""Chinese numerals and units in the canonical spelling of ``numerals``: 五十个基点, 两码 and
百分之零点五 become ``50bps``; 三成 and 跌三个点 per cents; 打八折, 翻两番 and 增长两倍 changes.

Numerals are rewritten only before a unit, as in English: 一家 and 千股 stay words.
"""

import re
from collections.abc import Callable

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0, "俩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "亿": 10**8}
_FORMAL = str.maketrans("壹贰叁肆伍陆柒捌玖拾佰仟", "一二三四五六七八九十百千")
_DIGIT = "[零〇一二两三四五六七八九]"
HAN_NUMBER = rf"(?:[零〇一二两三四五六七八九十百千万]+(?:点{_DIGIT}+)?)"
_NUMBER = rf"(?:{HAN_NUMBER}|\d+(?:\.\d+)?)"
_MEASURE = r"点|人|吨|股|元|块|张|手|家|户|套|辆|架|枚|艘|名"
_UNIT = r"(?:个?(?:基点|bps?|百分点|交易日|月|星期|礼拜|季度|小时|点|半)|%|成|倍|周|天|日|年|次|美元|亿|码|折|番|厘|桶)"
_GROWS = (
    r"加征|追加|涨|增长|增加|上涨|上升|提高|扩大|提升|飙升|暴涨|大增|激增|暴增|大涨|增|升|高|多"
)
_HALVED = r"跌|砍|缩水|去|掉|蒸发|减少|降|下降|下跌|没了|亏|吐"
_CHANCE = r"概率|可能性?|几率|机率|机会|把握|胜算|希望"


def han_number(text: str) -> float:
    """一百二十五 -> 125, 三点五 -> 3.5, 二零 -> 20, 两千三 -> 2300."""
    whole, _, fraction = text.translate(_FORMAL).partition("点")
    if len(whole) > 1 and all(c in _DIGITS for c in whole):  # digits read out: 二零
        value = float("".join(str(_DIGITS[c]) for c in whole))
    else:
        total = section = digit = 0
        unit = 1
        for before, char in zip(" " + whole, whole, strict=False):
            if char in _DIGITS:
                digit = _DIGITS[char]
                # 两千三 is 2300 but 两千零三 is 2003.
                unit = (_UNITS | _MYRIADS).get(before, 1) // 10 if before not in "十零〇" else 1
            elif char in _UNITS:
                section, digit, unit = section + (digit or 1) * _UNITS[char], 0, 1
            else:
                total, section = (total + section + digit or 1) * _MYRIADS[char], 0
                digit, unit = 0, 1
        value = float(total + section + digit * max(unit, 1))
    if fraction:
        value += float("0." + "".join(str(_DIGITS[c]) for c in fraction))
    return value


def _value(text: str) -> float:
    return float(text) if text[0].isdigit() else han_number(text)


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _fraction(match: re.Match[str]) -> str:
    whole, part = _value(match[1]), _value(match[2])
    return f"{_plain(100 * part / whole)}%" if whole > 0 else match.group()


def _between(match: re.Match[str]) -> str:
    """两三 (before a unit) -> 2.5: two digits in a row are a range, 三五 too."""
    low, high = _DIGITS[match[1]], _DIGITS[match[2]]
    ten = 10 if match["ten"] else 1
    ordered = high == low + 1 or match.group() == "三五"
    return _plain((low + high) / 2 * ten) if ordered else match.group()


def _points(match: re.Match[str]) -> str:
    """跌了五个点 are per cent; hundreds of them are points of an index."""
    return match[1] + ("%" if float(match[1]) <= 30 else "pts")


def _discount(match: re.Match[str]) -> str:
    value = float(match[1])
    rest = value * (10 if value < 10 else 1)
    return f"下跌{_plain(100 - rest)}%" if 0 < rest < 100 else match.group()


def _number(match: re.Match[str]) -> str:
    return _plain(han_number(match[1]))


def _scaled(factor: float, unit: str) -> Callable[[re.Match[str]], str]:
    return lambda match: _plain(factor * float(match[1])) + unit


_N = r"(\d+(?:\.\d+)?)"
HAN_STEPS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"翻了?(?:一?倍|1?番|一番)", "上涨100%"),
    (r"拦?腰斩(?!再)断?|砍半|砍掉一半|只剩一半", "下跌50%"),
    (rf"[壹贰叁肆伍陆柒捌玖拾佰仟]{{2,}}|[壹贰叁肆伍陆柒捌玖](?={_UNIT})", lambda m: m.group().translate(_FORMAL)),
    (r"五五开|对半开|一半一半|五五之数", "50%的概率"),
    (rf"(?:一半|半数|对半)的?(?={_CHANCE})", "50%的"),
    (r"(?:(?<=跌)|(?<=砍)|(?<=水)|(?<=去)|(?<=掉)|(?<=发)|(?<=少)|(?<=降)|(?<=亏)|(?<=吐)|(?<=了)|(?<=近)|(?<=逾))一半", "50%"),
    (r"半个百分点|半厘", "50bps"),
    (r"半个点", "0.5%"),
    (r"半码", "12.5bps"),
    (r"半成", "5%"),
    (r"半年", "6个月"),
    (r"半个月", "15天"),
    (r"半天|半日", "0.5天"),
    (r"半个?小时", "0.5小时"),
    (r"个把月|一个来月", "1个月"),
    (r"俩(?=月|星期|礼拜)", "2个"),
    (r"(\d+(?:\.\d+)?)百(?!分)", _scaled(100, "")),
    (r"(\d+(?:\.\d+)?)千(?!分)", _scaled(1000, "")),
    (rf"百分之({_NUMBER})(?:到|至|-|~)(?:百分之)?({_NUMBER})", lambda m: _plain((_value(m[1]) + _value(m[2])) / 2) + "%"),
    (rf"({_NUMBER})分之({_NUMBER})", _fraction),
    (rf"{_N}%\s*(?:个?百分点|厘)", _scaled(1, "bps")),
    (rf"(?<![点零〇一二两三四五六七八九十百千万])([一二两三四五六七八])([二三四五六七八九])(?P<ten>十)?(?=多?{_UNIT})", _between),
    (rf"十几(?={_UNIT})", "15"),
    (rf"几十(?={_UNIT})", "30"),
    (rf"几百(?={_UNIT})", "300"),
    (r"几(?=个点|成|个百分点|个基点)", "3"),
    (rf"({_NUMBER})个半(?=百分点|基点|点|月|星期|小时|季度)", lambda m: _plain(_value(m[1]) + 0.5) + "个"),
    (rf"({_NUMBER})(年|周|天|倍)半", lambda m: _plain(_value(m[1]) + 0.5) + m[2]),
    (rf"({_NUMBER})亿({_NUMBER})万(?!亿)", lambda m: _plain(_value(m[1]) + _value(m[2]) / 1e4) + "亿"),
    (rf"(?<![\d.])((?![百千万]年){HAN_NUMBER})(?:多|余|来)?(?=\s*{_UNIT})", _number),
    (rf"(?<![\d.])((?![百千万](?:{_MEASURE})){HAN_NUMBER})(?<=[十百千万])(?:多|余|来)?(?=\s*(?:{_MEASURE}))", _number),
    (rf"({_DIGIT}|\d)成({_DIGIT}|\d)(?![个分万亿年月天\d])", lambda m: _plain(10 * _value(m[1]) + _value(m[2])) + "%"),
    (rf"(?<=\d)(?:多|余)(?=\s*{_UNIT})", ""),
    (rf"{_N}\s*成半", lambda m: _plain(10 * float(m[1]) + 5) + "%"),
    (rf"{_N}\s*成(?!为|功|立|本|交|员|长|果|绩|都|分|品|熟|就|份)", _scaled(10, "%")),
    (rf"{_N}\s*个点", _points),
    (rf"{_N}\s*码", _scaled(25, "bps")),
    (rf"{_N}\s*厘", r"\1pp"),
    (rf"{_N}\s*(?:个?(?:基点|bps?)|点子)", r"\1bps"),
    (rf"{_N}\s*个?百分点", r"\1pp"),
    (rf"(?:打|跌到|跌成|跌至)了?{_N}\s*折", _discount),
    (r"打(?:了)?(?:个)?对折", "下跌50%"),
    (rf"翻了?{_N}\s*番", lambda m: "上涨" + _plain(100 * (2 ** float(m[1]) - 1)) + "%" if float(m[1]) <= 5 else m.group()),
    (rf"翻了?{_N}\s*倍", lambda m: f"上涨{_plain(100 * (float(m[1]) - 1))}%" if float(m[1]) > 1 else "翻倍"),
    (rf"(?<!原来的)((?:{_GROWS})(?:了|近|约|逾|超过|超|将近|出|幅达|整整|大约)*){_N}\s*倍(?!于|的水平)", lambda m: m[1] + _plain(100 * float(m[2])) + "%"),
    (rf"{_N}\s*倍", r"\1x"),
    (r"礼拜(?!天|[一二三四五六日])", "星期"),
    (rf"{_N}\s*万亿", r"\1tn"),
    (rf"{_N}\s*亿", _scaled(0.1, "bn")),
    (rf"{_N}\s*万(?!亿)", _scaled(10, "k")),
    (r"负(?=\d)", "-"),
)  # fmt: skip
