"""How many processes there are where nobody says it."""

import pytest

from parfait.utils import threads
from parfait.utils.threads import usual_workers


@pytest.mark.parametrize(
    ("cores", "started", "workers"),
    [(1, None, 1), (2, None, 2), (64, None, 4), (16, "16", 1), (16, "8", 2), (2, "8", 1)],
)
def test_processes_of_one_machine_share_its_processors(
    cores: int, started: str | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "processors", lambda: set(range(cores)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if started is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
    assert usual_workers() == workers
