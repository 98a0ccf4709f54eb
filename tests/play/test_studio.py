"""One worker, a short queue, and an end."""

import asyncio
import io
import threading
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from parfait.histories import load_histories
from parfait.pipeline import Pipeline
from parfait.play import studio as module
from parfait.play.form import Ask
from parfait.play.studio import BusyError, Studio
from parfait.utils.errors import UserError

ASK = Ask("War", 0, None, 3, 4, 0)


class Slow:
    """A pipeline whose runs wait for a sign and tell how many run at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = self.most = 0

    def run(self, source: Any, *_: Any, **__: Any) -> Any:
        if source == module.WARM:
            raise AssertionError("not warmed here")
        self.running += 1
        self.most = max(self.most, self.running)
        self.go.wait(10)
        self.running -= 1
        raise UserError("done")


def made(pipeline: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    load = lambda: cast(Pipeline, pipeline)  # noqa: E731
    studio = Studio(load, [cast(Any, None)], tmp_path, waiting=2)
    monkeypatch.setattr(studio, "_warm", lambda failed: load())
    studio.start()
    return studio


def test_one_runs_two_wait_and_the_others_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Slow()
    studio = made(pipeline, tmp_path, monkeypatch)

    async def crowd() -> list[BaseException | Any]:
        runs = [asyncio.create_task(studio.run(ASK, "War")) for _ in range(6)]
        await asyncio.sleep(0.1)
        pipeline.go.set()
        return await asyncio.gather(*runs, return_exceptions=True)

    told = asyncio.run(crowd())
    assert [isinstance(t, BusyError) for t in told] == [False] * 3 + [True] * 3
    assert pipeline.most == 1
    assert str(told[0]) == "done"  # and a place is free again
    assert str(asyncio.run(crowd())[0]) == "done"
    studio.close()


def test_files_of_an_earlier_session_are_not_those_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are numbered from 1 again, in a folder that may be the same."""
    pipeline = Pipeline.load(sampler_steps=1)
    monkeypatch.setattr(Studio, "_warm", lambda self, failed: pipeline)
    monkeypatch.setattr(module, "_figures", lambda simulation: {})

    async def session(sentence: str) -> None:
        studio = Studio(lambda: pipeline, load_histories(None), tmp_path)
        studio.start()
        result = await studio.run(ASK, sentence)
        table = await studio.file(result, "paths.parquet")
        assert pl.read_parquet(io.BytesIO(table)).equals(result.simulation.bars)
        written = (tmp_path / "001" / "paths.parquet").stat().st_mtime_ns
        assert await studio.file(result, "paths.parquet") == table
        assert (tmp_path / "001" / "paths.parquet").stat().st_mtime_ns == written  # only once
        studio.close()

    for sentence in ("War", "A calm market"):
        asyncio.run(session(sentence))


def test_a_pipeline_that_cannot_be_loaded_ends_the_page(tmp_path: Path) -> None:
    told = threading.Event()

    def broken() -> Pipeline:
        raise UserError("no model there")

    studio = Studio(broken, [cast(Any, None)], tmp_path)
    studio.start(told.set)
    assert told.wait(10)
    assert str(studio.error) == "no model there"
    with pytest.raises(UserError, match="no model there"):
        asyncio.run(studio.run(ASK, "War"))
    studio.close()
