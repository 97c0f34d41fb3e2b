"""Devices that are reached through a POSIX shell: all of an agent but the way there.

Nothing is installed on the device. What has to happen there (a lease that dies with its holder, a
run that ends when nobody listens any more) is done by the scripts of agents/device/, sent each time.

Beats go from here to there every `beat_s`; after `silence_s` without one the device ends what it runs for
us and gives its lease back, so a cut network frees it in silence_s and a few seconds.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents import AgentError, Exit, Lease, Progress, Vanished, scripts, shell_files, shell_lease, shell_run, silent
from agents.shell_run import after, clean, last_line
from agents.transport import Channel, ProcessChannel, Tail, Transport
from quantfarm.nouns import DeviceProfile

__all__ = ["Channel", "ProcessChannel", "ShellAgent", "Tail", "Transport"]

BEAT_S = 10.0
SILENCE_S = 60
#: Seconds between the end of a command's stdin and its death.
GRACE_S = 2
PROBE_S = 60.0
#: The most bytes that an answer to a question of ours may have.
ANSWER_BYTES = 64 * 1024


class ShellAgent:
    """An agent over any Transport. A subclass says how to `connect`, and where files go by default.

    Options of a profile: `folder` (for files, on the device; "~/" is its user's home), `beat_s`, `silence_s`.
    """

    folder = "~/.cache/quantfarm"

    def __init__(self, profile: DeviceProfile) -> None:
        self.profile = profile
        options = dict(profile.options)
        self.folder = str(options.get("folder") or self.folder)
        self.beat_s = float(options.get("beat_s") or BEAT_S)
        self.silence_s = int(options.get("silence_s") or SILENCE_S)
        self._lock = threading.Lock()
        self._now: Transport | None = None

    def connect(self) -> Transport:
        """A new connection. Raises Unreachable, Refused."""
        raise NotImplementedError

    def run(
        self,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None],
        limit_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Exit:
        mark = scripts.nonce()
        channel = self._start("run", command, "run", mark=mark, grace=GRACE_S)
        return shell_run.run(channel, mark, on_line=on_line, limit_s=limit_s, stopped=stopped, beat_s=self.beat_s)

    def push(self, file: Path, sha256: str, on_progress: Progress = silent) -> str:
        push = shell_files.Push(self._asker("push"), self.transport, self.folder, self.profile.name)
        return push.push(file, sha256, on_progress)

    def pull(self, path: str, to: Path) -> None:
        shell_files.pull(self._asker("pull"), self.transport, path, to, self.profile.name)

    def probe(self) -> Mapping[str, Any]:
        from quantfarm import facts  # noqa: PLC0415 - needed here alone

        lines: list[str] = []
        left = self.run(["sh", "-c", facts.COMMAND], on_line=lines.append, limit_s=PROBE_S)
        if left.code or left.reason:
            why = left.reason or last_line(left.stderr) or f"status {left.code}"
            raise AgentError(f"{self.profile.name} did not say what it is: {why}", stage="probe", retryable=True)
        return {**self.transport().facts(), **facts.parse(lines)}

    @contextmanager
    def lease(self, holder: str, on_wait: Callable[[str], None]) -> Iterator[Lease]:
        arguments = [json.dumps(holder), scripts.nonce()[:16]]
        channel = self._start("lease", arguments, "lease")
        with shell_lease.lease(
            channel, on_wait, beat_s=self.beat_s, silence_s=self.silence_s, device=self.profile.name
        ) as held:
            yield held

    def close(self) -> None:
        with self._lock:
            if self._now:
                self._now.close()
            self._now = None

    def transport(self) -> Transport:
        """The connection in use, or a new one."""
        with self._lock:
            if self._now and not self._now.alive():
                self._now.close()
                self._now = None
            self._now = self._now or self.connect()
            return self._now

    def _forget(self, lost: Transport) -> None:
        with self._lock:
            if self._now is lost:
                self._now = None
        lost.close()

    def _start(self, name: str, arguments: Sequence[str], stage: str, **settings: str | int) -> Channel:
        """A script of agents/device/ on the device. Raises AgentError."""
        try:
            text = scripts.script(name, arguments, {"silence": self.silence_s, **settings})
        except ValueError as error:
            raise AgentError(str(error), stage=stage, retryable=False) from error
        used = self.transport()
        try:
            return self._begin(used, text)
        except Vanished:
            # It may have gone unnoticed while nobody used it, and nothing has begun: once more, on a new one.
            self._forget(used)
        try:
            return self._begin(self.transport(), text)
        except Vanished as gone:
            raise Vanished(f"{self.profile.name} went away at once: {gone}", stage=stage) from gone

    def _begin(self, transport: Transport, text: bytes) -> Channel:
        channel = transport.start(scripts.COMMAND)
        try:
            channel.write(text)
        except Vanished as gone:
            why = after(last_line(channel.stderr()))
            channel.close()
            raise Vanished(f"{gone}{why}") from gone
        return channel

    def _asker(self, stage: str) -> shell_files.Ask:
        return lambda arguments, limit_s: self._ask(stage, arguments, limit_s)

    def _ask(self, stage: str, arguments: Sequence[str], limit_s: float) -> dict[str, str]:
        """`KEY VALUE` lines of agents/device/files.sh. Raises AgentError, with what it said on stderr."""
        mark = scripts.nonce()
        channel = self._start("files", arguments, stage, mark=mark)
        lines: list[str] = []
        try:
            left = shell_run.run(
                channel, mark, on_line=lines.append, limit_s=limit_s, stopped=lambda: False, beat_s=limit_s
            )
        except Vanished as gone:
            raise Vanished(f"{self.profile.name}: {gone}", stage=stage) from gone
        if left.code or left.reason:
            why = left.reason or last_line(left.stderr) or f"status {left.code}"
            raise AgentError(f"{self.profile.name} cannot {stage}: {why}", stage=stage, retryable=False)
        return dict(_pair(line) for line in lines if len(line) < ANSWER_BYTES)


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.rstrip("\n").partition(" ")
    return key, clean(value) if key != "folder" else value
