# ruff: noqa: E501  (sentences read better in one piece)
"""The contract of a reader: any text, deterministic, JSON round trip, literal numbers, speed,
light imports.
"""

import math
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import load_reader
from parfait.semantic.ontology.normalise import MAX_BYTES, normalise
from parfait.utils.errors import UserError
from tests.fuzzing import examples

READER = load_reader()
FRAGMENTS = st.sampled_from(
    [
        "The Fed raises",
        "rates",
        "by 50bps",
        "not",
        "if",
        "then",
        "but",
        "30% chance of",
        "a crash",
        "gold",
        ",",
        ".",
        "加息",
        "五十个基点",
        "随后",
        "救市",
        "未",
        "波动率60%",
        "drift 8%",
        "or",
        "%",
        "$",
        "-",
        "8",
        "百分之",
        "成",
        "unexpectedly",
        "less than expected",
        "half-life of",
        "0 days",
        "jumps a year",
        "hurst 9",
        "volatility",
        "from 5% to",
        "to",
        "{",
        "}",
        "<",
        ">",
        "零",
        "点",
        "falls",
        "in two weeks",
        "1 in 4",
    ]
)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(FRAGMENTS, max_size=25).map(" ".join),
        st.text(st.characters(codec=None), max_size=60),
    )
)
def test_any_text_gives_a_valid_distribution(text):
    d = READER.read(text)
    assert math.isclose(sum(c.weight for c in d.components), 1, abs_tol=1e-9)
    assert 0 <= d.confidence <= 1
    regimes = d.sample(4, torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(torch.as_tensor(regimes.volatility)).all())
    again = RegimeDistribution.from_json(d.to_json())
    assert again.to_json() == d.to_json()
    d.to_json().encode("utf-8")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_offsets_point_into_the_original(raw):
    text = normalise(raw)
    assert len(text.starts) == len(text.ends) == len(text.clean)
    assert all(0 <= a < b <= len(text.raw) for a, b in zip(text.starts, text.ends, strict=True))


def test_reading_is_deterministic():
    text = "Fed may hike 50bps; 30% chance of recession, then a bailout"
    assert READER.read(text).to_json() == load_reader("ontology").read(text).to_json()


def test_reading_tells_what_was_read():
    d = READER.read("The Fed does not raise rates by 50bps but frobnicates")
    event = d.reading["events"][0]
    assert event["type"] == "rate_hike"
    assert event["negated"]
    assert event["magnitude"] == 50
    assert "raise rates" in event["quote"]
    assert "frobnicates" in d.reading["unread"]


def test_real_instructions_give_several_named_explained_scenarios():
    for text in (
        "War breaks out",
        "央行意外加息50个基点",
        "Apple beats earnings estimates",
        "Bitcoin crashes",
    ):
        d = READER.read(text)
        assert len(d.components) >= 3
        assert len({c.name for c in d.components}) == len(d.components)
        assert all(c.rationale.endswith(".") for c in d.components)


LITERAL = [
    ("annualised volatility of 60%", "volatility", 0.60),
    ("The volatility is 60 per cent", "volatility", 0.60),
    ("年化波动率60%", "volatility", 0.60),
    ("波动率为百分之六十", "volatility", 0.60),
    ("daily volatility of 2%", "volatility", 0.02 * math.sqrt(252)),
    ("monthly volatility of 5%", "volatility", 0.05 * math.sqrt(12)),
    ("The VIX is at 35", "volatility", 0.35),
    ("volatility doubles", "volatility", 0.32),
    ("波动率翻倍", "volatility", 0.32),
    ("expected return of 10% over six months", "drift", math.log(1.1) / 0.5),
    ("drift of 8%", "drift", 0.08),
    ("annual drift -5%", "drift", -0.05),
    ("预期收益率为8%", "drift", math.log(1.08)),
    ("3 jumps a year of -8% on average, spread 3%", "jump_intensity", 3.0),
    ("3 jumps a year of -8% on average, spread 3%", "jump_mean", math.log(0.92) - 0.03**2 / 2),
    ("3 jumps a year of -8% on average, spread 3%", "jump_std", 0.03),
    ("half-life of 10 days", "mean_reversion", math.log(2) / (10 / 365)),
    ("半衰期为10天", "mean_reversion", math.log(2) / (10 / 365)),
    ("Hurst exponent of 0.7", "hurst", 0.7),
    ("correlation of -0.8", "leverage", -0.8),
    ("initial volatility of 40%", "initial_volatility", 0.40),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "value"), LITERAL)
def test_numbers_are_taken_literally(text, field, value):
    d = READER.read(text)
    for c in d.components:
        assert getattr(c.regime, field) == pytest.approx(value, rel=1e-6)
    override = next(o for o in d.overrides if o.field == field)
    assert override.new == pytest.approx(value, rel=1e-6)
    assert override.quote


def test_daily_volatility_of_crypto_counts_calendar_days():
    d = READER.read("daily volatility of 3%", MarketContext("crypto"))
    assert d.mean.volatility == pytest.approx(0.03 * math.sqrt(365))


def test_a_directive_leaves_other_fields_alone_and_beats_the_event():
    plain = READER.read("The stock market crashes")
    told = READER.read("The stock market crashes with annualised volatility of 25%")
    assert told.mean.volatility == pytest.approx(0.25)
    assert told.mean.drift == pytest.approx(plain.mean.drift, rel=0.05)


def test_about_widens_and_contradictions_are_both_covered():
    assert float(READER.read("volatility of about 30%").components[0].sd[1]) == pytest.approx(0.1)
    d = READER.read("volatility of 20%. volatility of 60%.")
    assert any("both" in w for w in d.warnings)
    c = d.components[0]
    assert float(c.mean[1] - c.sd[1]) == pytest.approx(math.log(0.2))
    assert float(c.mean[1] + c.sd[1]) == pytest.approx(math.log(0.6))


def test_out_of_bounds_is_clamped_with_a_warning():
    d = READER.read("volatility of 5000%")
    assert d.mean.volatility == pytest.approx(10)
    assert any("outside" in w for w in d.warnings)


@pytest.mark.parametrize(
    ("text", "kind", "level", "years", "absolute"),
    [
        ("Gold falls 30% in two weeks", "terminal", -0.3, 14 / 365, False),
        ("Bitcoin reaches $200,000 within 3 months", "terminal", 200000.0, 0.25, True),
        ("Stocks suffer a drawdown of 20%", "drawdown", -0.2, None, False),
        ("The S&P 500 rises 5%", "terminal", 0.05, None, False),
        ("黄金两周内下跌30%", "terminal", -0.3, 14 / 365, False),
        ("Bitcoin doubles in a year", "terminal", 1.0, 1.0, False),
        ("Gold falls to 1500 in a month", "terminal", 1500.0, 1 / 12, True),
    ],
)
def test_stated_moves_become_conditions(text, kind, level, years, absolute):
    condition = READER.read(text).components[0].conditions[0]
    assert condition.kind == kind
    assert condition.level == pytest.approx(level)
    assert condition.years == (pytest.approx(years) if years else None)
    assert condition.absolute is absolute


def test_a_dose_is_no_condition_and_no_parameter():
    d = READER.read("The Fed raises rates by 50bps")
    assert not d.overrides
    assert not any(c.conditions for c in d.components)


def test_long_text_keeps_head_and_tail():
    filler = "blah " * 3000
    d = READER.read("War breaks out. " + filler + " Gold surges.")
    assert any(str(MAX_BYTES) in w for w in d.warnings)
    types = [e["type"] for e in d.reading["events"]]
    assert types[0] == "war"
    assert types[-1] == "rally"


def test_mistakes_are_user_errors():
    with pytest.raises(UserError, match="unknown"):
        load_reader("nonesuch")
    with pytest.raises(UserError, match="option"):
        load_reader("ontology", depth=3)
    with pytest.raises(UserError, match="text"):
        READER.read(5)  # type: ignore[arg-type]


def test_warm_reading_is_fast():
    texts = [
        "The central bank announces an unexpected 50bps rate hike",
        "如果现在央行意外加息，且市场出现恐慌性抛售，但随后有国家队入场救市",
    ]
    for t in texts:
        READER.read(t)
    start = time.process_time()
    for _ in range(10):
        for t in texts:
            READER.read(t)
    assert (time.process_time() - start) / 20 < 0.02


def test_import_is_light():
    code = "import parfait.semantic, sys; print([m for m in ('lightning', 'transformers', 'hydra', 'polars', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
