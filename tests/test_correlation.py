"""The correlation that is asked for: every form, the estimate, and what is refused."""

import math

import polars as pl
import pytest
import torch

from parfait.correlation import nested, read_correlation, realised_correlation
from parfait.history import History
from parfait.utils.errors import UserError

SYMBOLS = ("A", "B/C", "D")
FULL = torch.tensor([[1.0, 0.3, -0.2], [0.3, 1.0, 0.1], [-0.2, 0.1, 1.0]], dtype=torch.float64)


def walks(n: int = 4000, correlation: float = 0.6, symbols=SYMBOLS) -> list[History]:
    """Daily Gaussian walks whose returns have one common correlation."""
    draw = torch.randn(len(symbols) + 1, n, generator=torch.Generator().manual_seed(3)).double()
    moves = 0.01 * (correlation**0.5 * draw[0] + (1 - correlation) ** 0.5 * draw[1:])
    found = []
    for symbol, row in zip(symbols, moves, strict=True):
        close = (100 * row.cumsum(0).exp()).numpy()
        day = pl.datetime_range(
            pl.datetime(2000, 1, 3), pl.datetime(2000, 1, 3) + pl.duration(days=n - 1), eager=True
        )
        frame = pl.DataFrame({"timestamp": day.cast(pl.Datetime("us")), "open": close})
        frame = frame.with_columns(high="open", low="open", close="open", volume=pl.lit(1.0))
        found.append(History(frame, symbol, symbol=symbol))
    return found


def asked(given, pasts=None) -> torch.Tensor:
    return read_correlation(given, pasts or walks(100)).asked


@pytest.mark.parametrize("value", [0, 0.25, "0.25", -0.3])
def test_a_number_is_for_every_pair(value):
    found = asked(value)
    assert torch.equal(found, torch.eye(3).double() * (1 - float(value)) + float(value))


def test_matrices_and_pairs_say_the_same(tmp_path):
    pairs = {"A/B/C": 0.3, ("D", "A"): -0.2, "B/C": {"D": 0.1}}
    for given in (FULL, FULL.tolist(), pairs, nested(FULL, SYMBOLS)):
        assert torch.equal(asked(given), FULL)
    plain, labelled = tmp_path / "plain.csv", tmp_path / "labelled.csv"
    plain.write_text("A,B/C,D\n1,.3,-.2\n.3,1,.1\n-.2,.1,1\n")
    labelled.write_text("name,D,Z,A,B/C\nZ,0,1,0,0\nD,1,0,-.2,.1\nB/C,.1,0,.3,1\nA,-.2,0,1,.3\n")
    assert torch.equal(asked(plain), FULL)
    assert torch.equal(asked(str(labelled)), FULL)


def test_the_estimate_is_that_of_common_bars():
    pasts = walks()
    request = read_correlation(None, pasts)
    error = (1 - 0.6**2) / math.sqrt(4000)
    assert float((request.asked - 0.6).fill_diagonal_(0).abs().max()) < 4 * error
    assert "3,999 common bars" in request.notes[0]
    assert torch.equal(request.asked, request.used)
    # Bars that only one of them has change nothing: returns span the same times in both.
    holes = pasts[0].bars.filter(pl.int_range(pl.len()) % 5 != 2)
    fewer = read_correlation(None, [History(holes, "A", symbol="A"), *pasts[1:]])
    assert "3,199 common bars" in fewer.notes[0]
    assert float((fewer.asked - 0.6).fill_diagonal_(0).abs().max()) < 4 * error * 5**0.5 / 2
    # Daily bars stamped at another hour are the same days.
    later = pasts[1].bars.with_columns(pl.col("timestamp") + pl.duration(hours=16))
    shifted = [pasts[0], History(later, "B/C", symbol="B/C"), pasts[2]]
    assert torch.equal(read_correlation(None, shifted).asked, request.asked)


def test_pairs_left_out_are_estimated():
    pasts = walks()
    request = read_correlation({"A": {"D": -0.5}}, pasts)
    estimate = read_correlation(None, pasts).asked
    assert request.asked[0, 2] == request.asked[2, 0] == -0.5
    assert request.asked[0, 1] == estimate[0, 1]
    assert "A–B/C" in request.notes[0]
    assert "A–D" not in request.notes[0]


def test_what_no_assets_can_have_is_repaired_and_said():
    request = read_correlation(-0.8, walks(100))
    assert float(torch.linalg.eigvalsh(request.used)[0]) > -1e-9
    assert torch.equal(request.used.diagonal(), torch.ones(3).double())
    assert float(request.asked[0, 1]) == -0.8
    assert "nearest possible" in request.notes[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (1.5, r"correlation is 1.5; .*\[-1, 1\]"),
        ("nan", "correlation is 'nan'"),
        (True, "correlation is True"),
        ([[1, 0.5], [0.5, 1]], r"2 rows of \[2\] entries; for 3 symbols"),
        ([1, 2, 3], "3 rows; for 3 symbols"),
        ([[1, 0, 0], [0, 1, 0]], "2 rows"),
        ([[1, 0.5, 0], [0.4, 1, 0], [0, 0, 1]], "A and B/C is 0.5 and the other way round 0.4"),
        ([[1, 2, 0], [2, 1, 0], [0, 0, 1]], "correlation of A and B/C is 2"),
        ([[1, "x", 0], ["x", 1, 0], [0, 0, 1]], "correlation of A and B/C is 'x'"),
        ([[0.9, 0, 0], [0, 1, 0], [0, 0, 1]], "A with itself is 0.9"),
        ({"A/E": 0.3}, "'A/E', which is no pair"),
        ({"A": {"E": 0.3}}, "symbol 'E'; the histories are"),
        ({"A": {"D": 0.3}, "D": {"A": 0.2}}, "other way round"),
        ({("A", "D"): 0.3, "A": {"D": 0.2}}, "twice"),
        ("missing.csv", "cannot be read: No such file"),
        ("empty.csv", "is empty"),
        ("short.csv", "3 columns and 1 rows"),
        ("other.csv", "no column for 'B/C'"),
        ("words.csv", "correlation of A and B/C is 'x'"),
        ("binary.csv", "not a CSV file"),
    ],
)
def test_correlations_that_cannot_be_used(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("empty", "\n"),
        ("short", "A,B/C,D\n1,0,0\n"),
        ("other", "A,B,D\n1,0,0\n0,1,0\n0,0,1\n"),
        ("words", "A,B/C,D\n1,x,0\nx,1,0\n0,0,1\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match=message) as error:
        asked(given)
    assert "\n" not in str(error.value)


def test_nothing_to_estimate_from_is_said():
    apart = walks(100)
    later = apart[1].bars.with_columns(pl.col("timestamp") + pl.duration(days=9000))
    with pytest.raises(UserError, match=r"0 bars in common, .* give correlation="):
        read_correlation(None, [apart[0], History(later, "B", symbol="B")])
    still = apart[1].bars.with_columns(**dict.fromkeys(("open", "high", "low", "close"), 5.0))
    with pytest.raises(UserError, match="B never moves"):
        read_correlation(None, [apart[0], History(still, "B", symbol="B")])
    assert asked(0.5, [apart[0], History(still, "B", symbol="B")]).shape == (2, 2)


def test_realised_correlation_pools_paths_and_bars():
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1)).double()
    found = realised_correlation([x, -2 * x, x.flip(0)])
    assert float(found[0, 1]) == pytest.approx(-1)
    assert abs(float(found[0, 2])) < 4 / math.sqrt(2000)
    assert torch.equal(found, found.T)
