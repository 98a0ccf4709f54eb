"""One studio with the embedded model for all tests of the page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="parfait[app] is not installed")

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from parfait.histories import load_histories
from parfait.pipeline import Pipeline
from parfait.play.app import create_app
from parfait.play.form import Ask, Caps
from parfait.play.studio import Studio

BASE = "http://127.0.0.1:8420"
ASKED = {"history": "0", "asset": "", "horizon": "6", "n_paths": "24", "seed": "1"}


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(Pipeline.load, load_histories(None), tmp_path_factory.mktemp("play"), kept=64)
    studio.start()
    yield studio
    studio.close()


@pytest.fixture(scope="session")
def app(studio: Studio) -> ASGIApp:
    usual = Ask("", 0, None, 20, 100, 0)
    return create_app(studio, Caps(1000, 252, 50_000), usual, {"127.0.0.1", "localhost"})


@pytest.fixture
def client(app: ASGIApp) -> TestClient:
    return TestClient(app, base_url=BASE, headers={"origin": BASE})


@pytest.fixture(scope="session")
def first(app: ASGIApp) -> int:
    """Number of a run with four scenarios."""
    client = TestClient(app, base_url=BASE, headers={"origin": BASE})
    return number_of(client.post("/run", data=ASKED | {"instruction": "War escalates, blorp"}))


def number_of(response: Any) -> int:
    """The run that an answer leads to."""
    assert response.status_code == 200, response.text
    return int(Path(response.url.path).name)
