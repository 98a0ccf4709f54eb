"""What may not reach the page, whatever the page is."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from parfait.play.guard import FORM, MAX_BODY, Guard
from tests.play.conftest import BASE

GOOD = {"origin": BASE, "content-type": FORM}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


CLIENT = TestClient(Guard(echo, {"127.0.0.1", "::1", "Box.Local"}), base_url=BASE)


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "127.0.0.1", "[::1]:9", "box.local:1"])
def test_own_names_are_answered_at_any_port(host: str) -> None:
    assert CLIENT.get("/", headers={"host": host}).text == "0 bytes"


@pytest.mark.parametrize(
    "host",
    ["evil.example:8420", "127.0.0.1.evil.example", "x@127.0.0.1", "127.0.0.1/x", "[::1", ""],
)
def test_names_of_others_are_not(host: str) -> None:
    refused = CLIENT.get("/", headers={"host": host})
    assert refused.status_code == 400
    assert "box.local" in refused.text
    assert refused.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:8421", BASE + ".evil.example"]
)
def test_forms_of_other_pages_are_refused(origin: str | None) -> None:
    headers = {k: v for k, v in (GOOD | {"origin": origin}).items() if v is not None}
    assert CLIENT.post("/", content=b"a=1", headers=headers).status_code == 403
    assert CLIENT.post("/", content=b"a=1", headers=GOOD).text == "3 bytes"


def test_bodies_are_bounded_also_where_no_length_was_said() -> None:
    assert CLIENT.post("/", content=b"x" * MAX_BODY, headers=GOOD).text == f"{MAX_BODY} bytes"
    assert CLIENT.post("/", content=b"x" * (MAX_BODY + 1), headers=GOOD).status_code == 413


def test_what_is_too_large_is_read_no_further() -> None:
    """A client that never ends gets its answer after the first piece too many."""
    read, sent = 0, list[Message]()

    async def receive() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(k.encode(), v.encode()) for k, v in (GOOD | {"host": "127.0.0.1"}).items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    scope["headers"] = [(k, b"http://127.0.0.1" if k == b"origin" else v) for k, v in headers]
    asyncio.run(Guard(echo, {"127.0.0.1"})(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read == MAX_BODY // 10_000 + 1


def test_only_forms_are_posted_and_other_methods_refused() -> None:
    for kind in ("multipart/form-data; boundary=x", "application/json", "text/plain", ""):
        headers = GOOD | {"content-type": kind}
        assert CLIENT.post("/", content=b"a=1", headers=headers).status_code == 415
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert CLIENT.request(method, "/", headers=GOOD).status_code == 405
