"""The record of each device: its changes of state and its canaries, as rows that stay.

    devices/NAME/transitions.jsonl   one line per change of state; a device's state is that of the last
    devices/NAME/canaries.jsonl      one line per canary
    devices/NAME/record.lock         held while a line is added

A device that was never registered has no record, and nothing here gives it one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from quantfarm import health
from quantfarm.health import By, Canary, DeviceState, Transition
from quantfarm.nouns import digest
from storage import journal
from storage.home import Home
from storage.journal import Damaged

TRANSITIONS, CANARIES, LOCK = "transitions.jsonl", "canaries.jsonl", "record.lock"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TRANSITION, _CANARY = TypeAdapter(Transition), TypeAdapter(Canary)
T = TypeVar("T")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def folder_name(device: str) -> str:
    """A device's folder is called like it; by a digest where its name is no name that registration gives."""
    return device if NAME.fullmatch(device) else digest(device)


class Registry:
    """Raises Damaged where a record cannot be read, NotAllowed for a change of state that may not be."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def names(self) -> list[str]:
        """Every device that has a record, retired ones too."""
        return sorted(path.parent.name for path in (self.home.root / "devices").glob(f"*/{TRANSITIONS}"))

    def state(self, name: str) -> DeviceState | None:
        """None: it was never registered."""
        row = self.last(name)
        return row.to if row else None

    def last(self, name: str) -> Transition | None:
        row = journal.last(path := self._path(name, TRANSITIONS))
        return None if row is None else _checked(path, _TRANSITION, row)

    def history(self, name: str) -> list[Transition]:
        path = self._path(name, TRANSITIONS)
        return [_checked(path, _TRANSITION, row) for row in journal.read(path)]

    def canaries(self, name: str) -> list[Canary]:
        path = self._path(name, CANARIES)
        return [_checked(path, _CANARY, row) for row in journal.read(path)]

    def registrations(self, name: str) -> int:
        """How often it was registered, each time anew: a series of canaries begins with it."""
        return sum(row.before in (None, DeviceState.RETIRED) for row in self.history(name))

    def move(self, name: str, to: DeviceState, reason: str, by: By) -> Transition:
        """Changes the state. Raises NotAllowed saying why it may not be."""
        with self._locked(name):
            return self._append(name, self.history(name), to, reason, by)

    def failed(self, name: str, reason: str) -> Transition | None:
        """It could not be reached or did not start: unhealthy, the third time in a row quarantined.

        None where that changes nothing: no record, retired, or quarantined by a person.
        """
        return self._found(name, health.after_failure, reason, failed=True)

    def drifted(self, name: str, reason: str) -> Transition | None:
        """Its canary is not its own any more: quarantined. None as for `failed`."""
        return self._found(name, lambda _: DeviceState.QUARANTINED, reason)

    @contextmanager
    def busy(self, name: str, holder: str) -> Iterator[None]:
        """While its lease is held for work. Raises NotAllowed where it is not ready; nothing without a record."""
        if self.state(name) is None:
            yield
            return
        self.move(name, DeviceState.BUSY, holder, By.FARM)
        try:
            yield
        finally:
            with self._locked(name):
                rows = self.history(name)
                if rows[-1].to is DeviceState.BUSY:  # nobody has said otherwise meanwhile
                    self._append(name, rows, DeviceState.READY, f"end of {holder}", By.FARM)

    def add(self, canary: Canary) -> Canary:
        """Keeps a canary; it belongs to the state that the device is in now."""
        with self._locked(canary.device):
            kept = replace(canary, spell=len(self.history(canary.device)))
            journal.append(self._path(kept.device, CANARIES), asdict(kept))
        return kept

    def _found(
        self, name: str, to: Callable[[list[Transition]], DeviceState], reason: str, *, failed: bool = False
    ) -> Transition | None:
        """What the farm found out about a device, where its state is the farm's to change."""
        if self.state(name) in (None, DeviceState.RETIRED):
            return None
        with self._locked(name):
            rows = self.history(name)
            if health.held(rows):
                return None
            return self._append(name, rows, to(rows), reason, By.FARM, failed=failed)

    def _append(
        self, name: str, rows: list[Transition], to: DeviceState, reason: str, by: By, *, failed: bool = False
    ) -> Transition:
        canaries = self.canaries(name) if to is DeviceState.READY else []
        row = health.transition(name, rows, to, reason, by, now(), canaries=canaries, failed=failed)
        journal.append(self._path(name, TRANSITIONS), asdict(row))
        return row

    def _path(self, name: str, file: str) -> Path:
        return self.home.root / "devices" / folder_name(name) / file

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with journal.locked(self.home.folder("devices", folder_name(name)) / LOCK):
            yield


def _checked(path: Path, kind: TypeAdapter[T], row: Mapping[str, Any]) -> T:
    try:
        return kind.validate_python(row)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        raise Damaged(f"{path} holds a row that is none: {said['loc']}: {said['msg']}. Mend or remove it.") from error
