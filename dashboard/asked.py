"""What somebody chose in a view. Every choice stands in the address, so that the view can be reopened as it is.

Each function is a Streamlit widget whose key is the name of its query parameter. What an address asks for and is not
to be had is said, and the usual is shown in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboard import parts
from quantfarm import links

#: Choices of the view that is being drawn, for its link. Emptied at the beginning of each run.
CHOICES = "choices of this view"


def begin() -> None:
    st.session_state[CHOICES] = {}


def link(name: str) -> str:
    """The address of the view that is being drawn, with every choice in it, the usual ones too."""
    return elsewhere(name, name, **st.session_state[CHOICES])


def elsewhere(here: str, view: str, **choices: links.Choice) -> str:
    """The whole address of another view, for what is no widget of Streamlit's; `here` is the one being drawn."""
    base = (st.context.url or links.ADDRESS).split("?")[0].rstrip("/").removesuffix(f"/{here}")
    return links.view(base, view, **choices)


def one(
    label: str,
    key: str,
    options: Sequence[str],
    default: str | None = None,
    words: Callable[[str], str] = str,
    **more: Any,
) -> str:
    """One of the options (not empty); with `accept_new_options` also another that somebody types."""
    seeded = not more.get("accept_new_options") and _missing(label, key, options, words)
    index = options.index(default) if default in options and not seeded else 0
    return _keep(key, st.selectbox(label, options, index, words, key=key, bind="query-params", **more))


def several(
    label: str,
    key: str,
    options: Sequence[str],
    default: Sequence[str] = (),
    words: Callable[[str], str] = str,
    **more: Any,
) -> list[str]:
    """Any of the options; none is an answer too."""
    seeded = _missing(label, key, options, words, several=True)
    usual = [] if seeded else [name for name in default if name in options]
    return _keep(key, st.multiselect(label, options, usual, words, key=key, bind="query-params", **more))


def among(label: str, key: str, options: Sequence[str], words: Callable[[str], str] = str, **more: Any) -> str:
    """One of a few options, all of them in sight; the first is the usual one."""
    default = None if _missing(label, key, options, words) else options[0]
    chosen = st.segmented_control(
        label, options, default=default, format_func=words, key=key, bind="query-params", required=True, **more
    )
    return _keep(key, chosen or options[0])


def number(label: str, key: str, low: float, high: float, default: float, **more: Any) -> float:
    """On a slider from `low` to `high`."""
    return _keep(key, st.slider(label, low, high, default, key=key, bind="query-params", **more))


def whether(label: str, key: str, default: bool = False, **more: Any) -> bool:
    return _keep(key, st.toggle(label, default, key=key, bind="query-params", **more))


def text(label: str, key: str, default: str = "", **more: Any) -> str:
    return _keep(key, st.text_input(label, default, key=key, bind="query-params", **more))


def _keep(key: str, value: Any) -> Any:
    st.session_state[CHOICES][key] = value
    return value


def meant(**choices: str) -> None:
    """What an address means that names a part of something: the choices that lead to it. Before their widgets."""
    for key, value in choices.items():
        if key not in st.query_params:
            st.session_state[key] = value


def _missing(label: str, key: str, options: Sequence[str], words: Callable[[str], str], several: bool = False) -> bool:
    """What is no option is said: Streamlit drops it from the address. It looks for an option's words there, where our
    links have its name: that is put into the widget's state, and true is returned where something was."""
    wanted = st.query_params.get_all(key)
    names = {words(option): option for option in options} | {option: option for option in options}
    gone = [name for name in wanted if name not in names]
    if gone and key not in st.session_state:
        known = ", ".join(map(str, options[:12])) + (" …" if len(options) > 12 else "")
        said = f"{label}: {', '.join(gone)} is not among what was measured. There is: {known or 'nothing yet'}."
        st.warning(parts.escape(said))
    found = [names[name] for name in wanted if name in names]
    if any(words(names[name]) != name for name in wanted if name in names):
        st.session_state[key] = found if several else found[0]
        return True
    return False
