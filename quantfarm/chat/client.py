"""A client of OpenAI-compatible servers that streams one answer. Standard library; no proxy is asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from quantfarm.chat import figures, sse
from quantfarm.chat.figures import Figures
from quantfarm.chat.sampling import Sampling
from quantfarm.errors import FarmError

#: Seconds to connect, and the longest wait for the next piece: a long prompt on a small device takes minutes.
CONNECT_S, READ_S = 10.0, 1800.0
DONE = "[DONE]"
BLOCK = 65536


class ChatError(FarmError):
    """No answer, or not the whole of one; the message says why. `status`: HTTP's, 0 where it did not come to that."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`url` ends in /v1; `key` empty: none is sent."""

    url: str
    model: str
    key: str = field(default="", repr=False)


class Answer:
    """One answer on its way: iterate it for the pieces of its text; then `figures` are known.

    `close` gives it up, from any thread: the server stops writing. Raises ChatError while it is iterated; the pieces
    that came before are the answer's beginning.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        messages: Sequence[Mapping[str, str]],
        sampling: Sampling,
        *,
        stop: Sequence[str] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._request = {
            "model": endpoint.model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"stop": list(stop)} if stop else {}),
            **sampling.asked(),
        }
        self._connection = _connection(endpoint)
        self._socket: socket.socket | None = None
        self._given_up = False
        self._times: list[int] = []
        self._ended = ""
        self._ended_at: int | None = None
        self._said: dict[str, Any] = {}
        self.figures: Figures | None = None

    def __iter__(self) -> Iterator[str]:
        submit = self._clock()
        try:
            yield from self._pieces(self._sent())
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not self._given_up:
                raise ChatError(self._lost(error)) from error
        finally:
            self._connection.close()
            self.figures = self._figures(submit)

    def close(self) -> None:
        self._given_up = True
        with contextlib.suppress(OSError):
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _sent(self) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self._endpoint.key:
            headers["Authorization"] = f"Bearer {self._endpoint.key}"
        body = json.dumps(self._request, ensure_ascii=False).encode("utf-8", "replace")
        path = urlsplit(self._endpoint.url).path.rstrip("/")
        self._connection.connect()
        opened: socket.socket = self._connection.sock  # the connection forgets it once the answer has begun
        opened.settimeout(READ_S)
        self._socket = opened
        self._connection.request("POST", f"{path}/chat/completions", body, headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise ChatError(_why(response.read(BLOCK)) or f"HTTP {response.status} {response.reason}", response.status)
        return response

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[str]:
        events, done = sse.Events(), False
        while not done and (part := response.read1(BLOCK)):
            for data in events.feed(part):
                done = done or data == DONE
                if not done and (text := self._take(data)):
                    self._times.append(self._clock())
                    yield text
        if not (done or self._ended or self._given_up):
            raise ChatError(self._lost(None))

    def _take(self, data: str) -> str:
        """The text of a chunk. Raises ChatError for an error that is sent in the middle, ValueError."""
        chunk = _object(json.loads(data))
        if chunk.get("error"):
            raise ChatError(_why(data.encode()) or "the server gave up")
        self._said |= {name: chunk[name] for name in ("usage", "form", "seed") if chunk.get(name) is not None}
        choices = cast("list[Any]", chunk.get("choices") or [{}])
        choice = _object(choices[0])
        if choice.get("finish_reason"):
            self._ended, self._ended_at = str(choice["finish_reason"]), self._clock()
        return str(_object(choice.get("delta") or {}).get("content") or "")

    def _lost(self, error: Exception | None) -> str:
        if self._times:
            return "the connection was lost in the middle of the answer"
        if isinstance(error, TimeoutError):
            return f"the server at {self._endpoint.url} did not answer in time"
        if isinstance(error, ValueError):
            return f"what answers at {self._endpoint.url} speaks no OpenAI-compatible chat: {error}"
        return f"no server answers at {self._endpoint.url}: it has ended, or the way to it is lost"

    def _figures(self, submit: int) -> Figures:
        usage = self._said.get("usage")
        counts = cast("dict[str, int]", usage) if isinstance(usage, dict) else {}
        n, seed = counts.get("completion_tokens"), self._said.get("seed")
        return Figures(
            ttft_s=(self._times[0] - submit) / 1e9 if self._times else None,
            tps=figures.rate(self._times, self._ended_at, n),
            n=n,
            n_prompt=counts.get("prompt_tokens"),
            ended=self._ended,
            form=str(self._said.get("form") or ""),
            seed=seed if isinstance(seed, int) else None,
        )


def _object(thing: object) -> dict[str, Any]:
    if not isinstance(thing, dict):
        raise ValueError(f"{str(thing)[:50]} where an object should be")
    return cast("dict[str, Any]", thing)


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    parts = urlsplit(endpoint.url)
    if parts.scheme != "http" or not parts.hostname:
        raise ChatError(f"{endpoint.url} is no address of a server: http://HOST:PORT/v1")
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_S)


def _why(body: bytes) -> str:
    """The message of an error object, as OpenAI-compatible servers send it; empty where it is none."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    said = cast("Mapping[str, Any]", error).get("message") if isinstance(error, dict) else error
    return " ".join(str(said or "").split())[:1000]
