"""A way to a POSIX shell on a device: what `agents.shell` needs of SSH, of adb, or of a process here."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from agents import Progress, Vanished

#: The last lines of stderr that are kept, and the most bytes of one.
STDERR_LINES = 40
STDERR_BYTES = 4096
GRACE_S = 2.0


class Channel(Protocol):
    """One command on the device. Used by two threads: one reads, another writes and ends."""

    def write(self, data: bytes) -> None:
        """To the command's stdin. Raises Vanished where the way is gone."""
        ...

    def end(self) -> None:
        """Closes the command's stdin. Never raises; may be said twice."""
        ...

    def read(self) -> bytes:
        """Some of stdout as it comes; b"" at its end, and also when the way is gone. Never raises."""
        ...

    def stderr(self) -> str:
        """The last lines of stderr; waits a little for its end."""
        ...

    def close(self) -> None:
        """Lets go of it whatever its state: `read` ends. Never raises; may be said twice."""
        ...


class Transport(Protocol):
    """A connection to one device. Its own exit statuses are not asked for: a vanished phone's is 0."""

    def start(self, command: str) -> Channel:
        """Start a line of POSIX shell in the device's (or the user's) shell. Raises Vanished, Unreachable."""
        ...

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        """Send a file from `offset` (bytes) on to the same place in `to`; at offset 0 `to` is made anew.

        Raises Vanished where the way was lost, OSError where the device would not write.
        """
        ...

    def fetch(self, path: str, to: Path) -> None:
        """Bring a file's bytes here. Raises Vanished, OSError."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What the connection itself tells of the device: fields of DeviceProfile."""
        ...

    def alive(self) -> bool:
        """Whether it is worth using, as far as is known; cheap."""
        ...

    def close(self) -> None: ...


class Tail:
    """The last lines of a stream, read to its end in a thread of its own."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._lines: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        rest = b""
        with contextlib.suppress(OSError, ValueError):
            while data := self._read():
                *whole, rest = (rest + data).split(b"\n")
                self._lines.extend(line[-STDERR_BYTES:] + b"\n" for line in whole[-STDERR_LINES:])
                rest = rest[-STDERR_BYTES:]
        if rest:
            self._lines.append(rest)

    def text(self) -> str:
        self._thread.join(GRACE_S)
        return b"".join(list(self._lines)).decode(errors="replace")


class ProcessChannel:
    """A command whose other end is a process on this machine: a client such as `adb`, or a shell."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            list(command), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=environment, bufsize=0
        )
        assert self.process.stderr
        stderr = self.process.stderr
        self._tail = Tail(lambda: stderr.read(65536))
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        try:
            with self._lock:
                rest = memoryview(data)
                while rest:
                    rest = rest[self.process.stdin.write(rest) :]
        except (OSError, ValueError) as error:
            raise Vanished(f"{self.process.args[0]} went away: {error}") from error  # type: ignore[index]

    def end(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(OSError), self._lock:
            self.process.stdin.close()

    def read(self) -> bytes:
        assert self.process.stdout
        try:
            return self.process.stdout.read(65536)
        except (OSError, ValueError):
            return b""

    def stderr(self) -> str:
        return self._tail.text()

    def close(self) -> None:
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        self.process.kill()
        self.process.wait()
        self._tail.text()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
