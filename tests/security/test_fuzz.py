"""The property tests of everything that reads what others wrote, with 10,000 examples each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = 10_000
TESTS = [
    "tests/data/test_load_convert.py::test_any_symbol_has_a_file_name_of_its_own_in_its_folder",
    "tests/data/test_load_fuzz.py",
    "tests/data/test_load_typed.py::test_the_short_roads_agree_with_the_long_ones",
    "tests/microstructure/test_micro_codec.py::test_every_finite_code_is_a_valid_bar",
    "tests/microstructure/test_micro_constraint.py",
    "tests/sde/test_sde_limits.py::test_all_that_is_allowed_stays_finite",
    "tests/sde/test_sde_limits.py::test_every_valid_regime_stays_finite",
    "tests/security/test_hostile_files.py::test_any_configuration_is_a_model_or_one_sentence",
    "tests/semantic/test_bad_input.py::test_no_text_breaks_the_rules",
    "tests/semantic/test_semantic_reader.py::test_any_text_gives_a_valid_distribution",
    "tests/semantic/test_spoken.py::test_any_answer_is_a_valid_distribution_or_one_sentence",
    "tests/test_pipeline_any.py",
    "tests/test_regime_json.py",
]


def run(test: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, test]
    told = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS)
def test_ten_thousand_examples(test: str) -> None:
    done = run(test, PARFAIT_EXAMPLES=str(EXAMPLES))
    assert done.returncode == 0, done.stdout[-5000:]


def test_the_environment_decides_how_many_examples(tmp_path: Path) -> None:
    """Or the slow test would be the quick one under another name."""
    told = run(TESTS[0], "--hypothesis-show-statistics", PARFAIT_EXAMPLES="321").stdout
    assert "settings.max_examples=321" in told
