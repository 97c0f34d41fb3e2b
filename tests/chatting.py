"""Chat servers as the dashboard starts them, and questions to them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantfarm.chat.client import Answer, Endpoint
from quantfarm.chat.sampling import Sampling
from quantfarm.chat.server_process import ChatServer, Phase, State, Wanted
from tests.running import CONTEXT, RUNNERS, command

PROMPT = "def fibonacci(n):"
START_S = 120.0


@contextlib.contextmanager
def served(*variants: str, **options: Any) -> Iterator[tuple[ChatServer, State]]:
    """A server of the reference model that is ready."""
    server = ChatServer(Wanted(model="reference", variants=variants, threads=1, **options))
    try:
        state = server.wait(lambda now: now.phase is Phase.READY, START_S)
        assert state.phase is Phase.READY, state
        yield server, state
    finally:
        server.stop()


def ask(endpoint: Endpoint, text: str = PROMPT, *, stop: tuple[str, ...] = (), **sampling: Any) -> tuple[str, Answer]:
    """The answer's text, and the answer with its figures."""
    how = Sampling(**{"max_tokens": 12, "temperature": 0.0, **sampling})
    answer = Answer(endpoint, [{"role": "user", "content": text}], how, stop=stop)
    return "".join(answer), answer


@dataclass
class Runner:
    """runners/llama_cpp.py serving, without the farm around it."""

    process: subprocess.Popen[str]
    serving: Mapping[str, Any]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(url=f"{self.url}/v1", key=self.serving["key"], model=self.serving["models"][0])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.serving['port']}"

    def post(self, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        return self.request("/v1/chat/completions", json.dumps(body).encode(), **headers)

    def request(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """HTTP's status and what was said; with the key unless a header says otherwise."""
        sent = {"Authorization": f"Bearer {self.serving['key']}", **headers}
        asked = urllib.request.Request(f"{self.url}{path}", data=body, headers=sent)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@contextlib.contextmanager
def runner(models: Mapping[str, Path], **more: Any) -> Iterator[Runner]:
    request = {
        **{**CONTEXT, "n_batch": 256, "n_ubatch": 256, "kind": "serve", "n_ctx": 4096, "idle_s": 0, **more},
        "model": str(next(iter(models.values()))),
        "models": {name: str(path) for name, path in models.items()},
        "extension": str(RUNNERS / "llama_cpp_serve.py"),
        "chat": {name: str(RUNNERS / "chat" / f"{name}.py") for name in ("request", "http")},
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command("llama_cpp.py", "--request", json.dumps(request)), stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin and process.stdout
        try:
            events = map(json.loads, process.stdout)
            serving = next((one for one in events if one["event"] in ("serving", "end")), {"event": "nothing"})
            yield Runner(process, serving)
        finally:
            process.stdin.close()
            process.wait(10)
