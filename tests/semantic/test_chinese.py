# ruff: noqa: E501  (sentences read better in one piece)
"""Laws of reading Chinese: verbs and objects, traditional characters, numerals, probabilities,
literal numbers, comparisons, negation.
"""

from itertools import cycle, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import MarketContext
from parfait.semantic import load_reader
from parfait.semantic.ontology.clauses import segment
from parfait.semantic.ontology.frames import read_frames
from parfait.semantic.ontology.lexicon import effects, entries, lexicon, load_data
from parfait.semantic.ontology.normalise import normalise

READER = load_reader()
EVENTS, OBJECTS = effects()["events"], effects()["objects"]
FORMS = [(entry, form) for entry, form in entries("zh")]
# Objects that rise and fall, with the drift of either side.
MOVING = {
    name: {k: EVENTS[row[k]]["mu"] for k in ("up", "down")}
    for name, row in OBJECTS.items()
    if "up" in row and "down" in row and EVENTS[row["up"]]["mu"] * EVENTS[row["down"]]["mu"] < 0
}
# Quantities of the economy: what they are called needs no other verb than those of direction.
QUANTITIES = [
    ("policy_rate", "利率"), ("inflation", "通胀"), ("growth", "工业产出"), ("unemployment", "失业率"),
    ("jobs", "就业"), ("earnings", "净利润"), ("tax", "税率"), ("rating", "信用评级"),
    ("housing", "房价"), ("sentiment", "投资者信心"), ("yield", "国债收益率"),
]  # fmt: skip


def drift_of(text):
    """Summed drift of the events read, zero where nothing was."""
    clean = normalise(text).clean
    frames = read_frames(segment(clean, [], lexicon()))
    return sum(EVENTS[f.event]["mu"] for f in frames if not f.negated)


def verbs(direction):
    """Plain Chinese verbs of a direction."""
    return [
        form
        for entry, form in FORMS
        if entry.kind == "action" and entry.id == direction and entry.verb == "intrans"
    ]


@pytest.mark.parametrize("direction", ["up", "down"])
def test_every_verb_of_direction_moves_an_object_to_its_side(direction):
    wrong = []
    for verb, (name, noun) in zip(verbs(direction), cycle(QUANTITIES), strict=False):
        if drift_of(noun + verb) * MOVING[name][direction] <= 0:
            wrong.append(noun + verb)
    assert len(verbs(direction)) > 80
    assert not wrong


def test_every_form_of_an_object_is_moved_by_plain_verbs():
    wrong = []
    forms = [(e.id, f) for e, f in FORMS if e.kind == "object" and e.id in MOVING]
    for name, noun in forms:
        for verb, direction in (("大幅增加", "up"), ("大幅减少", "down")):
            if drift_of(noun + verb) * MOVING[name][direction] <= 0:
                wrong.append(noun + verb)
    assert len(forms) > 300
    assert len(wrong) <= 0.03 * len(forms), wrong


def test_the_object_of_a_verb_stands_after_it_or_before_a_passive_one():
    for text in (
        "央行上调利率",
        "利率遭上调",
        "央行将利率上调",
        "央行把利率抬高了",
        "利率上调冲击股市",
    ):
        assert drift_of(text) < 0, text
    for text in ("央行下调利率", "利率被下调", "央行将利率下调", "央行把利率压低了"):
        assert drift_of(text) > 0, text


def traditional(text):
    """The text in traditional characters, one of them for each simplified one."""
    table = {k: "".join(v.split()) for k, v in load_data("lexicon/traditional.yaml").items()}
    return text.translate(str.maketrans(table["simplified"], table["traditional"]))


def test_traditional_characters_read_like_simplified_ones():
    forms = list(dict.fromkeys(form for _, form in islice(FORMS, 0, None, 4)))
    changed = [f for f in forms if traditional(f) != f]
    assert len(changed) > 1000
    for form in changed:
        assert normalise(traditional(form)).clean == normalise(form).clean


def test_folding_traditional_characters_twice_changes_nothing():
    table = {k: "".join(v.split()) for k, v in load_data("lexicon/traditional.yaml").items()}
    assert len(table["traditional"]) == len(table["simplified"])
    assert not set(table["traditional"]) & set(table["simplified"])


DIGITS = "零一二三四五六七八九"


def numeral(n):
    """Chinese numeral of 1 <= n < 100,000,000."""
    if n >= 10_000:
        high, low = divmod(n, 10_000)
        gap = "零" if 0 < low < 1000 else ""
        return numeral(high) + "万" + gap + (numeral(low) if low else "")
    words, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, unit)
        if digit:
            words += ("零" if gap and words else "") + DIGITS[digit] + name
        gap = digit == 0
    return words.removeprefix("一") if words.startswith("一十") else words


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 9_999_999), st.sampled_from(["加息{}个基点", "每天减产{}桶"]))
def test_whole_numbers_in_chinese_read_like_digits(n, sentence):
    assert normalise(sentence.format(numeral(n))).clean == normalise(sentence.format(n)).clean


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 300), st.integers(0, 99))
def test_percentages_in_chinese_read_like_digits(whole, cents):
    if not whole + cents:
        return
    spelt = (numeral(whole) if whole else "零") + (
        "点" + f"{cents:02d}".translate(_SPELT) if cents else ""
    )
    value = f"{whole + cents / 100:.2f}".rstrip("0").rstrip(".")
    for sentence in ("股市下跌百分之{}", "股市下跌{}个百分点"):
        a, b = sentence.format(spelt), sentence.format(value)
        assert (
            normalise(a).clean.replace("百分之", "")
            == normalise(b.replace("百分之" + value, value + "%")).clean
        )


_SPELT = str.maketrans("0123456789", DIGITS)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("升息两码", "升息50bps"), ("加息半厘", "加息50bps"), ("跌去一半", "跌去50%"), ("腰斩", "下跌50%"), ("打八五折", "下跌15%"),
        ("翻两番", "上涨300%"), ("增长逾两倍", "增长逾200%"), ("跌了两三个点", "跌了2.5%"), ("三成五", "35%"), ("五分之一", "20%"),
        ("三千点", "3000pts"), ("两千三百亿", "230bn"), ("2千亿", "200bn"), ("一个半月", "1.5个月"), ("二十多个基点", "20bps"),
        ("千股跌停", "千股跌停"), ("百年一遇", "百年一遇"), ("一家银行", "一家银行"),
    ],
)  # fmt: skip
def test_colloquial_numbers(text, clean):
    assert normalise(text).clean == clean


@pytest.mark.parametrize(
    ("text", "p"),
    [
        ("有七成把握股市崩盘", 0.7), ("三分之一的可能爆发战争", 1 / 3), ("五五开，股市崩盘", 0.5), ("0.3的概率股市崩盘", 0.3),
        ("股市崩盘的概率大约为四成", 0.4), ("股市崩盘的可能性只有15%左右", 0.15), ("一半的机会股市崩盘", 0.5),
    ],
)  # fmt: skip
def test_chances_in_free_wording_are_weights(text, p):
    d = READER.read(text)
    event = [c.weight for c in d.components if c.slot not in ("baseline", "prior")]
    assert sum(event) == pytest.approx(p, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("年化波动率设为四成", "volatility", 0.4), ("每天波动两个点左右", "volatility", 0.02 * 252**0.5),
        ("波动率变成原来的三倍", "volatility", 0.48), ("波动率增加一倍", "volatility", 0.32),
        ("两年预期回报率20%", "drift", 0.0911607784), ("年化漂移为负5%", "drift", -0.05), ("每月跳跃两次", "jump_intensity", 24.0),
        ("均值回归半衰期10天", "mean_reversion", 25.299872), ("赫斯特指数0.7", "hurst", 0.7),
        ("收益与波动率的相关性为负0.6", "leverage", -0.6), ("波动率的波动率1.2", "vol_of_vol", 1.2), ("方差回归速度5", "variance_reversion", 5.0),
    ],
)  # fmt: skip
def test_parameters_in_free_wording_are_taken_literally(text, field, value):
    d = READER.read(text, MarketContext(volatility=0.16))
    assert {o.field: o.new for o in d.overrides}[field] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("GDP增长超预期", "GDP增长不及预期"), ("失业率好于预期", "失业率差于预期"), ("通胀回落超预期", "通胀回落不及预期"),
        ("净利润远高于市场预期", "净利润远低于市场预期"), ("加息幅度不及预期", "加息幅度超预期"), ("刺激力度远超预期", "刺激力度远不及预期"),
        ("降息超预期", "降息不及预期"),
    ],
)  # fmt: skip
def test_expectations_are_met_beaten_and_missed(good, bad):
    base = READER.read("").mean.drift
    assert READER.read(good).mean.drift > base + 0.02
    assert READER.read(bad).mean.drift < base - 0.02


def test_a_negator_reaches_its_own_clause_alone():
    base = READER.read("").mean.drift
    for text in (
        "虽不敢断言，但金融危机已经开始",
        "股市暴跌，谁也挡不住",
        "银行挤兑，储户取不出钱",
        "没人想到，银行倒闭了",
    ):
        assert READER.read(text).mean.drift < base - 0.02, text
    for text in ("战争没有爆发", "传闻中的战争，最终没有发生", "央行并未加息", "公司没有造假"):
        assert all(
            e["negated"] for e in READER.read(text).reading["events"] if e["polarity"] < 0
        ), text
