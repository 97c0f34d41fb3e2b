"""A request to write an answer, as OpenAI's chat completions put it: read, checked, and told from one that is refused.

Loaded by path, as runners/chat/http.py, which serves such requests. A parameter that is not known is refused and not
passed over: docs/playground.md.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: name -> (default, least, most); whole numbers have whole defaults or None. llama.cpp's own defaults, without min_p.
NUMBERS: Mapping[str, tuple[float | int | None, float, float]] = {
    "temperature": (0.8, 0.0, 5.0),
    "top_p": (0.95, 0.0, 1.0),
    "repeat_penalty": (1.0, 0.01, 10.0),
    "top_k": (40, 0, 2**31 - 1),
    "max_tokens": (None, 1, 2**31 - 1),
    "seed": (None, 0, 2**32 - 1),
}
FRACTIONS = ("temperature", "top_p", "repeat_penalty")
#: Other names of the same.
ALSO = {"repetition_penalty": "repeat_penalty", "max_completion_tokens": "max_tokens"}
#: Changes no text.
NO_MATTER = ("user", "metadata", "store", "stream_options", "service_tier")
KNOWN = (*NUMBERS, *ALSO, "model", "messages", "stream", "stop")
#: What a client may send and mean nothing by.
NEUTRAL: tuple[object, ...] = (None, False, 0, [], {}, "")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Wrong(Exception):
    """The request is refused, with an HTTP status and one line."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, " ".join(message.split()), code


@dataclass(frozen=True)
class Asked:
    """One request. `max_tokens` None: until the context is full; `top_k` 0 and `top_p` 1: all tokens."""

    model: str
    messages: Sequence[Mapping[str, str]]
    temperature: float
    top_p: float
    top_k: int
    repeat_penalty: float
    max_tokens: int | None
    seed: int
    stop: Sequence[str]
    stream: bool


class Answer(Protocol):
    """An answer that has begun: `form` says how the conversation was given to the model.

    `pieces` gives the text as it is written; afterwards `ended` ("stop" or "length") and `n` (tokens) are known.
    """

    form: str
    n_prompt: int
    n: int
    ended: str

    def pieces(self) -> Iterator[str]: ...


class Writer(Protocol):
    names: Sequence[str]

    def begin(self, asked: Asked, gone: Callable[[], bool]) -> Answer:
        """Loads the model where another is loaded. Raises Wrong; Gone once nobody listens."""
        ...


class Gone(Exception):
    """Nobody reads the answer any more."""


def asked_of(body: bytes, names: Sequence[str]) -> Asked:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise Wrong(400, f"the body is no JSON: {error}") from error
    if not isinstance(request, dict):
        raise Wrong(400, "the body is no JSON object")
    for other, name in ALSO.items():
        if request.get(other) is not None:
            request.setdefault(name, request[other])
    for name, value in request.items():
        if name not in (*KNOWN, *NO_MATTER) and value not in NEUTRAL and not (name == "n" and value == 1):
            raise Wrong(400, f"{name} is not known here (known: {', '.join(KNOWN)})", "unknown_parameter")
    model = request.get("model") or names[0]
    if model not in names:
        raise Wrong(404, f"there is no model {model!r} here (there is: {', '.join(names)})", "model_not_found")
    numbers: dict[str, Any] = {name: _number(name, request.get(name)) for name in NUMBERS}
    if numbers["seed"] is None:
        numbers["seed"] = secrets.randbits(32)
    return Asked(
        model=model,
        messages=_messages(request.get("messages")),
        stop=_stops(request.get("stop")),
        stream=request.get("stream") is True,
        **numbers,
    )


def _number(name: str, value: object) -> float | int | None:
    default, least, most = NUMBERS[name]
    if value is None:
        return default
    kinds = (int, float) if name in FRACTIONS else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        what = "a number" if name in FRACTIONS else "a whole number"
        raise Wrong(400, f"{name} is {what} from {least:g} to {most:g}, not {json.dumps(value)[:50]}")
    return value


def _messages(given: object) -> list[dict[str, str]]:
    if not isinstance(given, list) or not given:
        raise Wrong(400, "messages is a list with at least one message")
    found: list[dict[str, str]] = []
    for one in given:
        role = ROLES.get(str(one.get("role"))) if isinstance(one, dict) else None
        if role is None:
            raise Wrong(400, f"a message has one of the roles {', '.join(ROLES)}")
        found.append({"role": role, "content": _content(one.get("content"))})
    return found


def _content(given: object) -> str:
    parts = [{"type": "text", "text": given}] if isinstance(given, str) else given
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in parts
    ):
        raise Wrong(400, "the content of a message is text")
    return "".join(part["text"] for part in parts)


def _stops(given: object) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else given or []
    if not isinstance(stops, list) or len(stops) > 16 or not all(isinstance(one, str) and one for one in stops):
        raise Wrong(400, "stop is a text or at most 16 texts")
    return tuple(stops)


def until(stops: Sequence[str], pieces: Iterator[str]) -> Iterator[str | None]:
    """The pieces up to the first of the stops; None where one was met. What may be the beginning of one waits."""
    held, longest = "", max(map(len, stops), default=0) - 1
    for piece in pieces:
        held += piece
        met = min((at for stop in stops if (at := held.find(stop)) >= 0), default=-1)
        if met >= 0:
            if met:
                yield held[:met]
            yield None
            return
        keep = next((n for n in range(min(longest, len(held)), 0, -1) if _may_begin(stops, held[-n:])), 0)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held


def _may_begin(stops: Sequence[str], end: str) -> bool:
    return any(stop.startswith(end) for stop in stops)
