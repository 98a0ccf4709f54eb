"""``OpenAIReader``: any server that speaks the OpenAI chat protocol."""

import json
import math
import os
import random
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from parfait.semantic.spoken.prompt import VERSION, prompt_hash
from parfait.semantic.spoken.reader import Said, SpokenReader
from parfait.semantic.spoken.schema import json_schema
from parfait.utils.errors import UserError, require

KEY = "OPENAI_API_KEY"
OFFICIAL = "api.openai.com"
MAX_ANSWER = 1_000_000  # bytes of a response
_LATER = (408, 409, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds that a server may ask for


class OpenAIReader(SpokenReader):
    """Reads by a language model behind ``base_url``.

    The key is read from the environment at every call; it is part of no setting, log, error or
    ``repr``. Redirects are not followed. An answer that does not validate is asked for once more
    with the reason; then the prior stands, with a warning, or ``strict`` raises.

    Args:
        model: name of the model.
        base_url: of the server, with its version: "http://127.0.0.1:8000/v1".
        temperature: sent only if given; some models refuse it.
        max_tokens: of an answer.
        timeout: seconds of a request.
        retries: further requests when the server is busy, fails or is silent.
        wait: seconds before the first of them, doubled every time; a server's Retry-After wins.
        schema: ask for the JSON schema; where a server refuses it, it is left out from then on.
        strict: raise instead of falling back to the prior.

    Raises:
        UserError: no model, or an address that is none.
    """

    source = "openai"

    def __init__(
        self,
        model: str | None = None,
        base_url: str = f"https://{OFFICIAL}/v1",
        temperature: float | None = None,
        max_tokens: int = 2000,
        timeout: float = 60.0,
        retries: int = 3,
        wait: float = 1.0,
        schema: bool = True,
        strict: bool = False,
    ) -> None:
        if not model:
            raise UserError("semantic=openai needs semantic.model, the name of a model")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UserError(
                f"semantic.base_url={base_url!r} is no address; give http(s)://host:port/v1"
            )
        require("semantic.max_tokens", max_tokens, 1)
        require("semantic.timeout", timeout, 1e-3)
        require("semantic.retries", retries, 0, 20)
        require("semantic.wait", wait, 0.0, _LONGEST_WAIT)
        self.model, self.base_url, self.temperature = model, base_url.rstrip("/"), temperature
        self.max_tokens, self.timeout, self.retries = max_tokens, timeout, retries
        self.wait, self.schema, self.strict = wait, schema, strict
        self.host = self.who = parts.hostname
        self._local = threading.local()

    def ask(self, asked: list[dict[str, str]]) -> Said:
        """The model's answer, by the schema where the server knows it.

        Raises:
            UserError: no key, no connection, a refusal, or an answer that is none.
        """
        body = self._body(asked)
        if self.schema:
            told = {"name": "scenarios", "strict": True, "schema": json_schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": told}
        status, text = self._post(body)
        if status in (400, 422) and self.schema and "response_format" in text:
            self.schema = False
            status, text = self._post(self._body(asked))
        return self._said(status, text)

    def complete(self, asked: list[dict[str, str]]) -> str:
        """What the model says in free text.

        Raises:
            UserError: as ``ask``; also an answer that is empty or was cut off.
        """
        said = self._said(*self._post(self._body(asked)))
        if not said.whole or not said.text:
            raise UserError(f"the answer of {self.host} is empty or was cut off")
        return said.text

    def _body(self, asked: list[dict[str, str]]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": asked}
        body["max_completion_tokens" if self.host == OFFICIAL else "max_tokens"] = self.max_tokens
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return body

    def describe(self) -> dict[str, str]:
        """What answers are kept under: the model and the prompt."""
        return {"model": self.model, "host": self.host, "prompt": VERSION, "sha256": prompt_hash()}

    def __repr__(self) -> str:
        return f"OpenAIReader(model={self.model!r}, base_url={self.base_url!r})"

    def _said(self, status: int, text: str) -> Said:
        if status != 200:
            key = _key()  # which a server may quote
            text = text.replace(key, "***") if key else text
            raise UserError(_refusal(status, text, self.host, self.model))
        try:
            choice = json.loads(text)["choices"][0]
            content, reason = choice["message"].get("content"), choice.get("finish_reason")
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(
                f"{self.host} does not speak the OpenAI protocol: its answer has no choices"
            ) from error
        content = content.strip() if isinstance(content, str) else ""
        return Said(content, whole=reason != "length")

    def _post(self, body: dict[str, Any]) -> tuple[int, str]:
        """Status and text, after as many attempts as it takes or are allowed."""
        import httpx

        key = _key()
        if not key and self.host == OFFICIAL:
            raise UserError(f"semantic=openai needs a key; set the environment variable {KEY}")
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"the key in {KEY} holds characters that no key has; copy it again")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        problem, pause = "", self.wait
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(pause)
            deadline = time.monotonic() + self.timeout
            try:
                with self._client().stream(
                    "POST", f"{self.base_url}/chat/completions", json=body, headers=headers
                ) as response:
                    raw = b""
                    for part in response.iter_bytes():
                        raw += part
                        if time.monotonic() > deadline:  # of httpx it is that of every part
                            raise httpx.ReadTimeout("it takes too long")
                        if len(raw) > MAX_ANSWER:
                            raise UserError(f"{self.host} sent more than {MAX_ANSWER} bytes")
                    status, told = response.status_code, response.headers.get("retry-after")
            except httpx.TimeoutException:
                problem = f"it was not done within {self.timeout:g} s"
            except httpx.HTTPError as error:
                problem = f"the connection failed ({type(error).__name__})"
            else:
                if status not in _LATER:
                    return status, raw.decode("utf-8", "replace")
                problem = f"it answered {status}"
                asked = _seconds(told)
                pause = pause if asked is None else max(asked, pause)
            pause = min(pause * (2 if attempt else 1) * random.uniform(1, 1.25), _LONGEST_WAIT)
        raise UserError(
            f"{self.host} cannot be used: {problem}, {self.retries + 1} times; is the server at "
            f"{self.base_url} running?"
        )

    def _client(self) -> Any:
        """One connection pool per thread."""
        import httpx

        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(timeout=self.timeout, follow_redirects=False)
        return self._local.client


def _key() -> str:
    """From the environment; empty if there is none."""
    return os.environ.get(KEY, "").strip()


def _seconds(told: str | None) -> float | None:
    """Retry-After in seconds; dates and nonsense count as none."""
    try:
        value = float(told) if told is not None else math.nan
    except ValueError:
        return None
    return min(value, _LONGEST_WAIT) if math.isfinite(value) and value >= 0 else None


def _refusal(status: int, text: str, host: str, model: str) -> str:
    """One sentence for a status that no retry mends."""
    if status in (401, 403):
        return f"{host} does not accept the key in {KEY} ({status})"
    if status == 404:
        return (
            f"{host} knows no model {model!r}, or has no chat there (404); look at semantic.model"
        )
    if 300 <= status < 400:
        return (
            f"{host} points elsewhere ({status}), which is not followed; give that address itself"
        )
    try:
        reason = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        reason = text
    return f"{host} refused the request ({status}): {' '.join(reason.split())[:200]}"
