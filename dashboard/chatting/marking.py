"""Marks for a pair of answers, given without knowing who wrote which; then who it was."""

from __future__ import annotations

import streamlit as st

from dashboard import parts, store
from quantfarm import ratings
from quantfarm.chat import pairs
from quantfarm.chat.conversation import Conversation
from quantfarm.errors import FarmError
from storage.ratings import add_pair

RATER = "name of who marks"


def mark(shown: list[Conversation], names: list[str]) -> bool:
    """Asks for a mark of each answer (in the order of the columns); whether they have been given now."""
    rater = st.text_input("Your name, for the marks", st.session_state.get(RATER, ""), key="rater") or ""
    marks: list[int | None] = []
    for column, name in zip(st.columns(len(names)), names, strict=True):
        with column:
            scale = list(range(ratings.LOWEST, ratings.HIGHEST + 1))
            label, key = f"{name}: 1 (worst) to 5 (best)", f"mark {name} {_key(shown)}"
            marks.append(st.segmented_control(label, scale, key=key))
    if not st.button("Give the marks and see who is who", disabled=None in marks or not rater.strip()):
        return False
    st.session_state[RATER] = rater
    try:
        written = pairs.blind(shown[0], shown[1], 0, rater)
        by_text = {one.messages[-1].text: int(given or 0) for one, given in zip(shown, marks, strict=True)}
        if len(written) == 1 and len(set(marks)) > 1:
            st.error("Both wrote the same text: it gets one mark. Give both the same.")
            return False
        add_pair(store.home(), rater, written, [by_text[one.text] for one in written])
    except FarmError as error:
        st.error(parts.escape(str(error)))
        return False
    return True


def _key(shown: list[Conversation]) -> str:
    return " ".join(f"{one.id} {len(one.messages)}" for one in shown)
