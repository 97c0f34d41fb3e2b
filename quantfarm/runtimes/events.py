"""Reading the events of docs/events.md: strict, so that everything after may rely on them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, NoReturn, cast

from quantfarm.nouns import Trace

#: The version of the events that this program reads.
SCHEMA = 1
#: Characters; a longer line is no event.
LINE_LIMIT = 32 * 2**20
#: An integer of more digits is no count and no time (Python itself refuses more than 4300).
NUMBER_LIMIT = 2**63

Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _duration(value: Any) -> bool:
    return _number(value) and value > 0


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, cast("list[Any]", value)))


def _figures(value: Any) -> bool:
    return _mapping(value) and all(map(_number, value.values()))


def _times(value: Any) -> bool:
    return _mapping(value) and all(map(_count, value.values()))


def _texts(value: Any) -> bool:
    return _mapping(value) and all(map(_text, value.values()))


def _truths(value: Any) -> bool:
    return isinstance(value, list) and all(map(_truth, cast("list[Any]", value)))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, cast("list[Any]", value)))


def _rising(value: Any) -> bool:
    """Times of tokens: integers that never go back."""
    if not isinstance(value, list) or not value:
        return False
    times = cast("list[Any]", value)
    return all(map(_count, times)) and all(a <= b for a, b in pairwise(times))


def _mode(value: Any) -> bool:
    return value in ("bench", "app")


#: event -> what each field that figures are made of must be.
REQUIRED: Mapping[str, Mapping[str, Check]] = {
    "begin": {"schema": _count, "runner": _text, "versions": _mapping},
    "loaded": {"backend": _text, "settings": _mapping, "model": _mapping},
    "prefill": {"mode": _mode, "repetition": _count, "tokens": _count, "depth": _count, "seconds": _duration},
    "decode": {"mode": _mode, "repetition": _count},
    "sustained": dict.fromkeys(("n_prompt", "n_gen", "runs", "more", "most"), _count),
    "speculative": {
        **dict.fromkeys(("repetition", "tokens", "drafted", "accepted", "rounds"), _count),
        **{"seconds": _duration, "plain_seconds": _duration, "sha256": _text, "plain_sha256": _text},
    },
    "parted": {"repetition": _count, "token": _count, "margin": _number, "noise": _number},
    "sample": {"source": _text, "values": _figures},
    "state": {"source": _text, "states": _texts},
    "memory": {"phase": _text},
    "chunk": {"index": _count, "n": _count, "nll": _numbers},
    "rolling": {**dict.fromkeys(("n_tokens", "n_windows", "n_ctx", "bytes"), _count), "text_sha256": _text},
    "window": {"index": _count, "n": _count, "nll": _numbers},
    "tasks": {"task": _text, "n_docs": _count},
    "item": {"doc": _count, "doc_hash": _text, "gold": _count, "ll": _numbers, "greedy": _truths, "lengths": _numbers},
    "end": {"ok": _truth},
}
#: Fields that need not be there, and what they must be where they are.
OPTIONAL: Mapping[str, Mapping[str, Check]] = {
    "begin": {"clocks": _times},
    "loaded": {"seconds": _duration},
    "prefill": {"until": _count},
    "decode": {
        **{"tokens": _count, "depth": _count, "seconds": _duration, "until": _count},
        **{"submit": _count, "times": _rising},
    },
    "memory": {
        **dict.fromkeys(("hwm_mib", "rss_mib", "rss_anon_mib", "rss_file_mib"), _number),
        "majflt": _count,
        "estimated": _truth,
    },
    "tokens": {
        **dict.fromkeys(("n_tokens", "n_chunks", "n_ctx", "bytes"), _count),
        "text_sha256": _text,
        "token_sha256": _text,
    },
    "chunk": {"kld": _numbers, "dp": _numbers, "nll_base": _numbers, "same_top": _count},
    "tasks": {**dict.fromkeys(("n_shot", "of_docs", "whole", "truncated", "answered"), _count), "metrics": _names},
    "item": {"group": _text, "truncated": _truth, "cached": _truth},
    "end": {"stage": _text, "error": _text, "retryable": _truth},
}
#: What a decode event must hold by mode.
DECODE = {"bench": ("tokens", "depth", "seconds"), "app": ("submit", "times")}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _bounded(text: str) -> int:
    value = int(text)
    if abs(value) >= NUMBER_LIMIT:
        raise ValueError(f"{text[:40]} is too large")
    return value


def _is_utf8(text: str) -> bool:
    """Whether it can have been UTF-8: decoding leaves a replacement character or a surrogate for what was not."""
    return "\ufffd" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def json_object(line: str) -> dict[str, Any]:
    """The JSON object of one line. Raises ValueError for anything else, NaN and infinities among it."""
    if len(line) > LINE_LIMIT:
        raise ValueError(f"longer than {LINE_LIMIT // 2**20} MiB")
    if not line.isascii() and not _is_utf8(line):
        raise ValueError("not UTF-8 text")
    try:
        thing = json.loads(line, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(thing, dict):
        raise ValueError("no JSON object")
    return cast("dict[str, Any]", thing)


def checked(event: dict[str, Any]) -> dict[str, Any]:
    """The event itself. Raises ValueError where it lacks what its kind must have."""
    kind = event.get("event")
    if not isinstance(kind, str):
        raise ValueError("it has no event")
    if not _count(event.get("t")):
        raise ValueError(f"{kind}: t is no time in nanoseconds")
    for name, check in REQUIRED.get(kind, {}).items():
        if name not in event:
            raise ValueError(f"{kind}: no {name}")
        if not check(event[name]):
            raise ValueError(f"{kind}: {name} is {str(event[name])[:40]!r}")
    for name, check in OPTIONAL.get(kind, {}).items():
        if event.get(name) is not None and not check(event[name]):
            raise ValueError(f"{kind}: {name} is {str(event[name])[:40]!r}")
    _coherent(kind, event)
    return event


def _coherent(kind: str, event: dict[str, Any]) -> None:
    if kind == "decode":
        missing = [name for name in DECODE[event["mode"]] if event.get(name) is None]
        if missing:
            raise ValueError(f"decode: no {missing[0]}")
        if event["mode"] == "app" and event["times"][0] <= event["submit"]:
            raise ValueError("decode: a token before the prompt was submitted")
    if kind == "chunk":
        for name in ("nll", "kld", "dp", "nll_base"):
            if name in event and len(event[name]) != event["n"]:
                raise ValueError(f"chunk: {len(event[name])} of {event['n']} {name}")
    if kind == "item":
        if not len(event["ll"]) == len(event["greedy"]) == len(event["lengths"]) > event["gold"]:
            raise ValueError(f"item: {len(event['ll'])} ll, {len(event['greedy'])} greedy, gold {event['gold']}")
        event.setdefault("group", "")
    if kind == "begin" and event["schema"] > SCHEMA:
        raise ValueError(f"schema {event['schema']} is newer than this program knows ({SCHEMA}): upgrade quantfarm")


def parse(lines: Iterable[str]) -> Trace:
    """The trace of a runner's lines, `begin` first. Raises ValueError naming the first line that is no event."""
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            event = checked(json_object(line.rstrip("\r\n")))
            if not events and event["event"] != "begin":
                raise ValueError(f"the first event is {event['event']!r}, not 'begin'")
        except ValueError as error:
            raise ValueError(f"line {number} is no event: {error}: {line[:120].rstrip()!r}") from error
        events.append(event)
    return Trace(events=tuple(events))
