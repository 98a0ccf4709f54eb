"""A small server that speaks the OpenAI chat protocol, and misbehaves as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Raw:
    """A reply that writes to the connection itself."""

    write: Callable[[Any], None]


Reply = tuple[int, dict[str, str], bytes] | float | Raw


class Server:
    """Answers request number n by ``replies[min(n, last)]``: (status, headers, body), seconds to
    stay silent, or what it writes. What came in is kept.
    """

    def __init__(self, replies: list[Reply | Callable[[dict[str, Any]], Reply]]) -> None:
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""


def said(content: str | None, reason: str = "stop") -> Reply:
    """A regular answer with that content."""
    message = {"role": "assistant", "content": content}
    body = {"choices": [{"message": message, "finish_reason": reason}]}
    return 200, {}, json.dumps(body).encode()


def failed(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as OpenAI tells it."""
    return status, headers, json.dumps({"error": {"message": message}}).encode()


def dripping(out: Any) -> None:
    """An answer that never comes to its end, a byte at a time."""
    out.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(40):
        out.write(b" ")
        time.sleep(0.05)


def torn(out: Any) -> None:
    """An answer of which the connection loses the end."""
    out.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"{")


@contextmanager
def serving(*replies: Reply | Callable[[dict[str, Any]], Reply]) -> Iterator[Server]:
    """The server on a free port of this machine, while the context lasts."""
    server = Server(list(replies))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            number = len(server.requests)
            server.requests.append(json.loads(raw))
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
            reply = server.replies[min(number, len(server.replies) - 1)]
            if callable(reply):
                reply = reply(server.requests[-1])
            if isinstance(reply, float):
                time.sleep(reply)
                self.close_connection = True
                return
            if isinstance(reply, Raw):
                with suppress(OSError):  # nobody listens any more
                    reply.write(self.wfile)
                self.close_connection = True
                return
            status, headers, body = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
