"""Conversations as Markdown for people and as JSON for programs, and back from JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar, cast

from quantfarm.answers import Writer
from quantfarm.chat.conversation import ASSISTANT, USER, Conversation, Message
from quantfarm.chat.figures import Figures
from quantfarm.chat.sampling import Sampling
from quantfarm.errors import FarmError

SCHEMA = 1
T = TypeVar("T")


class NoConversation(FarmError):
    """What was read is none; the message says why."""


def to_json(conversation: Conversation) -> str:
    return json.dumps({"schema": SCHEMA, **asdict(conversation)}, ensure_ascii=False, indent=1) + "\n"


def from_json(text: str | bytes, where: str) -> Conversation:
    """Raises NoConversation naming `where`."""
    try:
        content = _mapping(json.loads(text))
        if content.pop("schema") != SCHEMA:
            raise ValueError("it is of another version of this program")
        messages = tuple(_message(_mapping(one)) for one in content.pop("messages"))
        made = Conversation(**content, messages=messages)
        if not all(isinstance(cast("object", one), str) for one in (made.id, made.title, made.system, made.begun_at)):
            raise ValueError("its id, title, system prompt and time are texts")
    except (ValueError, KeyError, TypeError, RecursionError, FarmError) as error:
        raise NoConversation(f"{where} holds no conversation: {error}") from error
    return made


def _mapping(thing: object) -> dict[str, Any]:
    if not isinstance(thing, dict):
        raise ValueError("an object is expected")
    return cast("dict[str, Any]", thing)


def _message(content: dict[str, Any]) -> Message:
    known: Mapping[str, Callable[..., Any]] = {"writer": Writer, "sampling": Sampling, "figures": Figures}
    parts: dict[str, Any] = {name: make(**content[name]) for name, make in known.items() if content.get(name)}
    made = Message(**{**content, **parts})
    if made.role not in (USER, ASSISTANT) or not isinstance(cast("object", made.text), str):
        raise ValueError("a message is a text of the user's or the assistant's")
    return made


def to_markdown(conversation: Conversation) -> str:
    """What was said as it was, each turn under its own heading, with who wrote it and how."""
    lines = [f"# {_line(conversation.name) or 'A conversation'}", "", f"Begun {conversation.begun_at}.", ""]
    if conversation.system.strip():
        lines += ["## System prompt", "", _quoted(conversation.system), ""]
    for message in conversation.messages:
        lines += [f"## {_heading(message)}", "", _quoted(message.text), ""]
        if about := _about(message):
            lines += [f"*{about}*", ""]
    return "\n".join(lines)


def _heading(message: Message) -> str:
    if message.role == USER:
        return "You"
    return _line(message.writer.label) if message.writer else "Assistant"


def _quoted(text: str) -> str:
    """As a quote: a text that writes headings or HTML of its own does not change the page around it."""
    return "\n".join(f"> {_escaped(line)}".rstrip() for line in text.strip("\n").split("\n"))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _line(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")


def _about(message: Message) -> str:
    """`Q4_K_M of reference, llama_cpp (llama-cpp-python 0.3.36); temperature 0.8, seed 4; first text after 35 ms, …`"""
    parts: list[str] = []
    if by := message.writer:
        parts.append(_line(f"{by.variant} of {by.model}, {by.runtime} ({by.build})"))
    if message.sampling:
        values = message.sampling.asked()
        if message.figures and message.figures.seed is not None:
            values["seed"] = message.figures.seed
        parts.append(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items()))
    if message.figures:
        parts.append(felt(message.figures))
    return "; ".join(part for part in parts if part)


def felt(figures: Figures) -> str:
    """`first text after 35 ms, 41 tok/s, 128 tokens (stop)`."""
    found: list[str] = []
    if figures.ttft_s is not None:
        ttft = figures.ttft_s
        found.append(f"first text after {f'{ttft:.3g} s' if ttft >= 1 else f'{1000 * ttft:.3g} ms'}")
    if figures.tps is not None:
        found.append(f"{figures.tps:.3g} tok/s")
    if figures.n is not None:
        found.append(f"{figures.n} token{'s' if figures.n != 1 else ''}")
    return ", ".join(found) + f" ({figures.ended or 'cut off'})" if found else ""
