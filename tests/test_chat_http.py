"""The server of a runtime: what it answers, whom it answers, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from quantfarm.chat.client import Answer, ChatError, Endpoint
from quantfarm.chat.sampling import Sampling
from tests.chatting import PROMPT, Runner, ask, runner
from tests.running import RUNNERS

MESSAGES = [{"role": "user", "content": PROMPT}]


@pytest.fixture(scope="module")
def server(reference: Path) -> Iterator[Runner]:
    with runner({"F16": reference, "again": reference}) as made:
        yield made


def test_an_answer_is_the_same_whole_and_in_pieces(server: Runner) -> None:
    status, whole = server.post({"messages": MESSAGES, "temperature": 0, "max_tokens": 12})
    text, answer = ask(server.endpoint)
    assert status == 200
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert answer.figures
    assert whole["usage"]["completion_tokens"] == answer.figures.n == 12
    assert whole["choices"][0]["finish_reason"] == answer.figures.ended == "length"
    assert answer.figures.form == "chat template"


def test_the_same_seed_writes_the_same_again_and_another_another(server: Runner) -> None:
    one, again, other = (ask(server.endpoint, temperature=1.0, seed=seed)[0] for seed in (1, 1, 2))
    assert one == again != other
    _, answer = ask(server.endpoint, temperature=1.0)
    assert answer.figures and answer.figures.seed is not None  # drawn there, and told
    told = ask(server.endpoint, temperature=1.0, seed=answer.figures.seed)
    assert told[0] == ask(server.endpoint, temperature=1.0, seed=answer.figures.seed)[0]


def test_what_was_asked_before_changes_no_answer(server: Runner) -> None:
    """A long beginning is kept in the cache: what follows it is written as if it were not."""
    long = "\n".join(f"x{i} = {i}" for i in range(70))  # more than a block of tokens
    fresh = ask(server.endpoint, long + "\nx70 =")[0]
    ask(server.endpoint, long + "\ndef other():")
    kept = ask(server.endpoint, long + "\nx70 =")[0]
    ask(server.endpoint, "import os")
    assert fresh == kept == ask(server.endpoint, long + "\nx70 =")[0]


def test_sampling_parameters_are_in_effect(server: Runner) -> None:
    """Each of them alone leaves what chance may choose to the likeliest token, or moves greedy away from it."""
    greedy = ask(server.endpoint)[0]
    assert ask(server.endpoint, temperature=2.0, top_k=1, seed=5)[0] == greedy
    assert ask(server.endpoint, temperature=2.0, top_p=0.0, seed=5)[0] == greedy
    assert ask(server.endpoint, temperature=2.0, top_p=1.0, top_k=0, seed=5)[0] != greedy
    repeated = "a = a\n" * 12
    assert ask(server.endpoint, repeated)[0] != ask(server.endpoint, repeated, repeat_penalty=3.0)[0]
    assert ask(server.endpoint, max_tokens=3)[1].figures.n == 3  # pyright: ignore[reportOptionalMemberAccess]


def test_a_stop_ends_the_text_before_it_also_where_it_comes_in_pieces(server: Runner) -> None:
    whole = ask(server.endpoint)[0]
    stop = whole[5:9]
    text, answer = ask(server.endpoint, stop=("nowhere in it", stop))
    assert text == whole[: whole.index(stop)]
    assert answer.figures and answer.figures.ended == "stop"
    assert ask(server.endpoint, stop=("nowhere in it",))[0] == whole


def test_one_model_after_the_other_under_its_name(server: Runner) -> None:
    status, models = server.request("/v1/models")
    assert status == 200
    assert [one["id"] for one in models["data"]] == ["F16", "again"]
    asked = {"messages": MESSAGES, "temperature": 0, "max_tokens": 4}
    texts = [server.post({**asked, "model": name})[1]["choices"][0]["message"] for name in ("F16", "again", "F16")]
    assert texts[0] == texts[1] == texts[2]


def test_a_conversation_that_the_context_cannot_hold_is_refused_before_it_streams(server: Runner) -> None:
    with pytest.raises(ChatError, match=r"the conversation has \d+ tokens, the context holds 1024") as refused:
        ask(server.endpoint, "word " * 2000)
    assert refused.value.status == 400


def test_an_answer_ends_where_the_context_is_full(reference: Path) -> None:
    with runner({"F16": reference}, n_ctx=256) as small:
        _, answer = ask(small.endpoint, max_tokens=None)
    assert answer.figures and answer.figures.n and answer.figures.n_prompt
    if answer.figures.ended == "length":
        assert answer.figures.n + answer.figures.n_prompt == 256


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"messages": []}, "at least one message"),
        ({}, "at least one message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "one of the roles"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "is text"),
        ({"messages": MESSAGES, "temperature": "hot"}, 'temperature is a number from 0 to 5, not "hot"'),
        ({"messages": MESSAGES, "top_k": 1.5}, "top_k is a whole number"),
        ({"messages": MESSAGES, "seed": True}, "seed is a whole number"),
        ({"messages": MESSAGES, "max_tokens": 0}, "max_tokens is a whole number from 1"),
        ({"messages": MESSAGES, "n": 2}, "n is not known here"),
        ({"messages": MESSAGES, "tools": [{}]}, "tools is not known here (known: "),
        ({"messages": MESSAGES, "logit_bias": {"5": 1}}, "logit_bias is not known here"),
        ({"messages": MESSAGES, "stop": [""]}, "stop is a text"),
        ([1], "no JSON object"),
    ],
)
def test_a_request_that_would_not_be_carried_out_as_asked_is_refused(server: Runner, asked: Any, said: str) -> None:
    status, answer = server.post(asked)
    assert (status, said in answer["error"]["message"]) == (400, True), answer


def test_what_changes_nothing_is_taken(server: Runner) -> None:
    neutral = {"n": 1, "presence_penalty": 0, "tools": None, "user": "me", "stream_options": {"include_usage": True}}
    assert server.post({"messages": MESSAGES, "max_tokens": 1, "repetition_penalty": 1.0, **neutral})[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer another"}, 401),
        ({"Authorization": ""}, 401),
        ({"Origin": "http://127.0.0.1:8501"}, 403),
        ({"Host": "farm.example:80"}, 403),
    ],
)
def test_nobody_else_is_answered(server: Runner, headers: dict[str, str], status: int) -> None:
    for path in ("/v1/models", "/v1/chat/completions"):
        found, answer = server.request(path, None if path == "/v1/models" else b"{}", **headers)
        assert found == status
        assert server.serving["key"] not in json.dumps(answer)


def test_other_paths_are_not_there_and_a_body_has_a_length(server: Runner) -> None:
    assert server.request("/")[0] == 404
    assert server.request("/v1/completions", b"{}")[0] == 404
    assert server.request("/v1/chat/completions", b"{}", **{"Content-Length": str(2**30)})[0] == 413


def test_it_listens_on_loopback_alone(server: Runner) -> None:
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in {"127.0.0.2", *others}:
        with pytest.raises(OSError), socket.create_connection((address, server.serving["port"]), 2):
            pass


class Endless:
    """Writes until it is stopped."""

    names = ("m",)
    form, n_prompt, n, ended = "as it is", 1, 0, "length"

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def begin(self, *_: Any) -> Endless:
        return self

    def pieces(self) -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            self.stopped.set()


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    http = load("http")
    http.request = load("request")
    server, writer = http.bound(0, Endless.names), Endless()
    threading.Thread(target=http.serve, args=(server, writer, 0.0), daemon=True).start()
    endpoint = Endpoint(url=f"http://127.0.0.1:{server.server_port}/v1", key=server.key, model="m")
    answer = Answer(endpoint, MESSAGES, Sampling())
    pieces = iter(answer)  # kept: who lets it go gives the answer up
    assert next(pieces) == "x"
    assert not writer.stopped.is_set()
    answer.close()
    assert writer.stopped.wait(30)


def load(name: str) -> Any:
    """A file of runners/chat as runners load it."""
    loader = SourceFileLoader(f"chat_{name}", str(RUNNERS / "chat" / f"{name}.py"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = sys.modules[loader.name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_port_that_is_taken_is_said(reference: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with runner({"F16": reference}, port=port) as made:
            assert made.serving["event"] == "end"
            assert f"port {port} of 127.0.0.1 cannot be had" in made.serving["error"]


def test_it_ends_when_nobody_has_asked_for_long(reference: Path) -> None:
    with runner({"F16": reference}, idle_s=0.5) as made:
        assert made.process.stdout
        said = [json.loads(line) for line in made.process.stdout]
        assert made.process.wait(30) == 0
    assert [one["ended"] for one in said if one["event"] == "result"] == ["nobody asked for 0.00833 minutes"]
    assert said[-1]["ok"]
