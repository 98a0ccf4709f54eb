"""Numbers as a person reads them."""

import math

import pytest

from parfait.report.formats import decimal, money, number, percent, signed


@pytest.mark.parametrize("show", [percent, signed, number, decimal, money])
def test_what_is_no_number_is_a_dash(show) -> None:
    assert show(math.nan) == "–"
    assert "nan" not in show(0.0)
    assert show(-0.5).startswith("−")


@pytest.mark.parametrize("show", [percent, signed, number])
def test_what_is_unknown_is_a_dash(show) -> None:
    assert show(None) == "–"
