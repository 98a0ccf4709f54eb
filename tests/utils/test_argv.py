"""The command line as text: what reaches Hydra is what was typed."""

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from parfait.utils.argv import rewrite
from parfait.utils.errors import UserError

KEYS = {"instruction", "n_paths", "history", "sde", "hydra"}
NASTY = [
    "Global conflict escalates, leading to a liquidity crisis and gold price surge.",
    "The Fed's \"shock\": it's 'over'",
    "vol=0.3 and drift is low",
    "a = b = c",
    "${HOME} and ${oc.env:HOME} and \\${x}",
    "{rates: [1, 2]} falls",
    "up 5% (or -3%), 100% sure",
    "line one\nline two\r\n\ttab",
    "🚀 to the moon 🌕",
    "全球冲突升级，导致流动性危机，黄金价格飙升。",
    "-5% shock",
    "null",
    "=12",
    "true",
    "1e5",
    "choice(a,b)",
    "back\\slash \\' quote\\",
    "'",
    "''quoted'' twice''",
    "it ends with a newline\n",
    "x" * 10_000,
]
# What a command line can hold: no NUL. "???" alone is OmegaConf's mark of a missing value.
SPECIAL = st.sampled_from(list("\\'\"${}[](),=: \n\t#%~+-@?*!|，“”’😀中a1"))
TEXT = st.text(
    SPECIAL | st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60
).filter(lambda text: text != "???")


def rewritten(*argv: str, stdin: str = "") -> list[str]:
    return rewrite(argv, known_keys=KEYS, command="simulate", read_stdin=lambda: stdin)


def read_back(arguments: list[str]) -> str:
    """What the configuration holds, after Hydra and OmegaConf, in a single run and as a sweep."""
    overrides = [a for a in arguments if not a.startswith("-")]
    parser = OverridesParser.create()
    (single,) = [o for o in parser.parse_overrides(overrides) if o.key_or_group == "instruction"]
    (job,) = BasicSweeper.split_arguments(parser.parse_overrides(overrides), None)[0]
    (again,) = [o for o in parser.parse_overrides(job) if o.key_or_group == "instruction"]
    values = []
    for override in (single, again):
        config = OmegaConf.create({"instruction": None})
        OmegaConf.update(config, "instruction", override.value())
        values.append(config.instruction)
    assert values[0] == values[1]
    return values[0]


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:20])
def test_a_sentence_is_just_text(text: str) -> None:
    assert read_back(rewritten(text)) == text
    assert read_back(rewritten(f"instruction={text}")) == text


@settings(max_examples=500, deadline=None)
@given(TEXT)
@example("\\" * 5 + "${" + "\\" * 3 + "'" + "\\" * 2)
@example("\\\n")
def test_random_text_survives_as_a_value(text: str) -> None:
    arguments = rewritten(f"instruction={text}")
    assume(arguments != [f"instruction={text}"])  # already one quoted string: Hydra's own syntax
    assert read_back(arguments) == text


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_random_text_survives_as_an_argument(text: str) -> None:
    sentence = f"When {text}"
    assert read_back(rewritten("n_paths=3", sentence, "-m")) == sentence


def test_a_quoted_hydra_string_is_left_alone() -> None:
    assert rewritten("instruction='it is, quoted'") == ["instruction='it is, quoted'"]
    assert rewritten("-m", "instruction=choice('a','b')") == ["-m", "instruction=choice('a','b')"]
    assert rewritten("instruction=choice(a)") == ["instruction='choice(a)'"]


def test_options_of_the_loader_need_no_plus() -> None:
    typed = ["history_options.price_scale=1e-4", "++history_options.a=1", "history_options={a: 1}"]
    keys = KEYS | {"history_options"}
    found = rewrite(typed, known_keys=keys, command="simulate", read_stdin=str)
    assert found == [f"++{typed[0]}", *typed[1:]]


def test_ticks_are_switched_like_a_setting() -> None:
    switched = rewrite(
        ["ticks=true", "ticks.options.price_scale=1e-4"],
        known_keys={"ticks"},
        command="simulate",
        read_stdin=str,
    )
    assert switched == ["ticks=roll", "++ticks.options.price_scale=1e-4"]
    for typed, meant in (("ticks=False", "ticks=none"), ("ticks=learned", "ticks=learned")):
        assert rewritten(typed) == [meant]


def test_paths_by_number_are_a_choice_and_a_name_is_a_group() -> None:
    for typed, meant in {
        "paths=0-9": "select='0-9'",
        "paths=0-9,20": "select='0-9,20'",
        "paths=[3, 4]": "select='[3, 4]'",
        "paths=3": "select='3'",
        "paths=default": "paths=default",
        "paths.outputs=3": "paths.outputs=3",
    }.items():
        for keys, expected in (({"select", "paths"}, meant), ({"paths"}, typed)):
            found = rewrite([typed], known_keys=keys, command="export", read_stdin=str)
            assert found == [expected]


def test_standard_input_is_the_instruction() -> None:
    assert read_back(rewritten("-", stdin="from a pipe, with 'quotes'\n")) == (
        "from a pipe, with 'quotes'"
    )


def test_flags_come_first_with_their_values() -> None:
    found = rewritten("n_paths=1,2", "-m", "A calm market", "-cd", "folder", "--info", "defaults")
    assert found[:5] == ["-m", "-cd", "folder", "--info", "defaults"]
    assert found[5:] == ["n_paths=1,2", "instruction='A calm market'"]


@pytest.mark.parametrize(
    "argument",
    ["n_path=10", "+new.key=1", "~sde", "sde@x=gbm", "history=my file.csv", "hydra.run.dir=a b"],
)
def test_overrides_stay_overrides(argument: str) -> None:
    assert rewritten(argument) == [argument]


@pytest.mark.parametrize("argument", ["vol=0.3 and low", "gold falls", "1=2", "黄金=上涨", "-5%"])
def test_everything_else_is_text(argument: str) -> None:
    assert read_back(rewritten(argument)) == argument


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["A", "calm"], "simulate 'A calm'"),
        (["A calm market", "instruction=x"], "2 were found"),
        (["--multi"], "--multirun"),
        (["--n_paths=3"], "without dashes"),
        (["--cfg", "jbo"], "all, hydra, job"),
        (["-cd"], "needs a value"),
    ],
)
def test_mistakes_are_sentences(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        rewritten(*argv)
    assert message in str(error.value)


def test_a_stage_without_instruction_takes_no_text() -> None:
    with pytest.raises(UserError, match="unexpected argument 'hello there'"):
        rewrite(["hello there"], known_keys={"seed"}, command="train", read_stdin=str)
