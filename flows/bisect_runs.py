"""Runs of a version and of the good one in turns, and whose fault it is where they fail."""

from __future__ import annotations

from collections.abc import Callable

from flows import rerun
from flows.rerun import Pairs
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, State
from storage.home import Home
from storage.landing import Landings


class Fails(FarmError):
    """The version was built, and its runs fail."""


def in_turns(
    home: Home, good: Cell, other: Cell, *, metric: str, pairs: int, holder: str, stopped: Callable[[], bool]
) -> Pairs:
    """Raises Fails where the other's runs fail for a reason of its own; FarmError, Stopped as rerun.interleaved does,
    and for figures that have no ratio."""
    before = Landings(home).next_attempt(other.id)
    try:
        found = rerun.interleaved(
            home, good, other, metric=metric, pairs=pairs, holder=holder, stopped=stopped, tell=lambda _: None
        )
    except FarmError as error:
        if why := _fault(home, other, before):
            raise Fails(why) from error
        raise
    lowest = min(*found.old, *found.new)
    if lowest <= 0:
        raise FarmError(f"{metric} came out as {lowest:g}: only figures above zero can be compared by their ratio")
    return found


def _fault(home: Home, cell: Cell, before: int) -> str:
    """Why a cell's runs fail, where its last attempt since then did, and trying again would not help."""
    landings = Landings(home)
    last = landings.get(cell.id, landings.next_attempt(cell.id) - 1)
    if last is None or last.attempt < before or last.outcome.state is not State.FAILED or last.outcome.retryable:
        return ""
    return f"it fails at {last.outcome.stage}: {last.outcome.reason}"


def check_alike(home: Home, good: Cell, bad: Cell) -> None:
    """Raises FarmError where the two ran on another backend: then it is not the version that makes the difference."""
    ran = [
        landed.conditions.get("backend") if (landed := Landings(home).latest(one.id)) else None for one in (good, bad)
    ]
    if ran[0] == ran[1]:
        return
    raise FarmError(
        f"{good.build} ran on {ran[0]} and {bad.build} on {ran[1]}: how they were installed makes the difference. "
        "Set CMAKE_ARGS as it was when the device's own was installed (on a device elsewhere: in its environment), and "
        "run it again"
    )
