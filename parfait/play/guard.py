"""What reaches the page: requests of its own origin and of a bounded size, and nothing else."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 65_536  # bytes of a form: eight scenarios need a tenth
FORM = "application/x-www-form-urlencoded"
HEADERS = {
    # Drawings carry style attributes; code comes from one file alone.
    "content-security-policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer a browser sends forms without an origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware that answers what may not pass, and marks what leaves.

    - A ``Host`` that is none of ``hosts`` gets 400: a name that somebody else's DNS points to this
      machine is not ours (DNS rebinding).
    - A POST whose ``Origin`` is not the page's own gets 403, also where it has none.
    - A body that is no form gets 415, one above ``MAX_BODY`` 413, read no further.

    Args:
        app: what is guarded.
        hosts: names under which it may be asked for, without a port.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no sockets, no lifespan
            return
        mark = _marking(send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        body = b""
        if refusal is None and scope["method"] == "POST":
            body = await _body(receive)
            if len(body) > MAX_BODY:
                refusal = 413, f"The form is larger than {MAX_BODY:,} bytes."
        if refusal is not None:
            status, sentence = refusal
            await PlainTextResponse(sentence + "\n", status)(scope, receive, mark)
            return
        told = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(told, None) or await receive()

        await self._app(scope, replay, mark)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            return 400, f"This page is not called that; it answers to {known} (names= adds others)."
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return 405, "Only GET and POST are answered."
        if headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return 403, "Forms are taken from this page alone, and this one comes from elsewhere."
        if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            return 415, f"Forms are sent as {FORM}."
        return None


def _name(host: str) -> str | None:
    """The name in a ``Host`` header, without its port."""
    try:
        parts = urlsplit(f"//{host}")
        bare = parts.netloc == host and "@" not in host
        return parts.hostname if bare else None
    except ValueError:
        return None


async def _body(receive: Receive) -> bytes:
    """The body, or a little more than ``MAX_BODY`` bytes of it."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    return bytes(body)


def _marking(send: Send) -> Send:
    async def mark(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return mark
