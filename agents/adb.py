"""A phone (or any Android device) at the adb client: what agents.shell needs of the way there.

The client's exit status is never asked whether a run ended well: with the cable pulled it is 0.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from agents import Progress, Refused, Unreachable, Vanished, scripts
from agents.android import Client, chosen, discover, find_client, make_ready
from agents.shell import ProcessChannel, ShellAgent
from agents.shell_run import last_line
from quantfarm.errors import FarmError

__all__ = ["AdbAgent", "AdbTransport", "discover"]

#: The one folder that adb's shell may write to and execute from.
FOLDER = "/data/local/tmp/quantfarm"
#: A transfer of which not a byte moves for so long is given up.
STALL_S = 60.0
LOOK_S = 0.1
#: Up to here a file goes through a shell: half as fast as `adb push`, but one question instead of three.
SMALL = 4 * 2**20
#: Lets an earlier receiver of the same file come to its end, then goes on behind `offset`; says how that ended, and
#: how large the file is then.
RECEIVE = (
    # The lock by a redirection of its own: what `exec` opens, mksh keeps from the programs that it starts.
    "{{ n=0; until flock -n 9 || [ $n -ge 50 ]; do n=$((n+1)); sleep 0.2; done; "
    "truncate -s {offset} {to} && cat >>{to}; echo {mark} $? $(stat -c %s {to}); }} 9>>{to}"
)
#: Takes what is being pushed out of the daemon's reach as soon as it is there, then tells its size again and again.
TAKE = (
    'for f in {to}.new-*; do [ "$f" = {new} ] || rm -f "$f"; done; '
    "until mv {new} {to} 2>/dev/null; do echo 0 || exit; sleep 0.05; done; "
    "while stat -c %s {to}; do sleep 0.5; done"
)
#: In a message of `adb push` or `pull`: the phone itself would not, rather than the way to it.
REMOTE = ": remote "
TAKEN = "mv -f {new} {to} 2>/dev/null; echo {mark} 0 $(stat -c %s {to})"


class AdbAgent(ShellAgent):
    """`address` is the phone's serial (`adb devices`); one that is HOST:PORT is connected to.

    Options besides those of ShellAgent: `adb` (the client), `stall_s` (a transfer is given up after so long).
    """

    folder = FOLDER

    def connect(self) -> AdbTransport:
        """Raises UsageError (no client, or which phone?), Unreachable, Refused."""
        options = dict(self.profile.options)
        client = Client(find_client(str(options.get("adb") or "")))
        serial = chosen(client, self.profile.address)
        make_ready(client, serial)
        return AdbTransport(client, serial, float(options.get("stall_s") or STALL_S))


class AdbTransport:
    """One phone that is there now."""

    def __init__(self, client: Client, serial: str, stall_s: float = STALL_S) -> None:
        self.client, self.serial, self.stall_s = client, serial, stall_s
        try:
            features = client.ask("-s", serial, "features").split()
        except FarmError as error:
            raise Unreachable(f"phone {serial} went away: {error}") from error
        if "shell_v2" not in features:
            raise Refused(f"phone {serial} is too old: its adb cannot keep stderr apart (Android 7 and later can)")

    def start(self, command: str) -> ProcessChannel:
        return ProcessChannel(self._shell(command))

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        size = file.stat().st_size
        on_progress(offset, size)
        if offset or size <= SMALL:
            self._stream(file, to, offset, size, on_progress)
        else:
            self._push(file, to, size, on_progress)
        on_progress(size, size)

    def _stream(self, file: Path, to: str, offset: int, size: int, on_progress: Progress) -> None:
        mark = scripts.nonce()
        command = RECEIVE.format(offset=offset, to=shlex.quote(to), mark=mark)
        with file.open("rb") as source:
            source.seek(offset)
            # The client reads by the same open file: where it stands is how much is on its way.
            moved = self._move(
                self._shell(command),
                lambda: os.lseek(source.fileno(), 0, os.SEEK_CUR),
                lambda done: on_progress(done, size),
                stdin=source,
            )
        self._check(moved, mark, size)

    def _push(self, file: Path, to: str, size: int, on_progress: Progress) -> None:
        """`adb push`, made to leave what has arrived when it is cut off.

        The daemon removes what it did not receive whole, by its name: so it gets another name at once.
        """
        mark = scripts.nonce()
        there = f"{to}.new-{mark}"
        names = {"new": shlex.quote(there), "to": shlex.quote(to), "mark": mark}
        with self._sizes(TAKE.format(**names)) as arrived:
            moved = self._move(
                self.client.to(self.serial, "push", str(file.resolve()), there),
                arrived,
                lambda done: on_progress(done, size),
            )
            taken = arrived() > 0
        if moved.status or not taken:
            self._check(moved if moved.status else self._move(self._shell(TAKEN.format(**names)), int), mark, size)

    @contextmanager
    def _sizes(self, command: str) -> Iterator[Callable[[], int]]:
        """The last number that a command on the phone has told, once it has begun to."""
        channel = self.start(command)
        last, begun = [0], threading.Event()

        def listen() -> None:
            while data := channel.read():
                numbers = [word for word in data.split() if word.isdigit() and len(word) < 19]
                last[:] = [int(numbers[-1])] if numbers else last
                begun.set()
            begun.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            begun.wait(self.stall_s)
            yield lambda: last[0]
        finally:
            channel.process.kill()
            listener.join()
            channel.close()

    def _check(self, moved: _Moved, mark: str, size: int) -> None:
        """Whether all has arrived. Raises OSError where the phone would not write it, else Vanished."""
        told = moved.stdout.split()
        if told == [mark, "0", str(size)]:
            return
        if (told[:1] == [mark] and told[1:2] != ["0"]) or REMOTE in moved.why:
            raise OSError(moved.why or f"the phone stopped writing at {told[-1]} of {size} bytes")
        why = moved.why or "its end was never seen"
        raise Vanished(f"phone {self.serial} went away while a file was sent to it: {why}", stage="push")

    def fetch(self, path: str, to: Path) -> None:
        there = path if path.startswith("/") else f"./{path}"  # never an option of adb's
        moved = self._move(self.client.to(self.serial, "pull", there, str(to)), lambda: to.stat().st_size)
        if moved.status and not self.alive():
            raise Vanished(f"phone {self.serial} went away while a file was fetched from it", stage="pull")
        if moved.status:
            raise OSError(moved.why or f"adb pull ended with status {moved.status}")

    def facts(self) -> Mapping[str, Any]:
        """Nothing that the phone's own shell does not tell better."""
        return {}

    def alive(self) -> bool:
        return self.client.is_ready(self.serial)

    def close(self) -> None:
        """Nothing is kept open: the adb server holds the connection, for all its clients."""

    def _shell(self, command: str) -> list[str]:
        """No terminal and no escape character: stdin, stdout and stderr are the command's, byte by byte."""
        return self.client.to(self.serial, "shell", "-e", "none", "-T", command)

    def _move(
        self,
        command: Sequence[str],
        moved: Callable[[], int],
        tell: Callable[[int], None] = lambda _: None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> _Moved:
        """Runs a client to its end, telling how much has moved; ends it once nothing moved for `stall_s`."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(list(command), stdin=stdin, stdout=pipe, stderr=pipe, start_new_session=True)
        last, since, stalled = moved(), time.monotonic(), False
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    now = moved()
                if now != last:
                    last, since = now, time.monotonic()
                    tell(now)
                elif time.monotonic() - since > self.stall_s:
                    stalled = True
                    process.kill()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        told = out.decode(errors="replace")
        why = f"nothing moved for {self.stall_s:g} s" if stalled else _why(told, err.decode(errors="replace"))
        return _Moved(process.returncode, told, why)


class _Moved(NamedTuple):
    """How a client that moved something ended: its status says little, see the top."""

    status: int
    stdout: str
    why: str  # it failed, in its own words or ours; "" where it said nothing


def _why(stdout: str, stderr: str) -> str:
    """`adb push` complains on stdout, before its figures."""
    errors = [line for line in stdout.splitlines() if line.startswith("adb: error: ")]
    return last_line(errors[-1] if errors else stderr)
