"""The client of OpenAI-compatible servers: what it makes of what comes, however it is cut, or does not come."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.chat import sse
from quantfarm.chat.client import Answer, ChatError, Endpoint
from quantfarm.chat.figures import rate
from quantfarm.chat.sampling import Sampling
from quantfarm.errors import UsageError

MESSAGES = [{"role": "user", "content": "Hé?"}]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(text: str = "", ended: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": ended}
    return f"data: {json.dumps({'choices': [choice], **more}, ensure_ascii=False)}\n\n".encode()


class Heard:
    """What a scripted server was asked."""

    def __init__(self) -> None:
        self.head = ""
        self.body = b""
        self.closed = threading.Event()


@contextmanager
def server(parts: Sequence[bytes], *, hold: bool = False) -> Iterator[tuple[Endpoint, Heard]]:
    """Answers one request with these bytes, each in a packet of its own; with `hold` it then waits for the client."""
    heard = Heard()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            came = b""
            while b"\r\n\r\n" not in came:
                came += connection.recv(65536)
            head, _, body = came.partition(b"\r\n\r\n")
            heard.head = head.decode()
            length = int(
                next(line for line in heard.head.split("\r\n") if line.startswith("Content-Length")).split()[1]
            )
            while len(body) < length:
                body += connection.recv(65536)
            heard.body = body
            for part in parts:
                connection.sendall(part)
            while hold and connection.recv(65536):
                pass
            heard.closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        yield Endpoint(url=f"http://127.0.0.1:{port}/v1", model="F16", key="secret"), heard
        thread.join(10)


def answer(endpoint: Endpoint, **more: object) -> Answer:
    return Answer(endpoint, MESSAGES, Sampling(seed=7), **more)  # pyright: ignore[reportArgumentType]


def test_the_pieces_of_an_answer_come_with_what_the_server_says_of_it() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    parts = [
        HEAD,
        chunk("Hel"),
        chunk("lo"),
        chunk("", "stop", usage=usage, seed=7, form="as it is"),
        b"data: [DONE]\n\n",
    ]
    with server(parts) as (endpoint, heard):
        asked = answer(endpoint, stop=["\n"])
        assert list(asked) == ["Hel", "lo"]
    figures = asked.figures
    assert figures
    assert (figures.n, figures.n_prompt, figures.ended) == (3, 9, "stop")
    assert (figures.form, figures.seed) == ("as it is", 7)
    request = json.loads(heard.body)
    assert request["messages"] == MESSAGES
    assert (request["model"], request["stream"], request["stop"], request["seed"]) == ("F16", True, ["\n"], 7)
    assert "Authorization: Bearer secret" in heard.head
    assert heard.head.startswith("POST /v1/chat/completions ")
    assert "secret" not in repr(endpoint)


def test_figures_are_by_the_clock_from_sending_to_the_first_text_and_from_there_to_the_end() -> None:
    """Sent at 0; text after half a second and a second; the end of 3 tokens told after one and a half."""
    times = iter([0, 500_000_000, 1_000_000_000, 1_500_000_000])
    parts = [HEAD, chunk("a"), chunk("b"), chunk("", "length", usage={"completion_tokens": 3}), b"data: [DONE]\n\n"]
    with server(parts) as (endpoint, _):
        asked = answer(endpoint, clock=lambda: next(times))
        list(asked)
    assert asked.figures
    assert asked.figures.ttft_s == 0.5
    assert asked.figures.tps == 2.0


def test_without_a_count_each_piece_is_a_token_and_one_piece_has_no_rate() -> None:
    assert rate([0, 500_000_000, 1_000_000_000], 2_000_000_000, None) == 2.0
    assert rate([0], 1_000_000_000, None) is None
    assert rate([0], 1_000_000_000, 1) is None
    assert rate([], 1_000_000_000, 4) is None


def test_a_character_whose_bytes_come_in_two_packets_is_whole() -> None:
    whole = chunk("né🙂") + chunk("", "stop") + b"data: [DONE]\n\n"
    parts = [HEAD, *(bytes([byte]) for byte in whole)]
    with server(parts) as (endpoint, _):
        assert list(answer(endpoint)) == ["né🙂"]


@settings(deadline=None)
@given(
    texts=st.lists(st.text(min_size=1), max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_events_are_the_same_however_they_are_cut(texts: list[str], cuts: list[int], end: str) -> None:
    stream = (
        "".join(f": a comment{end}event: x{end}data: {json.dumps(text)}{end}{end}" for text in texts).encode() + b"\n"
    )
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events = sse.Events()
    found = [one for a, b in pairwise(places) for one in events.feed(stream[a:b])]
    assert [json.loads(one) for one in found] == texts


def test_an_event_of_several_lines_is_one_and_one_without_data_is_none() -> None:
    assert sse.Events().feed(b"\xef\xbb\xbfdata: a\ndata:b\n\nretry: 3\n\ndata: not yet") == ["a\nb"]


def test_an_event_without_end_is_given_up() -> None:
    events = sse.Events()
    with pytest.raises(ValueError, match="too long"):
        for _ in range(17):
            events.feed(b"x" * 2**20)


def test_a_connection_that_is_lost_in_the_middle_is_said_and_what_came_is_kept() -> None:
    with server([HEAD, chunk("Hel"), chunk("lo")[:20]]) as (endpoint, _):
        asked, came = answer(endpoint), list[str]()
        with pytest.raises(ChatError, match="lost in the middle of the answer"):
            came.extend(_each(asked, came))
    assert came == ["Hel"]
    assert asked.figures
    assert asked.figures.ended == ""


def _each(asked: Answer, into: list[str]) -> list[str]:
    for piece in asked:
        into.append(piece)
    return []


def test_an_error_in_the_middle_is_told_in_the_servers_words() -> None:
    error = b'data: {"error": {"message": "memory\\nran out"}}\n\n'
    with server([HEAD, chunk("Hel"), error]) as (endpoint, _), pytest.raises(ChatError, match=r"^memory ran out$"):
        list(answer(endpoint))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b'{"error": {"message": "too long", "code": "x"}}', "^too long$"),
        (b'{"error": "plain"}', "^plain$"),
        (b"<html>", "^HTTP 400 Bad$"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(said: bytes, told: str) -> None:
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(said)
    with server([head + said]) as (endpoint, _), pytest.raises(ChatError, match=told) as refused:
        list(answer(endpoint))
    assert refused.value.status == 400


@pytest.mark.parametrize("data", [b"data: [1]\n\n", b"data: hello\n\n", b'data: {"choices": [4]}\n\n'])
def test_what_speaks_something_else_is_no_chat(data: bytes) -> None:
    with server([HEAD, data]) as (endpoint, _), pytest.raises(ChatError, match="speaks no OpenAI-compatible chat"):
        list(answer(endpoint))


def test_where_nobody_listens_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ChatError, match="no server answers at http://127"):
        list(answer(Endpoint(url=f"http://127.0.0.1:{port}/v1", model="m")))


@pytest.mark.parametrize("url", ["https://127.0.0.1/v1", "localhost:80", "http://"])
def test_only_addresses_of_servers_are_taken(url: str) -> None:
    with pytest.raises(ChatError, match="is no address of a server"):
        answer(Endpoint(url=url, model="m"))


def test_an_answer_that_is_given_up_ends_quietly_and_its_connection_with_it() -> None:
    with server([HEAD, chunk("Hel")], hold=True) as (endpoint, heard):
        asked = answer(endpoint)
        pieces = iter(asked)
        assert next(pieces) == "Hel"
        threading.Thread(target=asked.close).start()  # from another thread, as a button does
        assert list(pieces) == []
        assert heard.closed.wait(10)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"top_p": 1.1}, {"top_k": -1}, {"repeat_penalty": 0}, {"max_tokens": 0}, {"seed": -1}],
)
def test_sampling_out_of_its_range_is_refused(wrong: dict[str, float]) -> None:
    [name] = wrong
    make: Callable[..., Sampling] = Sampling
    with pytest.raises(UsageError, match=f"{name} is from"):
        make(**wrong)


def test_what_is_not_set_is_not_asked_for() -> None:
    assert set(Sampling(max_tokens=None).asked()) == {"temperature", "top_p", "top_k", "repeat_penalty"}
