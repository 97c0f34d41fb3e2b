"""Serves variants for a chat: one device under its lease, one server there, its port here, for as long as is wished."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from agents import Agent, Forwards, agent
from flows import devices, progress
from flows.answers import placing, preparing
from flows.answers.preparing import Asked, Wish
from flows.progress import News
from flows.stopping import Stopped
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import DeviceProfile, Scalar, Variant
from quantfarm.runtimes import Runtime, runtime
from quantfarm.runtimes.serving import KIND, SEVERAL
from storage import wanted
from storage.artifacts import Artifacts
from storage.home import Home

#: Who waits for the device: a night's measurements (-5) hand it over between two cells, a person's do not.
PRIORITY = 0
#: Everybody who waits is told of, the more urgent as such.
ANYBODY = -(10**6)
LOOK_S = 1.0
#: Tokens of a prompt that are computed at a time. What is in the cache is kept in whole blocks of this: a conversation
#: is computed in the same blocks each time, so that a seed writes the same again.
BLOCK = 256


class Tell(Protocol):
    """Told from several threads; the events of docs/playground.md."""

    def __call__(self, event: str, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Wish):
    """`port` 0: a free one; `gpu_layers` None: all where the device has a GPU; `idle_s` 0: never too long."""

    kind: ClassVar[str] = KIND
    does: ClassVar[str] = "serves"
    holder: ClassVar[str] = "quantfarm chat-server"

    n_ctx: int = 4096
    gpu_layers: int | None = None
    port: int = 0
    idle_s: float = 900.0

    def settings(self, profile: DeviceProfile) -> Mapping[str, Scalar]:
        layers = (-1 if profile.accelerators else 0) if self.gpu_layers is None else self.gpu_layers
        # Elsewhere any port does: it is reached through one of this machine's.
        port = self.port if profile.kind == "local" else 0
        more = {"n_ctx": self.n_ctx, "n_gpu_layers": layers, "port": port, "idle_s": self.idle_s}
        return {"n_batch": BLOCK, "n_ubatch": BLOCK, **more}

    def check(self, together: Sequence[tuple[Variant, Runtime]]) -> None:
        """Raises UsageError where one server cannot have them all."""
        found = {under.name: variant.name for variant, under in together}
        if len(found) > 1:
            needs = ", ".join(f"{variant} needs {name}" for name, variant in found.items())
            raise UsageError(
                f"one server has one runtime: {needs}. Serve them one after the other, or name a --runtime"
            )
        if len(together) > 1 and (alone := [one.name for one, _ in together if one.format not in SEVERAL]):
            raise UsageError(f"{', '.join(alone)} is served alone: name one variant")


def serve(home: Home, service: Service, tell: Tell, stop: threading.Event) -> str:
    """Until `stop`, or nobody has asked for long; why it ended. Raises UsageError, FarmError, Stopped."""
    tell("starting", model=service.model, variants=list(service.variants), device=", ".join(service.devices))
    _reachable(devices.chosen(home, service.sweep()))
    with progress.listening(_Making(tell)):
        prepared = preparing.prepare(home, service, stop.is_set)
    [(profile, asked)] = prepared.items()
    device = agent(profile)
    with contextlib.ExitStack() as held:
        held.callback(device.close)
        with wanted.waiting(home, wanted.device_of(profile), PRIORITY, service.holder):
            held.enter_context(device.lease(service.holder, _Waiting(profile.name, tell, stop)))
        tell("loading", device=profile.name, variant=asked[0].cell.variant.name)
        return _Serving(home, device, service, asked, tell, held).run(stop)


def _reachable(chosen: Sequence[DeviceProfile]) -> None:
    """Raises UsageError for several devices, and for one whose ports cannot be reached."""
    if len(chosen) != 1:
        raise UsageError(f"one server is of one device, not of {', '.join(one.name for one in chosen) or 'none'}")
    [profile] = chosen
    if not profile.simulated and not isinstance(agent(profile), Forwards):
        raise UsageError(
            f"{profile.name} is reached by {profile.kind}: what listens there cannot be reached from here. "
            "A chat is served on this machine (local) and on devices over ssh"
        )


class _Making:
    """News of what is made, as events."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def tell(self, news: News) -> None:
        if news.text and news.kind != "said":
            self._tell("waiting" if news.kind == "waiting" else "making", what=news.text)


class _Waiting:
    """Who has the device: told when it is another."""

    def __init__(self, device: str, tell: Tell, stop: threading.Event) -> None:
        self._device, self._tell, self._stop, self._told = device, tell, stop, ""

    def __call__(self, who: str) -> None:
        if self._stop.is_set():
            raise Stopped("stopped")
        if who != self._told:
            self._told = who
            self._tell(
                "waiting", device=self._device, by=who, what=f"{self._device} is in use by {who}; waiting for it"
            )


@dataclass
class _Serving:
    """One run of a server, and what it says. `held` is let go when it is over."""

    home: Home
    device: Agent
    service: Service
    asked: Sequence[Asked]
    tell: Tell
    held: contextlib.ExitStack
    end: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ended: str = ""

    def run(self, stop: threading.Event) -> str:
        first = self.asked[0]
        there = placing.placed(self.home, self.device, first, {})
        there |= self._models(there)
        command = runtime(first.cell.runtime).command(first.cell, there)
        left = self.device.run(command, on_line=self.take, limit_s=math.inf, stopped=stop.is_set)
        if stop.is_set():
            return "stopped"
        if self.ended and self.end.get("ok"):
            return self.ended
        said = left.stderr.strip().splitlines()[-1:] or [f"exit status {left.code}"]
        raise FarmError(f"the server ended: {self.end.get('error') or left.reason or said[0]}")

    def _models(self, there: Mapping[str, str]) -> dict[str, str]:
        """Every variant's files under its name; those of the first are there."""
        found: dict[str, str] = {}
        for one in self.asked:
            for name, file in Artifacts(self.home).files(one.artifact).items():
                key = f"models/{one.cell.variant.name}{name.removeprefix('model')}"
                found[key] = there[name] if one is self.asked[0] else self._pushed(one, name, file)
        return found

    def _pushed(self, one: Asked, name: str, file: Path) -> str:
        return self.device.push(file, one.artifact.sha256 if name == "model" else "")

    def take(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            return  # a line that is no event is of a library
        if kind == "serving":
            self._ready(event)
        elif kind == "result":
            self.ended = str(event.get("ended", ""))
        elif kind == "end":
            self.end = event

    def _ready(self, event: Mapping[str, Any]) -> None:
        assert isinstance(self.device, Forwards)
        port = self.held.enter_context(self.device.forward(int(event["port"]), self.service.port))
        cell = self.asked[0].cell
        self.tell(
            "ready",
            url=f"http://127.0.0.1:{port}/v1",
            key=str(event["key"]),
            model=cell.variant.model,
            variant=cell.variant.name,
            variants=[{"name": one.cell.variant.name, "artifact": one.artifact.sha256} for one in self.asked],
            artifact=self.asked[0].artifact.sha256,
            device=cell.profile.name,
            runtime=cell.runtime,
            build=cell.build,
            n_ctx=event.get("n_ctx"),
            threads=cell.workload.settings["threads"],
            pid=os.getpid(),
        )
        self.held.enter_context(_watching(self.home, cell.profile, self.tell))


@contextlib.contextmanager
def _watching(home: Home, profile: DeviceProfile, tell: Tell) -> Any:
    """Tells who waits for the device meanwhile, and when nobody does any more."""
    done, device = threading.Event(), wanted.device_of(profile)

    def watch() -> None:
        told = ("", False)
        while not done.wait(LOOK_S):
            by = wanted.more_urgent(home, device, PRIORITY)
            now = (by or wanted.more_urgent(home, device, ANYBODY), bool(by))
            if now != told:
                told = now
                tell("wanted", device=profile.name, by=now[0], urgent=now[1])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
