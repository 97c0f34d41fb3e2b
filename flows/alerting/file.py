"""A file that messages are added to: JSON lines for programs, or text for people."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from flows.alerting.sinks import NotSent, Settings
from quantfarm.errors import FarmError
from quantfarm.nightly.message import Message
from storage import journal
from storage.home import Home

#: Of a file, so much of its end is looked through for a message that may be there already.
TAIL = 1 << 20


class File(Settings):
    kind: Literal["file"]
    path: str = Field(min_length=1, description="from QUANTFARM_HOME where it does not begin with / or ~")
    format: Literal["json", "text"] = "json"

    def send(self, home: Home, message: Message, *, again: bool) -> str:
        """The whole message or nothing; after a sending that was cut off, only if it is not there yet."""
        path = home.root / Path(self.path).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with journal.locked(path.with_name(f".{path.name}.lock")):
                if again and message.digest.encode() in _tail(path):
                    return "it was there already"
                if self.format == "json":
                    journal.append(path, message.body)
                else:
                    _append(path, f"{message.subject}\n\n{message.text}\n-- {message.digest}\n\n".encode())
        except OSError as error:
            raise NotSent(f"cannot write {path}: {error.strerror}") from error
        except FarmError as error:
            raise NotSent(str(error)) from error
        return ""


def _tail(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read()
    return b""


def _append(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        end = os.fstat(fd).st_size
        try:
            done = 0
            while done < len(data):
                done += os.write(fd, data[done:])
            os.fsync(fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, end)
            raise
    finally:
        os.close(fd)
