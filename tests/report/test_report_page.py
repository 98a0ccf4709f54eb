"""The report: one offline page, escaped, reproducible, honest about what is not known."""

import re
import shlex
import struct
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
import torch

from parfait import report
from parfait.checks import Alignment, Outcomes, max_drawdowns, risk_measures
from parfait.regime import Component, Condition, Override, Regime, RegimeDistribution
from parfait.report.axes import past_bars
from parfait.report.command import reproduce
from parfait.report.content import Content, distinct_labels
from parfait.report.figures import draw_all, spread
from parfait.report.html import parameter_rows, render_html
from parfait.report.reading import flatten, reading_events, reading_lines
from parfait.report.style import SCENARIO_COLOURS, drawable, inline_svg, png_bytes
from parfait.report.ticks import tick_figure
from parfait.simulation import Simulation
from tests.report.pages import faults

ATTACK = '<script>alert("x")</script> \'"><img src=x onerror=alert(1)> {{ 7*7 }} $x^2$ & 流动性 😀'
VOID = {"meta", "br", "img", "input", "link", "hr"}


def walk(n: int, seed: int, start: float) -> np.ndarray:
    """n valid bars of a random walk."""
    random = np.random.default_rng(seed)
    inner = start * np.exp(np.cumsum(0.004 * random.standard_normal((n, 6)).ravel())).reshape(n, 6)
    ends = (inner[:, 0], inner.max(1), inner.min(1), inner[:, -1])
    return np.stack([*ends, 1e6 * (1 + random.random(n))], axis=1)


def simulated(
    names=("Slump", "Rebound"), n=30, horizon=12, text="Rates rise.", seed=1
) -> Simulation:
    """A hand-made result with paths dealt to the scenarios in turn."""
    days = [datetime(2021, 3, 1) + timedelta(days=i) for i in range(80 + horizon)]
    past = pl.DataFrame(
        walk(80, 0, 100.0), schema=["open", "high", "low", "close", "volume"], orient="row"
    ).insert_column(0, pl.Series("timestamp", days[:80]))
    spot = float(past["close"][-1])
    bars = np.stack([walk(horizon, seed + k, spot) for k in range(n)])
    index = np.sort(np.arange(n) % len(names))
    long = {
        "path": np.repeat(np.arange(n, dtype=np.int32), horizon),
        "scenario": np.repeat(index.astype(np.int32), horizon),
        "step": np.tile(np.arange(horizon, dtype=np.int32), n),
        "timestamp": days[80:] * n,
    }
    fields = ("open", "high", "low", "close", "volume")
    flat = {f: bars[..., j].ravel() for j, f in enumerate(fields)}
    table = pl.DataFrame(long | flat, schema_overrides={"timestamp": pl.Datetime("us")})
    guides = table.select(
        "path", "step", anchored=(pl.col("step") + 1) % 4 == 0, guide=pl.col("close")
    )
    distribution = RegimeDistribution(
        tuple(
            Component.around(
                "calm",
                name,
                1 / len(names),
                Regime(0.1, 0.2),
                {"drift": 0.3},
                rationale=f"because {name}",
                conditions=(Condition("terminal", -0.3, quote="falls 30 %"),),
            )
            for name in names
        ),
        source="tested",
        confidence=0.4,
        overrides=(Override("volatility", None, 0.45, "45 % volatility"),),
        reading={"events": [{"kind": "rate rise", "severity": 0.5}]},
    )
    regime = Regime(0.1, 0.2, initial_volatility=0.2).expand(n)
    keys = [*range(len(names)), None]
    close = torch.from_numpy(bars[..., 3].copy())
    return Simulation(
        instruction=text,
        bars=table,
        guides=guides,
        scenarios=distribution,
        resolved=distribution.resolve(0.2),
        regime=regime,
        history=past,
        history_name="walk.csv",
        history_source="folder of/walk.csv",
        spot=spot,
        asset="gold",
        seed=5,
        n_paths=n,
        horizon=horizon,
        bars_per_year=252.0,
        sde="bates",
        sampler="dpmpp_2m",
        sampler_steps=None,
        guide_every=4,
        jump_sigmas=3.0,
        model="f" * 64,
        warnings=("Take care.",),
        checks={"valid_bars": 1.0, "max_guide_error": 0.0},
        alignment=tuple(
            Alignment(f, k, 0.2, None if f == "drift" else 0.21, None if f == "drift" else 0.01)
            for k in keys
            for f in ("drift", "volatility")
        ),
        outcomes=Outcomes(*[close[:, -1] / spot] * 3, None, max_drawdowns(close, spot)),
        risk=risk_measures(close, spot),
        seconds={"bars": 1.0},
    )


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulated()


@pytest.fixture(scope="module")
def drawn(simulation):
    content = Content.of(simulation)
    return content, draw_all(content, simulation.risk["VaR95"])


@pytest.fixture(scope="module")
def page(simulation, drawn) -> str:
    return render_html(simulation, *drawn)


def test_equal_simulations_give_equal_bytes(simulation, tmp_path):
    first = {p.name: p.read_bytes() for p in report.write(simulation, tmp_path / "a")}
    later = replace(simulation, seconds={"bars": 99.0})
    second = {p.name: p.read_bytes() for p in report.write(later, tmp_path / "b")}
    assert set(first) == {"candles.png", "fan.png", "report.html"}
    assert first == second
    assert len(first["report.html"]) < 1_500_000


def test_the_page_needs_nothing_from_outside(page):
    assert "http" not in page
    assert "<script" not in page
    assert "<link" not in page
    for reference in re.findall(r'(?:href|src)="([^"]*)"', page) + re.findall(
        r"url\(([^)]*)\)", page
    ):
        assert reference.startswith("#")


def test_tags_of_the_page_are_balanced(page):
    open_tags = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in VOID:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []


def test_a_run_with_ticks_shows_one_bar_trade_by_trade(simulation, page, tmp_path):
    command = "ticks=roll ticks.per_bar=30"
    ticked = simulation.with_ticks(per_bar=30, command=command)
    figure = tick_figure(ticked, Content.of(ticked))
    path = Content.of(ticked).representative(1)[0][0]
    ticks = ticked.ticks(path).filter(pl.col("step") == 0)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sum(np.size(line.get_xdata()) for line in dots) == 30
    assert f"Path {path}" in figure.axes[0].get_title(loc="left")
    low, high = figure.axes[0].get_ylim()
    assert low < ticks["bid"].min() < ticks["ask"].max() < high
    report.write(ticked, tmp_path)
    shown = (tmp_path / "report.html").read_text()
    assert "trade by trade" in shown
    assert "parametric: not learned from data" in shown
    assert command in reproduce(ticked)
    assert "trade by trade" not in page


def test_every_text_from_outside_is_escaped(simulation, drawn):
    hostile = RegimeDistribution(
        tuple(replace(c, name=ATTACK, rationale=ATTACK) for c in simulation.scenarios.components),
        source=ATTACK,
        confidence=0.4,
        overrides=(Override("volatility", 0.1, 0.45, ATTACK),),
        asset_class="equity",
        reading={ATTACK: [{ATTACK: ATTACK}], "plain": ATTACK},
    )
    attacked = replace(
        simulation,
        instruction=ATTACK,
        scenarios=hostile,
        resolved=hostile.resolve(0.2),
        warnings=(ATTACK,),
        history_name=ATTACK,
        model=ATTACK,
    )
    content = Content.of(attacked)
    text = render_html(attacked, content, draw_all(content, 0.1), command=ATTACK)
    assert "<script" not in text
    assert "<img" not in text
    assert "{{ 7*7 }}" in text  # shown, never evaluated
    assert text.count("&lt;script&gt;") > 8
    assert faults(text) == []
    assert faults(text.replace("&lt;img", "<img")) != []  # as one slip would leave it
    assert 'aria-label="x&quot;&lt;' in inline_svg(drawn[1]["obedience"], 'x"<')


def test_warnings_come_before_everything_else(page):
    order = [
        page.index(mark)
        for mark in ("Take care.", "confidence of the reading", "<h2>Scenarios", "How to reproduce")
    ]
    assert order == sorted(order)


def test_the_page_says_how_the_instruction_was_read(page):
    for words in ("45 % volatility", "falls 30 %", "rate rise", "because Slump", "unsure"):
        assert words in page
    assert "not identified by so few bars" in page
    assert "f" * 64 in page


def test_the_command_reproduces_the_run(simulation):
    command = reproduce(replace(simulation, instruction='It\'s $5 "cheap"'))
    assert command == (
        "python simulate.py 'It'\"'\"'s $5 \"cheap\"' n_paths=30 horizon=12 seed=5 sde=bates "
        "history='folder of/walk.csv' asset=gold semantic=tested "
        "sampler=dpmpp_2m"
    )
    assert reproduce(replace(simulation, instruction=None)).startswith("Pipeline.load")
    read = replace(simulation.scenarios, source="student")
    options = {"run": "runs/two words", "device": "cpu"}
    trained = replace(simulation, scenarios=read, semantic_options=options, trained="runs/net")
    assert shlex.split(reproduce(trained))[-5:-1] == [
        "run=runs/net",
        "semantic=student",
        "semantic.run='runs/two words'",
        "semantic.device=cpu",
    ]


def test_colours_of_scenarios_follow_the_theme(drawn):
    svg = inline_svg(drawn[1]["fan"], "fan")
    assert "var(--s0)" in svg
    assert "var(--s1)" in svg
    assert not any(colour in svg for colour in SCENARIO_COLOURS)
    assert ' id="figure' not in svg


def test_pngs_carry_no_text_chunks(drawn):
    data = png_bytes(drawn[1]["candles"], "A title")
    assert data.startswith(b"\x89PNG")
    assert b"tEXt" not in data
    assert b"tIME" not in data


def test_a_title_adds_a_strip_and_leaves_the_figure_alone(drawn):
    figure = drawn[1]["obedience"]
    plain, titled = png_bytes(figure), png_bytes(figure, "Something $1 and $2")
    height = [struct.unpack(">II", data[16:24])[1] for data in (plain, titled)]
    assert height[1] > height[0]
    assert png_bytes(figure) == plain


def test_titles_survive_any_script():
    assert drawable("  two\n words ") == "two words"
    assert drawable("全球冲突升级") == ""
    assert (
        drawable("rise 全 of a long and friendly market") == "rise  of a long and friendly market"
    )
    assert len(drawable("x" * 500)) == 110


@pytest.mark.parametrize(("n", "horizon", "k"), [(1, 1, 1), (9, 3, 8), (45, 64, 1)])
def test_figures_of_unusual_sizes(n, horizon, k):
    s = simulated(tuple(f"Scenario {j}" for j in range(k)), n=n, horizon=horizon)
    content = Content.of(s)
    assert len(content.dates) == 80 + horizon
    assert past_bars(content, 2.0, 30, 120) <= 80
    render_html(s, content, draw_all(content, s.risk["VaR95"]))


def test_representatives_are_medians_of_their_scenarios(drawn):
    content = drawn[0]
    picked = content.representative()
    assert len(picked) == 4
    assert len({path for path, _, _ in picked}) == 4
    for path, scenario, why in picked[:2]:
        assert why == "median path"
        below = (content.returns[scenario.rows] < content.returns[path]).mean()
        assert 0.4 <= below <= 0.6


def test_labels_keep_their_distance_and_order():
    places = spread([1.0, 1.01, 1.02, 5.0], 0.5, 0.0, 10.0)
    assert places[3] == 5.0
    assert np.diff(places).min() >= 0.5 - 1e-12
    assert np.mean(places[:3]) == pytest.approx(1.01)
    assert min(spread([0.0, 0.0], 1.0, 0.0, 10.0)) >= 0
    assert max(spread([10.0, 10.0], 1.0, 0.0, 10.0)) <= 10


def test_fields_that_are_off_everywhere_are_left_out(simulation):
    names = [row["name"] for row in parameter_rows(simulation.scenarios_table())]
    assert names[:2] == ["drift", "volatility"]
    assert "mean reversion" not in names
    assert "hurst" not in names


def test_labels_leave_out_what_scenarios_share():
    names = ["war", "war: fades", "peace: again", "war: fades: late"]
    assert distinct_labels(names) == ["war", "fades", "peace: again", "fades: late"]


def test_events_are_read_back_in_words():
    event = {
        "quote": "no 50bps hike",
        "name": "rate rise",
        "polarity": -1,
        "negated": True,
        "magnitude": 50.0,
        "unit": "bps",
        "expected": 25.0,
        "surprise": "unstated",
        "intensity": 1.5,
        "asset": "gold",
    }
    reading = {"events": [event], "unread": ["blorgon"], "coverage": 0.5, "corrected": []}
    assert reading_events(reading) == [
        {
            "quote": "no 50bps hike",
            "name": "not: rate rise",
            "polarity": "prices down",
            "magnitude": "50 bps, 25 expected",
            "details": "intensity 1.5, in gold",
        }
    ]
    assert reading_lines(reading) == [
        ("not understood", "“blorgon”"),
        ("understood", "50.0% of what the words weigh"),
    ]
    assert reading_lines({"unread": []}) == [("not understood", "nothing")]


def test_readings_of_any_shape_become_lines():
    reading = {"a_b": {"c": 1.5}, "events": [{"kind": "war"}, "x"], "empty": [], "flag": True}
    assert flatten(reading) == [
        ("a b · c", "1.5"),
        ("events 1", "kind war"),
        ("events 2", "x"),
        ("flag", "true"),
    ]
