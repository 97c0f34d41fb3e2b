"""What a person who watches a sweep is told. The flow tells; a table, a log or nobody listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from quantfarm.nouns import Cell, Landed, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """`kind`: note, plan, making, made, waiting, started, said (by a device), known, landed, done.

    A landed cell with a text is tried again.
    """

    kind: str
    text: str = ""
    plan: Plan | None = None
    cell: Cell | None = None
    landed: Landed | None = None


class Listener(Protocol):
    def tell(self, news: News) -> None: ...


class Silent:
    def tell(self, news: News) -> None:
        del news


class Several:
    """Tells each of them."""

    def __init__(self, *listeners: Listener) -> None:
        self._all = listeners

    def tell(self, news: News) -> None:
        for one in self._all:
            one.tell(news)


#: A stack rather than a context variable: lanes run in threads of their own.
_listeners: list[Listener] = [Silent()]


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within this block, news go to `listener`, from every thread of the process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def also(*more: Listener) -> AbstractContextManager[None]:
    """As `listening`, beside the one that listens already."""
    return listening(Several(_listeners[-1], *more))


def tell(
    kind: str, text: str = "", *, plan: Plan | None = None, cell: Cell | None = None, landed: Landed | None = None
) -> None:
    _listeners[-1].tell(News(kind=kind, text=text, plan=plan, cell=cell, landed=landed))
