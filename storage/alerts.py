"""The journal of alerts: what was reported, told to which sink, acknowledged and snoozed. HOME/alerts/log.jsonl.

Rows are added and never changed; what they mean is quantfarm/nightly/standing.py. No address and no secret of a
sink is in them: a sink is its name.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from quantfarm.nightly import standing
from quantfarm.nightly.standing import Standing
from storage import journal
from storage.home import Home


class Alerts:
    """Raises journal.Damaged where a row cannot be read: what was told is then not known."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.path = home.root / "alerts" / "log.jsonl"  # its folder is not made by a look

    @contextmanager
    def telling(self) -> Iterator[None]:
        """One teller at a time: two would both find that nothing was told yet."""
        with journal.locked(self.home.folder("alerts") / "telling.lock"):
            yield

    def standing(self) -> Standing:
        return standing.fold(journal.read(self.path))

    def add(self, row: Mapping[str, Any]) -> None:
        """Raises NoRoom where the disk is full: the row is then not there."""
        with journal.locked(self.home.folder("alerts") / "log.lock"):
            journal.append(self.path, {"at": now(), **row})

    def sending(self, sink: str, night: str, alerts: Iterable[str], digest: str) -> None:
        """Before it is sent: a kill from here on leaves open whether it arrived."""
        self.add({"kind": "sending", "sink": sink, "night": night, "alerts": list(alerts), "digest": digest})

    def sent(self, sink: str, night: str, alerts: Iterable[str], digest: str) -> None:
        self.add({"kind": "sent", "sink": sink, "night": night, "alerts": list(alerts), "digest": digest})

    def failed(self, sink: str, night: str, alerts: Iterable[str], reason: str) -> None:
        self.add({"kind": "failed", "sink": sink, "night": night, "alerts": list(alerts), "reason": reason})

    def acknowledge(self, alerts: Iterable[str], note: str) -> None:
        """These alerts are known: no sink hears of them again until they are worse, or back and there again."""
        self.add({"kind": "acknowledged", "alerts": list(alerts), "who": who(), "note": note})

    def snooze(self, what: str, name: str, until: str, note: str) -> None:
        """`what`: `series` (its id) or `device`. Quiet up to and with the night `until` (ISO date)."""
        self.add({"kind": "snoozed", "what": what, "name": name, "until": until, "who": who(), "note": note})

    def said_no_sinks(self) -> None:
        self.add({"kind": "no sinks"})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return "unknown"
