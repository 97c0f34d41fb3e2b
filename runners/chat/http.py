"""An OpenAI-compatible server over the standard library: the part of it that no runtime is asked for.

Loaded by path by runners/llama_cpp_serve.py and runners/shared/serving.py, which give it what writes; `request` is put
here by `load`. It listens on loopback alone, for those alone who have the key that it made and told its starter on
stdout; pages of browsers are refused. `GET /v1/models`, `POST /v1/chat/completions`, with and without `stream`. One
answer at a time, written by the thread that called `serve`; it ends when nobody has asked for `idle_s` seconds, and
gives up an answer that nobody reads any more.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import queue
import secrets
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

request: Any = None  # runners/chat/request.py, once loaded
LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
MOST_BYTES = 16 * 2**20
#: How long a connection may say nothing, and how often a waiting one is looked at. Seconds.
QUIET_S, LOOK_S = 60.0, 0.5
PATHS = "/v1/models, /v1/chat/completions"


class Job:
    """A request on its way to the thread that writes, and its answer on the way back."""

    def __init__(self, asked: Any, gone: Callable[[], bool]) -> None:
        self.asked, self.gone = asked, gone
        self.given_up = threading.Event()
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def over(self) -> bool:
        return self.given_up.is_set() or self.gone()

    def write(self, writer: Any) -> None:
        """In the thread that writes. What goes wrong is news too."""
        try:
            if not self.over():
                self._write(writer)
        except request.Wrong as wrong:
            self.news.put(wrong)
        except request.Gone:
            pass
        except Exception as error:
            self.news.put(request.Wrong(500, f"{type(error).__name__}: {error}"))
        self.news.put(None)

    def _write(self, writer: Any) -> None:
        answer = writer.begin(self.asked, self.over)
        self.news.put({"form": answer.form, "n_prompt": answer.n_prompt})
        pieces, met = answer.pieces(), False
        with contextlib.closing(pieces):  # pyright: ignore[reportArgumentType] - generators are closed
            for piece in request.until(self.asked.stop, pieces):
                if self.over():
                    return
                met = met or piece is None
                if piece:
                    self.news.put(piece)
        self.news.put({"ended": "stop" if met else answer.ended, "n": answer.n})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, names: Sequence[str]) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.names, self.key = names, secrets.token_urlsafe(32)
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def server_bind(self) -> None:
        """Without asking a name server who we are."""
        socket.socket.bind(self.socket, self.server_address)  # type: ignore[arg-type]
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[misc]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; anything else is told on stderr."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def bound(port: int, names: Sequence[str]) -> Server:
    """Raises OSError where the port is taken."""
    return Server(port, names)


def serve(server: Server, writer: Any, idle_s: float) -> str:
    """Answers until nobody has asked for `idle_s` seconds (0: for ever); why it ended."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": LOOK_S}, daemon=True).start()
    try:
        while True:
            server.jobs.get(timeout=idle_s or None).write(writer)
    except queue.Empty:
        return f"nobody asked for {idle_s / 60:.3g} minutes"
    finally:
        server.shutdown()
        server.server_close()


# ------------------------------------------------------------------ HTTP


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = QUIET_S

    @property
    def here(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing of what is asked is logged."""

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            self._check()
            answer()
        except request.Wrong as wrong:
            self.close_connection = True  # of a body that was not read
            self._json(wrong.status, error_of(wrong))
        except OSError:
            self.close_connection = True

    def _check(self) -> None:
        """Who asks: not a browser's page, under whatever name, and nobody without the key."""
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in HOSTS:
            raise request.Wrong(403, "this server answers to the name of this machine's loopback alone")
        if self.headers.get("Origin"):
            raise request.Wrong(403, "pages of a browser are not answered")
        given = self.headers.get("Authorization") or ""
        if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {self.here.key}".encode()):
            raise request.Wrong(401, "the key is missing or another: Authorization: Bearer KEY", "invalid_api_key")

    def _get(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            raise request.Wrong(404, f"there is no {self.path[:100]} here: {PATHS}")
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "local"} for name in self.here.names]
        self._json(200, {"object": "list", "data": models})

    def _post(self) -> None:
        if self.path.rstrip("/") != "/v1/chat/completions":
            raise request.Wrong(404, f"there is no {self.path[:100]} here: {PATHS}")
        asked = request.asked_of(self._body(), self.here.names)
        job = Job(asked, self._gone)
        self.here.jobs.put(job)
        try:
            reply = Reply(self, asked)
            while (news := self._next(job)) is not None:
                reply.take(news)
        finally:
            job.given_up.set()

    def _next(self, job: Job) -> Any:
        while True:
            try:
                return job.news.get(timeout=LOOK_S)
            except queue.Empty:
                if job.over():
                    raise ConnectionError from None

    def _gone(self) -> bool:
        """Whether the client has closed its side."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length") or ""
        if not length.isascii() or not length.isdigit():
            raise request.Wrong(411, "the request has no Content-Length")
        if int(length) > MOST_BYTES:
            raise request.Wrong(413, f"a request has at most {MOST_BYTES // 2**20} MiB")
        return self.rfile.read(int(length))

    def _json(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()

    def event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode("utf-8", "replace"))
        self.wfile.flush()

    def whole(self, content: Mapping[str, Any]) -> None:
        self._json(200, content)


def error_of(wrong: Any) -> dict[str, Any]:
    kind = "invalid_request_error" if wrong.status < 500 else "server_error"
    return {"error": {"message": wrong.message, "type": kind, "code": wrong.code or None, "param": None}}


class Reply:
    """News of a job as the client wants it: piece by piece, or whole at the end."""

    def __init__(self, to: Handler, asked: Any) -> None:
        self.to, self.asked = to, asked
        self.head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        self.said: list[str] = []
        self.begun: dict[str, Any] = {}
        self.streams = False

    def take(self, news: Any) -> None:
        if isinstance(news, request.Wrong):
            self._wrong(news)
        elif isinstance(news, str):
            self._piece(news)
        elif "form" in news:
            self._begin(news)
        else:
            self._end(news)

    def _wrong(self, wrong: Any) -> None:
        if not self.streams:
            raise wrong
        self.to.event(json.dumps(error_of(wrong)))

    def _begin(self, news: dict[str, Any]) -> None:
        self.begun = news
        if self.asked.stream:
            self.to.begin_stream()
            self.streams = True
            self._chunk({"role": "assistant", "content": ""})

    def _piece(self, text: str) -> None:
        self.said.append(text)
        if self.streams:
            self._chunk({"content": text})

    def _end(self, news: dict[str, Any]) -> None:
        n_prompt, n = self.begun["n_prompt"], news["n"]
        usage = {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}
        more = {"usage": usage, "form": self.begun["form"], "seed": self.asked.seed}
        if self.streams:
            self._chunk({}, news["ended"], more)
            return self.to.event("[DONE]")
        message = {"role": "assistant", "content": "".join(self.said)}
        choice = {"index": 0, "message": message, "finish_reason": news["ended"]}
        return self.to.whole({**self.head, "object": "chat.completion", "choices": [choice], **more})

    def _chunk(self, delta: Mapping[str, str], ended: str | None = None, more: Mapping[str, Any] | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        content = {**self.head, "object": "chat.completion.chunk", "choices": [choice], **(more or {})}
        self.to.event(json.dumps(content, ensure_ascii=False))
