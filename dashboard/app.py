"""The frame around every view: the list of views, its title and question, errors as one message, a link to reopen it.

Run by `quantfarm dashboard` and `quantfarm up`: `streamlit run dashboard/app.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard import asked, parts, store, theme, views
from quantfarm.errors import FarmError
from storage.reading import NoResults

#: Less air above the title than Streamlit leaves; small print in a contrast that everybody can read.
STYLE = """<style>
.stMainBlockContainer {padding-top: 3rem; padding-bottom: 2rem}
[data-testid="stCaptionContainer"] {color: inherit; opacity: 0.78}
</style>"""
#: Streamlit writes white on the primary colour, which is light here.
DARK_STYLE = """<style>
.stMultiSelect span[title], [data-testid="stBaseButton-primary"] p {color: #14181d !important}
</style>"""
ICON = Path(__file__).resolve().parent / "icon.png"


#: What the bare address leads to. Streamlit gives its default page no name, and every view of ours has one.
FIRST = next(iter(views.TABLE))


def pages() -> dict[str, StreamlitPage]:
    """By name."""
    return {name: st.Page(views.path(name), title=view.title, url_path=name) for name, view in views.TABLE.items()}


def start() -> None:
    """The bare address."""
    st.switch_page(str(views.path(FIRST)), query_params=st.query_params.to_dict())


def choose(known: Mapping[str, StreamlitPage]) -> None:
    """The list of views. Streamlit's own, where it has groups, is no list to a screen reader."""
    with st.sidebar:
        st.markdown("**quantfarm**")
        for group, names in groupby(views.TABLE, key=lambda name: views.TABLE[name].group):
            st.caption(group)
            for name in names:
                st.page_link(known[name], label=views.TABLE[name].title, width="stretch")


def main() -> None:
    st.set_page_config(page_title="quantfarm", page_icon=str(ICON), layout="wide")
    known = pages()
    page = st.navigation([st.Page(start, default=True), *known.values()], position="hidden")
    st.html(STYLE + (DARK_STYLE if theme.is_dark() else ""))
    choose(known)
    if page.url_path in known:
        framed(page, page.url_path)
    else:
        page.run()


def framed(page: StreamlitPage, name: str) -> None:
    asked.begin()
    st.title(views.TABLE[name].title, anchor=False)
    st.caption(views.TABLE[name].question)
    try:
        page.run()
    except NoResults:
        parts.empty("Nothing has been measured yet.", "quantfarm sweep --model reference --suite quick", why=_where())
    except FarmError as error:  # what the user can mend: one message
        st.error(parts.escape(str(error)))
    _foot(name)


def _where() -> str:
    return f"This page reads {store.home().root}."


def _foot(name: str) -> None:
    st.divider()
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        number = store.version()
        read = f"version {number} of the results in {store.home().root}" if number else f"{store.home().root}"
        st.caption(parts.escape(f"Read from {read}. Everything stays on this machine."))
    with right, st.popover("Link to this view", type="tertiary"):
        st.code(asked.link(name), language=None, wrap_lines=True)
    _news(number)


@st.fragment(run_every=5)
def _news(shown: int | None) -> None:
    """A sweep that goes on publishes newer versions: said, and shown when somebody wants it."""
    if store.version() != shown and st.button("There are newer results: show them", type="primary"):
        st.rerun()


if __name__ == "__main__":
    main()
