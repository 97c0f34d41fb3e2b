"""Playground: talk to a variant on a device, or to two of them without knowing which is which."""

from __future__ import annotations

import secrets

import streamlit as st

from dashboard import parts, store
from dashboard.chatting import marking, turns
from dashboard.chatting.choosing import Talk, talk
from dashboard.chatting.servers import answering, servers
from quantfarm.chat import conversation
from quantfarm.chat.conversation import Conversation
from quantfarm.chat.server_process import ChatServer, Phase
from storage import conversations

SINGLE, PAIR, SWAP, MARKED = "conversation", "pair of conversations", "order of the pair", "marked"
NAMES = ["One", "Two"]
PRIVATE = "Everything stays on your machines: the prompts, the answers, the marks."


def show() -> None:
    chosen = talk()
    server = servers().of(chosen.wanted.device)
    _server(server, chosen)
    ready = server if answering(server, chosen.wanted) else None
    if chosen.pair:
        _pair(ready, chosen)
    else:
        _single(ready, chosen)
    st.caption(PRIVATE)


def _server(server: ChatServer | None, chosen: Talk) -> None:
    """How it is, and what can be done with it."""
    device = chosen.wanted.device
    if server is None:
        st.info(f"Nothing answers on {parts.escape(device)} yet. While a variant does, nothing is measured there.")
    elif server.state.phase is not Phase.ENDED and server.state.phase is not Phase.READY:
        _coming(server)
    elif server.state.phase is Phase.ENDED:
        told = parts.escape(server.state.text or "it has ended")
        (st.info if server.state.ok else st.error)(f"The server on {parts.escape(device)} has ended: {told}")
    else:
        _answers(server)
    live = server is not None and server.state.phase is not Phase.ENDED
    other = live and server is not None and server.wanted != chosen.wanted
    places = iter(st.columns([1, 1, 2]))
    words = "Start as chosen now" if other else "Start"
    if (not live or other) and next(places).button(words, type="primary", width="stretch"):
        servers().start(chosen.wanted)
        st.rerun()
    if live and next(places).button("Stop", width="stretch", help="Frees the device."):
        servers().stop(device)
        st.rerun()


@st.fragment(run_every=1)
def _coming(server: ChatServer) -> None:
    state = server.state
    if state.phase in (Phase.READY, Phase.ENDED):
        st.rerun()
    said = {Phase.WAITING: "Waiting", Phase.MAKING: "Making it", Phase.LOADING: "Loading"}.get(state.phase, "Starting")
    st.info(parts.escape(f"{said}: {state.text}" if state.text else f"{said} …"))


@st.fragment(run_every=3)
def _answers(server: ChatServer) -> None:
    state = server.state
    if state.phase is not Phase.READY:
        st.rerun()
    about = state.ready
    st.success(
        parts.escape(
            f"{', '.join(state.variants)} of {about['model']} answers on {about['device']}: {about['build']}, "
            f"context of {about['n_ctx']} tokens, at {about['url']}"
        )
    )
    if state.waiting_for_us:
        urgent = " and is more urgent: stop when you can" if state.urgent else ""
        st.warning(parts.escape(f"{state.waiting_for_us} waits for {about['device']}{urgent}."))


# --- one variant


def _single(server: ChatServer | None, chosen: Talk) -> None:
    now = turns.with_system(turns.rescued(_current(chosen.system)), chosen.system)
    _kept(now, chosen.system)
    edited = turns.show(now, who=True, edit=now.id if server else "")
    if edited:
        now = conversation.edited(now, *edited)
    said = st.chat_input("Say something", disabled=server is None, key="say")
    if said:
        now = conversation.said(turns.dropped(now), said)
        with st.chat_message("user"):
            st.markdown(turns.readable(said))
    if server and not (said or edited) and now.messages and st.button("Write the answer anew"):
        now = now if now.unanswered else conversation.without_answer(now)
        said = now.messages[-1].text
    st.session_state[SINGLE] = now
    if server and now.unanswered and (said or edited):
        st.button("Stop writing", key="stop writing")  # any click interrupts the script: what came is kept
        st.session_state[SINGLE] = turns.stream(server, chosen.wanted.variants[0], now, chosen.sampling)
        st.rerun()
    turns.downloads(now)


def _current(system: str) -> Conversation:
    if SINGLE not in st.session_state:
        st.session_state[SINGLE] = Conversation(system=system)
    return st.session_state[SINGLE]


def _kept(now: Conversation, system: str) -> None:
    """The conversations of this machine: open, begin, delete."""
    found, problems = conversations.all_conversations(store.home())
    with st.expander(f"Conversations kept on this machine ({len(found)})"):
        for problem in problems.values():
            st.warning(parts.escape(problem))
        if now.messages and st.button("New conversation"):
            st.session_state[SINGLE] = Conversation(system=system)
            st.rerun()
        for one in found[:50]:
            open_it, when, delete = st.columns([5, 2, 1], vertical_alignment="center")
            label = parts.escape(one.name or "(empty)") + (" · open now" if one.id == now.id else "")
            if open_it.button(label, key=f"open {one.id}", type="tertiary"):
                st.session_state[SINGLE] = one
                st.rerun()
            when.caption(one.begun_at.replace("T", " ")[:16])
            if delete.button("Delete", key=f"delete {one.id}", type="tertiary"):
                conversations.delete(store.home(), one.id)
                if one.id == now.id:
                    st.session_state.pop(SINGLE)
                st.rerun()


# --- two variants


def _pair(server: ChatServer | None, chosen: Talk) -> None:
    if len(chosen.wanted.variants) < 2:
        st.warning("Choose two different variants to compare.")
        return
    both: list[Conversation] = st.session_state.get(PAIR) or []
    said = st.chat_input("Say the same to both", disabled=server is None, key="say to both")
    if server and said:
        st.session_state[SWAP], st.session_state[MARKED] = secrets.randbelow(2), False
        st.session_state[PAIR] = both = [conversation.said(Conversation(system=chosen.system), said) for _ in NAMES]
    order = [0, 1] if not st.session_state.get(SWAP) else [1, 0]  # column -> variant
    marked = bool(st.session_state.get(MARKED))
    for column, place in zip(st.columns(2), order, strict=True):
        name = NAMES[order.index(place)]
        with column:
            st.markdown(f"**{name}**" + (f": {parts.escape(_who(both[place]))}" if both and marked else ""))
            if both:
                turns.show(both[place], who=marked)
            if server and both and both[place].unanswered and said:
                both[place] = turns.stream(server, chosen.wanted.variants[place], both[place], chosen.sampling)
    if server and said:
        st.rerun()  # the same once more, at rest
    whole = bool(both) and not any(one.unanswered for one in both)
    if whole and not marked and marking.mark([both[place] for place in order], NAMES):
        st.session_state[MARKED] = True
        st.rerun()
    if marked:
        st.caption("Your marks are kept; `quantfarm ratings` and the quality figures have them.")
        for one in both:
            turns.downloads(one)


def _who(talked: Conversation) -> str:
    writer = talked.messages[-1].writer if talked.messages else None
    return writer.label if writer else "cut off"


show()
