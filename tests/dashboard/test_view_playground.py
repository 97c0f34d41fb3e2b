"""The playground without a server: what it offers, what it keeps, and what of a model's text it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st

from dashboard.chatting import turns
from quantfarm.chat import conversation
from quantfarm.chat.conversation import Conversation
from quantfarm.health import By, DeviceState
from storage import conversations
from storage.devices import Registry
from storage.home import Home
from tests.dashboard.showing import plainly, show
from tests.sweeping import landings
from tests.test_sweep_flow import fake


def test_before_anything_was_measured_this_machine_and_the_usual_variants_are_offered(home: Path) -> None:
    shown = show(home, "playground")
    assert "Nothing answers on local yet" in plainly(shown)
    [device, model, variant, *_] = shown.selectbox
    assert (device.value, model.value, variant.value) == ("local", "reference", "Q4_K_M")
    assert not list(landings(home).all())


def test_a_device_that_is_not_ready_is_named_with_its_reason_and_a_simulated_one_is_not_offered(home: Path) -> None:
    fake(home, "made-up-phone")
    registry = Registry(Home(home))
    for name in ("made-up-phone", "desk"):
        registry.move(name, DeviceState.REGISTERED, "added", By.PERSON)
    registry.move("desk", DeviceState.QUARANTINED, "its fan is broken", By.PERSON)
    shown = show(home, "playground")
    assert shown.selectbox[0].options == ["local"]
    said = plainly(shown)
    assert "desk is quarantined: its fan is broken" in said
    assert "made-up-phone" not in said


def test_a_conversation_that_was_kept_is_opened_again_and_deleted(home: Path) -> None:
    talk = conversation.answered(conversation.said(Conversation(), "why is the <b>sky</b> blue?"), "because")
    conversations.save(Home(home), talk)
    shown = show(home, "playground")
    shown.button(key=f"open {talk.id}").click().run()
    assert [one.markdown[0].value for one in shown.chat_message] == ["why is the <b>sky</b> blue?", "because"]
    shown.button(key=f"delete {talk.id}").click().run()
    assert conversations.all_conversations(Home(home)) == ([], {})


def test_a_damaged_conversation_is_said_and_hides_no_other(home: Path) -> None:
    talk = conversation.said(Conversation(), "hello")
    conversations.save(Home(home), talk)
    (home / "conversations" / "0123456789abcdef.json").write_text("{")
    shown = show(home, "playground")
    assert "0123456789abcdef.json holds no conversation" in plainly(shown)
    assert shown.button(key=f"open {talk.id}")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("![x](http://elsewhere/x.png)", "!\\[x](http://elsewhere/x.png)"),
        ("![x][y]\n\n[y]: http://elsewhere/x.png", "!\\[x][y]\n\n[y]: http://elsewhere/x.png"),
        ("```\nif !list[0]: ![\n```\n![a](b)", "```\nif !list[0]: ![\n```\n!\\[a](b)"),
        ("plain", "plain"),
    ],
)
def test_a_picture_in_an_answer_is_not_fetched(written: str, shown: str) -> None:
    assert turns.readable(written) == shown


def test_the_beginning_of_an_answer_that_was_stopped_is_kept(home: Path) -> None:
    talk = conversation.said(Conversation(), "count")
    st.session_state[turns.PARTIAL] = (talk.id, "one, two")
    rescued = turns.rescued(talk)
    assert [one.text for one in rescued.messages] == ["count", "one, two"]
    assert rescued.messages[-1].figures is None
    assert conversations.load(Home(home), talk.id) == rescued
    assert turns.rescued(talk) == talk, "it was another conversation's, or is kept already"


def test_what_got_no_answer_gives_way_to_what_is_said_next() -> None:
    talk = conversation.said(Conversation(), "hello")
    assert turns.dropped(talk).messages == ()
    whole = conversation.answered(talk, "hi")
    assert turns.dropped(whole) == whole
