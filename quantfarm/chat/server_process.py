"""`quantfarm chat-server` as a process of ours: started, listened to, stopped. It ends with us: its stdin does."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import IO, Any, cast

from quantfarm.answers import Writer
from quantfarm.chat.client import Endpoint

VERB = "chat-server"
#: From the end of its stdin to that of a server that does not mind it. Seconds.
GRACE_S = 10.0
STDERR_LINES = 20


class Phase(StrEnum):
    STARTING = "starting"
    MAKING = "making"
    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to serve; `variants` are in memory one at a time. None and empty: the command's own defaults."""

    model: str
    variants: tuple[str, ...]
    device: str = "local"
    runtime: str = ""
    n_ctx: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    idle_minutes: float | None = None

    def arguments(self) -> list[str]:
        options: Mapping[str, object] = {
            "--model": self.model,
            "--variant": ",".join(self.variants),
            "--device": self.device,
            "--runtime": self.runtime or None,
            "--n-ctx": self.n_ctx,
            "--threads": self.threads,
            "--gpu-layers": self.gpu_layers,
            "--idle": self.idle_minutes,
        }
        # One word each: what begins with a dash is no option.
        return [VERB, *(f"{name}={value}" for name, value in options.items() if value is not None), "--json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`text` says what it does or waits for, or why it ended (`ok`: as was wished).

    `ready` is that event of docs/playground.md; `waiting_for_us` who waits for the device, `urgent` whether more
    urgently than a person who chats.
    """

    phase: Phase = Phase.STARTING
    text: str = ""
    ok: bool = True
    ready: Mapping[str, Any] = field(default_factory=dict[str, Any])
    waiting_for_us: str = ""
    urgent: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """Those that answer now."""
        return tuple(one["name"] for one in self.ready.get("variants", ())) if self.phase is Phase.READY else ()

    def endpoint(self, variant: str) -> Endpoint:
        """Raises KeyError while it is not ready."""
        return Endpoint(url=self.ready["url"], key=self.ready["key"], model=variant)

    def writer(self, variant: str) -> Writer:
        """Who answers under this name. Raises KeyError for none."""
        artifacts = {one["name"]: one["artifact"] for one in self.ready["variants"]}
        return Writer(
            device=self.ready["device"],
            model=self.ready["model"],
            variant=variant,
            artifact=artifacts[variant],
            runtime=self.ready["runtime"],
            build=self.ready["build"],
        )


def after(before: State, event: Mapping[str, Any]) -> State:
    """The state after an event of `quantfarm chat-server --json`."""
    kind, text = str(event.get("event")), str(event.get("what") or "")
    if kind == "wanted":
        return replace(before, waiting_for_us=str(event.get("by") or ""), urgent=bool(event.get("urgent")))
    if kind == "ready":
        return replace(before, phase=Phase.READY, text="", ready=dict(event))
    if kind == "ended":
        ok, reason = bool(event.get("ok")), str(event.get("reason") or "")
        return replace(before, phase=Phase.ENDED, ok=ok, text=reason, waiting_for_us="", urgent=False)
    if kind in tuple(Phase):
        return replace(before, phase=Phase(kind), text=text)
    return before


class ChatServer:
    """A running `quantfarm chat-server`. `state` may be asked at any time from any thread; so may `stop`.

    `on_change` is told of each state, in a thread of its own.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        on_change: Callable[[State], None] = lambda _: None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-P", "-m", "cli.main"),
    ) -> None:
        self.wanted, self._on_change = wanted, on_change
        self._changed = threading.Condition()
        self._state, self._stopped = State(), False
        self._said: deque[str] = deque(maxlen=STDERR_LINES)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [*command, *wanted.arguments()],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,  # a Ctrl-C at our terminal is ours: it ends by its stdin
        )
        assert self._process.stdout and self._process.stderr
        self._drain = threading.Thread(target=self._said.extend, args=(self._process.stderr,), daemon=True)
        self._drain.start()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def state(self) -> State:
        with self._changed:
            return self._state

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, until: Callable[[State], bool], timeout_s: float) -> State:
        """The state once `until` holds, it has ended, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: until(self._state) or self._state.phase is Phase.ENDED, timeout_s)
            return self._state

    def stop(self) -> State:
        """Ends it, and frees its device; returns once it has ended. May be said twice."""
        self._stopped = True
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # what it runs watches a stdin of its own
        self._reader.join(GRACE_S)
        return self.state

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    self._set(after(self.state, cast("dict[str, Any]", event)))
        code = self._process.wait()
        self._drain.join(GRACE_S)
        for end in (self._process.stdout, self._process.stderr):
            if end:
                end.close()
        if self.state.phase is not Phase.ENDED:
            self._set(replace(self.state, phase=Phase.ENDED, ok=self._stopped, text=self._why(code)))

    def _why(self, code: int) -> str:
        if self._stopped:
            return "stopped"
        said = next((line.strip() for line in reversed(self._said) if line.strip()), "")
        return said or f"quantfarm {VERB} ended with status {code}"

    def _set(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
        self._on_change(state)
