"""A conversation with a variant, and what can be done to one: each gives another, none is changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from quantfarm.answers import Writer
from quantfarm.chat.figures import Figures
from quantfarm.chat.sampling import Sampling
from quantfarm.errors import UsageError

USER, ASSISTANT = "user", "assistant"
TITLE = 60


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`role`: user or assistant. An answer says who wrote it and how; `figures` None: it was cut off, or is imported.

    `at` is ISO 8601, UTC.
    """

    role: str
    text: str
    at: str = ""
    writer: Writer | None = None
    sampling: Sampling | None = None
    figures: Figures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """`id` names its file; `title` is a person's, or the beginning of what was first said."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    title: str = ""
    system: str = ""
    messages: tuple[Message, ...] = ()
    begun_at: str = field(default_factory=now)

    @property
    def name(self) -> str:
        said = next((one.text for one in self.messages if one.role == USER), "")
        line = " ".join((self.title or said).split())
        return line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"

    @property
    def unanswered(self) -> bool:
        """Whether it is the model's turn."""
        return bool(self.messages) and self.messages[-1].role == USER

    def request(self) -> list[dict[str, str]]:
        """As the server is given it."""
        head = [{"role": "system", "content": self.system}] if self.system.strip() else []
        return [*head, *({"role": one.role, "content": one.text} for one in self.messages)]


def said(before: Conversation, text: str) -> Conversation:
    """The user says something. Raises UsageError for nothing, and while an answer is due."""
    if not text.strip():
        raise UsageError("there is nothing to send: write something first")
    if before.unanswered:
        raise UsageError("the last message has no answer yet: regenerate it, or edit it and send it again")
    return replace(before, messages=(*before.messages, Message(role=USER, text=text, at=now())))


def answered(
    before: Conversation,
    text: str,
    *,
    writer: Writer | None = None,
    sampling: Sampling | None = None,
    figures: Figures | None = None,
) -> Conversation:
    """The model has said something. Raises UsageError where nothing was asked."""
    if not before.unanswered:
        raise UsageError("there is nothing to answer")
    answer = Message(role=ASSISTANT, text=text, at=now(), writer=writer, sampling=sampling, figures=figures)
    return replace(before, messages=(*before.messages, answer))


def without_answer(before: Conversation) -> Conversation:
    """To be answered anew. Raises UsageError where there is no answer at the end."""
    if not before.messages or before.messages[-1].role != ASSISTANT:
        raise UsageError("there is no answer to write anew")
    return replace(before, messages=before.messages[:-1])


def edited(before: Conversation, index: int, text: str) -> Conversation:
    """The user's message at `index` said otherwise; what followed it is gone. Raises UsageError."""
    if not 0 <= index < len(before.messages) or before.messages[index].role != USER:
        raise UsageError(f"message {index} is none that you wrote")
    return said(replace(before, messages=before.messages[:index]), text)
