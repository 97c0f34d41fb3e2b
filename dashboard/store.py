"""The published database as the views read it: read-only, pinned to one version, each answer kept for that version.

A running sweep is never in the way of it, nor it of a sweep: versions are files of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from storage.home import Home
from storage.publish import current
from storage.reading import NoResults, Reader

P = ParamSpec("P")
T = TypeVar("T")


def home() -> Home:
    return Home.default()


def version() -> int | None:
    """The newest published one; None before the first."""
    published = current(home())
    return published.version if published else None


@st.cache_resource(max_entries=4, show_spinner=False)
def _reader(root: str, number: int) -> Reader:
    del root, number  # the key
    return Reader(home(), wait_s=5)


def reader() -> Reader:
    """Raises NoResults before anything was published."""
    number = version()
    if number is None:
        raise NoResults(f"no results yet in {home().root}")
    return _reader(str(home().root), number)


@st.cache_resource(max_entries=512, show_spinner=False)
def _answer(root: str, number: int, name: str, arguments: str, _make: Callable[[], Any]) -> Any:
    del root, number, name, arguments  # the key
    return _make()


def ask(question: Callable[Concatenate[Reader, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A query function of `storage` asked of the published version; its answer is shared and must not be changed.

    `store.ask(candidates, device="local")`. Raises what the function raises, and NoResults.
    """
    of = reader()
    name, arguments = f"{question.__module__}.{question.__qualname__}", repr((args, sorted(kwargs.items())))
    return _answer(str(home().root), of.version, name, arguments, lambda: question(of, *args, **kwargs))
