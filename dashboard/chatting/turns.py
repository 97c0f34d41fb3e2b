"""One conversation on the page: what was said, an answer as it comes, and what can be done with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from queue import Queue

import streamlit as st

from dashboard import store
from quantfarm.chat import conversation as turns
from quantfarm.chat import export
from quantfarm.chat.client import Answer, ChatError
from quantfarm.chat.conversation import Conversation, Message
from quantfarm.chat.sampling import Sampling
from quantfarm.chat.server_process import ChatServer
from quantfarm.errors import FarmError
from quantfarm.report.slugs import slug
from storage import conversations

#: A page is drawn so often while text comes.
EVERY_S = 0.1
PARTIAL = "beginning of an answer"


def readable(text: str) -> str:
    """What a model wrote as Markdown that asks nothing from outside: a picture in it stays text. Code is left alone."""
    pieces = text.split("```")
    return "```".join(piece if number % 2 else piece.replace("![", "!\\[") for number, piece in enumerate(pieces))


def show(talk: Conversation, *, who: bool, edit: str = "") -> tuple[int, str] | None:
    """All that was said; `who`: with who wrote it and how fast. `edit`: a key where messages may be said otherwise;
    then the message's number and its new words, once somebody sends them."""
    sent = None
    for number, message in enumerate(talk.messages):
        with st.chat_message(message.role):
            st.markdown(readable(message.text))
            if who and (about := _about(message)):
                st.caption(about)
            if edit and message.role == turns.USER and (words := _edited(f"{edit} {number}", message)):
                sent = (number, words)
    return sent


def _about(message: Message) -> str:
    if message.role != turns.ASSISTANT:
        return ""
    by = f"{message.writer.label}: " if message.writer else ""
    return by + (export.felt(message.figures) if message.figures else "cut off")


def _edited(key: str, message: Message) -> str:
    with st.popover("Edit", type="tertiary", key=f"edit {key} {message.at}"):  # another message, closed again
        words = st.text_area("Say it otherwise", message.text, key=f"words {key}")
        return words if st.button("Send again", key=f"send {key}") and words.strip() else ""


def stream(server: ChatServer, variant: str, talk: Conversation, sampling: Sampling) -> Conversation:
    """Lets the variant answer, shows it as it comes, and keeps it. What came before a fault or a stop is kept too."""
    with st.chat_message(turns.ASSISTANT):
        place, text, drawn = st.empty(), "", 0.0
        st.session_state[PARTIAL] = (talk.id, "")
        try:
            answer = Answer(server.state.endpoint(variant), talk.request(), sampling)
            place.markdown("…")
            for piece in arriving(answer):
                text += piece
                st.session_state[PARTIAL] = (talk.id, text)
                if time.monotonic() - drawn >= EVERY_S:
                    place.markdown(readable(text) + " ▌")
                    drawn = time.monotonic()
        except (ChatError, KeyError) as error:
            place.markdown(readable(text))
            st.error(str(error) if isinstance(error, ChatError) else "the server has ended: start it again")
            return kept(turns.answered(talk, text)) if text else talk
        place.markdown(readable(text))
    st.session_state.pop(PARTIAL, None)
    writer = server.state.writer(variant)
    return kept(turns.answered(talk, text, writer=writer, sampling=sampling, figures=answer.figures))


def arriving(answer: Answer) -> Iterator[str]:
    """The pieces as they come. Read in a thread of its own: their times are those of their arrival, however long the
    page takes to show one. Raises ChatError. Whoever stops reading gives the answer up."""
    pieces: Queue[str | Exception | None] = Queue()

    def read() -> None:
        try:
            for piece in answer:
                pieces.put(piece)
            pieces.put(None)
        except Exception as error:  # the page's thread is the one that tells
            pieces.put(error)

    threading.Thread(target=read, name="answer of a chat", daemon=True).start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        answer.close()


def rescued(talk: Conversation) -> Conversation:
    """With the beginning of an answer that somebody stopped."""
    whose, text = st.session_state.pop(PARTIAL, ("", ""))
    return kept(turns.answered(talk, text)) if whose == talk.id and text and talk.unanswered else talk


def kept(talk: Conversation) -> Conversation:
    """On this machine; a full disk is said, and the conversation goes on."""
    try:
        conversations.save(store.home(), talk)
    except FarmError as error:
        st.error(str(error))
    return talk


def downloads(talk: Conversation) -> None:
    if not talk.messages:
        return
    name, key = slug(talk.name) or talk.id, f"{talk.id} {len(talk.messages)}"
    with st.popover("Download", type="tertiary"):
        st.download_button(
            "Markdown", export.to_markdown(talk), f"{name}.md", "text/markdown", key=f"md {key}", on_click="ignore"
        )
        st.download_button(
            "JSON", export.to_json(talk), f"{name}.json", "application/json", key=f"json {key}", on_click="ignore"
        )


def dropped(talk: Conversation) -> Conversation:
    """Without a last message that never got its answer."""
    return replace(talk, messages=talk.messages[:-1]) if talk.unanswered else talk


def with_system(talk: Conversation, system: str) -> Conversation:
    """The system prompt as it is now: it counts from the next answer on."""
    return talk if talk.system == system else replace(talk, system=system)
