"""`quantfarm up` from its start to its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from flows import reaper, settings
from flows.up import going_on, state
from flows.up.farm import Farm
from flows.up.kept import Kept
from flows.up.parts import Wish, all_parts
from quantfarm.errors import UsageError
from storage import processes
from storage.home import Home


def run(home: Home, wish: Wish, tell: Callable[[str], None], ask: Callable[[str], bool] | None = None) -> None:
    """Until Ctrl-C or TERM. `ask` puts a question that is answered with yes or no, where there is somebody to answer.

    Raises UsageError where the farm is up already or a port is taken.
    """
    if given := os.environ.get("PREFECT_API_URL"):
        raise UsageError(
            f"PREFECT_API_URL names a server ({given}), and `quantfarm up` starts one of its own: unset it, or serve "
            "that server's deployments with `quantfarm serve`"
        )
    with state.only_one(home):
        _take_over(home, tell)
        parts = [Kept(part) for part in all_parts(home, wish)]
        settings.prepare_served(home)
        chosen = _unfinished(home, wish.go_on, tell, ask)
        keeper = reaper.start()  # ends our parts even when we are killed
        farm = Farm(home, wish, parts, tell, chosen)
        stopping = threading.Event()
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda _signal, _frame: stopping.set())
        try:
            farm.run(stopping.is_set)
        finally:
            farm.stop()
            if keeper.stdin:
                keeper.stdin.close()


def _take_over(home: Home, tell: Callable[[str], None]) -> None:
    """What one that was killed left: its reaper ends it, and where that was killed too, we do."""
    found = state.read(home)
    if not found or not found.get("token"):
        return
    left = [one for one in found.get("parts", ()) if one.get("mark") and processes.alive(one["mark"])]
    if left:
        tell(f"the last `quantfarm up` was killed: ending what it left ({', '.join(one['name'] for one in left)})")
    if left or not found.get("stopped"):
        reaper.reap(str(found["token"]))


def _unfinished(
    home: Home, go_on: bool | None, tell: Callable[[str], None], ask: Callable[[str], bool] | None
) -> frozenset[str]:
    """Lists what was cut off, with how far it is; the sweeps to go on with."""
    found = going_on.cut_off(home)
    if not found:
        return frozenset()
    for one in found:
        tell(f"unfinished: {going_on.line(one)}")
    if go_on is None:
        go_on = ask("Go on with what is unfinished?") if ask else False
        if not ask:
            tell("to go on with them: quantfarm up --go-on")
    if not go_on:
        return frozenset()
    chosen = frozenset(one.sweep for one in found)
    going_on.forget(home, chosen)
    return chosen
