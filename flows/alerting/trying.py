"""A test message to the sinks, so that a person sees today that alerts will arrive."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence

from flows import settings as prefect_settings
from flows.alerting import settings
from flows.alerting.event import NoServer
from flows.alerting.sinks import NotSent, Sink
from flows.alerting.telling import FAILED, SENT, Sent
from flows.up import state
from quantfarm.errors import UsageError, unknown
from quantfarm.nightly.message import Message, trial
from storage.home import Home

#: Nobody asked for it, and it cannot be done here.
NOT_TRIED = "not tried"


def try_all(home: Home, name: str = "") -> list[Sent]:
    """All sinks, or the one named. Nothing is written into the journal. Raises UsageError for an unknown name."""
    sinks = settings.read(home)
    if name and name not in {one.name for one in sinks}:
        raise unknown("sink", name, [one.name for one in sinks], str(settings.path(home)))
    if not sinks:
        raise UsageError(f"there are no sinks: name some in {settings.path(home)} (docs/nightly.md)")
    _server_of_up(home)
    prefect_settings.prepare(home)
    message = trial(f"{_user()} at {socket.gethostname()}")
    asked = [one for one in sinks if name in ("", one.name)]
    return [_try(home, one, message, alone=len(asked) == 1) for one in asked]


def good(tried: Sequence[Sent]) -> bool:
    """Every sink that was tried took it, and one was."""
    return {one.state for one in tried} - {NOT_TRIED} == {SENT}


def _server_of_up(home: Home) -> None:
    """Where nothing names a server, the one that `quantfarm up` runs gets the event."""
    if not os.environ.get("PREFECT_API_URL") and (url := state.api(home)):
        os.environ["PREFECT_API_URL"] = url


def _try(home: Home, sink: Sink, message: Message, *, alone: bool) -> Sent:
    try:
        remark = sink.send(home, message, again=False)
    except NotSent as error:
        nobodys = sink.implied and isinstance(error, NoServer) and not alone
        return Sent(sink=sink.name, state=NOT_TRIED if nobodys else FAILED, reason=str(error))
    return Sent(sink=sink.name, state=SENT, reason=remark)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
