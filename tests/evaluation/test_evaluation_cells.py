"""Cells are computed once, whatever ends the process, and every one of them is in the document."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from parfait.evaluation import cells as module
from parfait.evaluation.cells import CELLS, Cell, Found, Score, cell_key, compute_cells
from parfait.evaluation.results import NULLS, WORST, document, flat_scores, objective
from parfait.utils import files
from parfait.utils.errors import UnwritableError, UserError


def toy(made: list[str], count: int = 4) -> list[Cell]:
    """Cells that note when they are computed."""

    def compute(row: str) -> Found:
        made.append(row)
        score = Score("sum", row, "value", float(len(row)), error=0.5, n=3)
        return Found([score], [1, 2], {"list": [1.0, 2.0]})

    return [Cell(f"sum/{'x' * k}", lambda row="x" * k: compute(row)) for k in range(1, count + 1)]


def run(folder: Path, made: list[str], **ingredients: Any) -> list[dict[str, Any]]:
    return list(compute_cells(toy(made), folder, ingredients))


def without_times(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in cell.items() if k != "cpu_seconds"} for cell in told]


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_resumed_equals_uninterrupted_and_computes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Torn inside the nth write, as a kill does: the temporary file stays behind."""
    whole = run(tmp_path / "whole", [])
    real, seen = files._write_file, [0]

    def torn(path: Path, content: bytes) -> Path:
        seen[0] += 1
        if seen[0] == writes:
            path.with_name(f".{path.name}.999999999.tmp").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        return real(path, content)

    first: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_file", torn)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", first)
    second: list[str] = []
    told = run(tmp_path / "out", second)
    assert second == ["x" * k for k in range(writes, 5)]
    assert without_times(told) == without_times(whole)
    third: list[str] = []
    assert run(tmp_path / "out", third) == told
    assert not third
    assert not list((tmp_path / "out" / CELLS).glob(".*.tmp"))


def test_whatever_a_cell_depends_on_is_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    run(tmp_path, made, data="a")
    run(tmp_path, made, data="b")
    assert len(made) == 8
    monkeypatch.setattr(module, "code_key", lambda: "other code")
    run(tmp_path, made, data="a")
    assert len(made) == 12
    assert cell_key("a", {}) != cell_key("b", {})


def test_a_broken_cell_is_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    told = run(tmp_path, made)
    file = tmp_path / CELLS / f"{told[0]['key']}.json"
    for broken in (b"", b"[]", b'{"key": "of another"}', b"\xff"):
        file.write_bytes(broken)
        made.clear()
        run(tmp_path, made)
        assert made == ["x"]


def refused(row: str, error: Exception) -> Callable[[], Found]:
    def compute() -> Found:
        raise error

    return compute


def test_a_cell_that_the_data_make_impossible_says_why(tmp_path: Path) -> None:
    cells = [Cell("c2st/row", refused("row", UserError("too few windows"))), *toy([], 1)]
    first, second = compute_cells(cells, tmp_path, {})
    assert [(s["value"], s["note"]) for s in first["scores"]] == [(None, "too few windows")]
    assert second["scores"][0]["value"] == 1.0
    with pytest.raises(UnwritableError):
        list(compute_cells([Cell("a/b", refused("b", UnwritableError("full")))], tmp_path, {}))


def test_a_number_that_is_none_is_null_in_the_file(tmp_path: Path) -> None:
    found = Found([Score("q", "r", "c", float("nan"), error=float("inf"))])
    (told,) = compute_cells([Cell("q/r", lambda: found)], tmp_path, {})
    assert (told["scores"][0]["value"], told["scores"][0]["error"]) == (None, None)
    assert json.loads((tmp_path / CELLS / f"{told['key']}.json").read_text()) == told


def judged(row: str, **values: float) -> dict[str, Any]:
    scores = [Score("c2st", row, column, value, error=0.01) for column, value in values.items()]
    (told,) = [module._computed(Cell(f"c2st/{row}", lambda: Found(scores)), row)]
    return told


def test_judges_are_read_against_their_own_null_and_the_worst_is_named() -> None:
    cells = [
        judged(NULLS[0], cnn=0.02, gru=-0.05),
        judged(NULLS[1], cnn=0.5, gru=0.5),
        judged("network, neutral", cnn=0.1, gru=0.08),
    ]
    told = document(cells, {})
    found = {(s["row"], s["column"]): s for s in told["scores"]}
    assert found["network, neutral", "cnn"]["null"] == 0.02  # the longer blocks
    assert found["network, neutral", "gru"]["null"] == -0.05
    worst = found["network, neutral", WORST]
    assert (worst["note"], worst["value"]) == ("gru", 0.08)
    assert objective(told) == pytest.approx(0.13)
    assert flat_scores(told["scores"])["c2st/network_neutral/gru"] == 0.08
    assert not [s for s in told["scores"] if s["row"] in NULLS and s["column"] == WORST]
    assert objective(document([], {})) == float("inf")
