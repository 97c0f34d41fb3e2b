"""A scripted device, for tests and for scale: public, and always marked as simulated.

It answers a runner's request with events (docs/events.md) computed from its script, the
profile's `options`:

    bandwidth_gib_s  decode speed is this over the model file's size (decode is bound by memory)   [20]
    prefill_tps      prefill speed, tok/s                                                          [500]
    noise            relative standard deviation of every time                                     [0.01]
    sleep_s          real seconds that a run takes                                                 [0]
    fault            what happens instead of a good run: hang, garbage, oom, vanish, crash, error,
                     unplug                                                                        [none]
    fault_runs       how many of the first runs the fault strikes (then the device is well)        [all]
    away             how often an unplugged device is asked for in vain before it is back          [0]
    ppl              perplexity of every model                                                     [10]
    clock_s          how far the device's wall clock is off                                        [0]
    idle_c, heat_c_per_s, cool_s, throttle_c, throttle_to, slow_per_c
                     its heat: agents/fake_heat.py; a sample each simulated second                 [no heat]
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from agents import AgentError, Exit, Lease, Progress, Unreachable, Vanished, leases, silent
from agents.fake_heat import Heat
from quantfarm.metrics.speed import decode_rate
from quantfarm.nouns import DeviceProfile, Token
from quantfarm.statistics import steady

GIB = 2**30
Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    bandwidth_gib_s: float = 20.0
    prefill_tps: float = 500.0
    noise: float = 0.01
    sleep_s: float = 0.0
    fault: str = ""
    fault_runs: int = 10**9
    away: int = 0
    ppl: float = 10.0
    clock_s: float = 0.0
    idle_c: float = 35.0
    heat_c_per_s: float = 0.0
    cool_s: float = 120.0
    throttle_c: float = math.inf
    throttle_to: float = 1.0
    slow_per_c: float = 0.0


class FakeAgent:
    def __init__(self, profile: DeviceProfile) -> None:
        if not profile.simulated:
            raise AgentError(
                f"{profile.name}: a fake device must be marked `simulated: true`", stage="start", retryable=False
            )
        known = {field.name for field in fields(Script)}
        self.profile = profile
        self.script = Script(**{k: v for k, v in profile.options if k in known})  # pyright: ignore[reportArgumentType]
        self.runs = 0
        self.away = 0  # how often it will still be asked for in vain
        script = self.script
        self.heat = Heat(
            *(script.idle_c, script.heat_c_per_s, script.cool_s, script.throttle_c, script.throttle_to),
            slow_per_c=script.slow_per_c,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None],
        limit_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Exit:
        request: Mapping[str, Any] = json.loads(command[list(command).index("--request") + 1])
        if self.away:
            raise Vanished(f"{self.profile.name} is unplugged")
        self.runs += 1
        lines = [json.dumps(event) for event in _answer(request, self.script, self.heat, self.runs)]
        if self.script.fault and self.runs <= self.script.fault_runs:
            if self.script.fault == "unplug":
                self.away = self.script.away + 1
                raise Vanished(f"{self.profile.name} was unplugged")
            return _fault(self.script.fault, lines, on_line, limit_s)
        if _wait(self.script.sleep_s, limit_s, stopped):
            return Exit(
                code=-9, reason="stopped on request" if stopped() else f"took longer than its limit of {limit_s:g} s"
            )
        for line in lines:
            on_line(line)
        return Exit(code=0)

    def push(self, file: Path, sha256: str, on_progress: Progress = silent) -> str:
        del sha256, on_progress
        return str(file)

    def pull(self, path: str, to: Path) -> None:
        shutil.copyfile(path, to)

    def probe(self) -> Mapping[str, Any]:
        return {name: getattr(self.profile, name) for name in ("os", "chip", "cores", "memory_mib")}

    @contextmanager
    def lease(self, holder: str, on_wait: Callable[[str], None]) -> Iterator[Lease]:
        self.away = max(0, self.away - 1)
        if self.away:
            raise Unreachable(f"{self.profile.name} is not there")
        with leases.lease(f"fake-{self.profile.name}", holder, on_wait) as held:
            yield _Held(self, held.token)

    def close(self) -> None:
        """Nothing is kept open."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A lease that is lost when its device is unplugged."""

    agent: FakeAgent
    token: Token

    def held(self) -> bool:
        return self.agent.away == 0


def _wait(seconds: float, limit_s: float, stopped: Callable[[], bool]) -> bool:
    """Sleep; True when cut short."""
    end = time.monotonic() + min(seconds, limit_s)
    while (left := end - time.monotonic()) > 0:
        if stopped():
            return True
        time.sleep(min(0.05, left))
    return seconds > limit_s


def _fault(kind: str, lines: list[str], on_line: Callable[[str], None], limit_s: float) -> Exit:
    """What a broken run looks like from here: some of its lines, and a status that may lie."""
    for line in lines[: len(lines) // 2]:
        on_line(line)
    match kind:
        case "hang":
            return Exit(code=-9, reason=f"took longer than its limit of {limit_s:g} s")
        case "garbage":
            on_line("\x1b[31mSegmentation fault\x00 {not json")
            return Exit(code=0)
        case "oom":
            return Exit(code=-9)
        case "vanish":
            return Exit(code=0)
        case "crash":
            return Exit(code=-11, stderr="GGML_ASSERT failed")
        case _:
            end = {"event": "end", "t": 0, "ok": False, "stage": "run", "error": "scripted failure", "retryable": True}
            on_line(json.dumps(end))
            return Exit(code=1)


def _answer(request: Mapping[str, Any], script: Script, heat: Heat, run: int) -> Iterator[Event]:
    """All events of a good run, on a clock of its own."""
    seed = hashlib.sha256(f"{json.dumps(request, sort_keys=True)} {run}".encode()).hexdigest()
    clock = _Clock(random.Random(seed), script.noise, heat)  # noqa: S311 - noise, not a secret
    model = Path(str(request["model"]))
    size = model.stat().st_size if model.exists() else 10 * 2**20
    per_token = size / (script.bandwidth_gib_s * GIB)
    yield clock.at(
        0.0,
        event="begin",
        schema=1,
        clock="monotonic_ns",
        runner="fake",
        versions={"fake": "1"},
        system="simulated",
        clocks={"wall_ns": max(0, int((time.time() + script.clock_s) * 1e9))},
    )
    settings = {k: v for k, v in request.items() if k not in ("kind", "model", "text", "base_logits", "out")}
    facts = {"size": size, "n_params": size // 2, "n_vocab": 4096, "add_bos": True}
    yield clock.at(size / GIB, event="loaded", seconds=size / GIB, backend="simulated", settings=settings, model=facts)
    yield clock.memory("loaded", size)
    match request["kind"]:
        case "bench":
            yield from _bench(request, script, clock, per_token)
        case "app":
            yield from _app(request, script, clock, per_token)
        case "sustained":
            yield from _sustained(request, script, clock, per_token)
        case "quality":
            yield from _quality(request, script, clock)
        case other:
            yield clock.at(0, event="end", ok=False, stage="run", error=f"cannot simulate {other}", retryable=False)
            return
    yield clock.memory("end", size)
    if script.heat_c_per_s:
        yield from clock.temperatures
    yield clock.at(0.0, event="end", ok=True)


@dataclass(slots=True)
class _Clock:
    random: random.Random
    noise: float
    heat: Heat
    now: int = 0
    temperatures: list[Event] = field(default_factory=list[Event])

    def spend(self, seconds: float) -> float:
        """Noisy seconds of work, more of them when the device is too warm; never negative."""
        spent = max(1e-9, seconds * (1 + self.noise * self.random.gauss(0, 1)) / self.heat.speed)
        self._warm(spent)
        return spent

    def _warm(self, seconds: float) -> None:
        """Work for so long, noting the temperature each full second."""
        end = self.now + int(seconds * 1e9)
        while self.now < end:
            step = min(end, (self.now // 10**9 + 1) * 10**9) - self.now
            self.heat.spend(step / 1e9, load=1.0)
            self.now += step
            if self.now % 10**9 == 0:
                self.temperatures.append(self.at(0, event="sample", source="fake", values={"soc_c": self.heat.now_c}))

    def at(self, after: float, /, **event: Any) -> Event:
        self.now += int(after * 1e9)
        return {"t": self.now, **event}

    def memory(self, phase: str, size: int) -> Event:
        weights = size / 2**20
        values = {"hwm_mib": weights + 80, "rss_mib": weights + 80, "rss_anon_mib": 70.0, "rss_file_mib": weights + 10}
        return self.at(0, event="memory", phase=phase, majflt=0, estimated=False, **values)


def _bench(request: Mapping[str, Any], script: Script, clock: _Clock, per_token: float) -> Iterator[Event]:
    depth = int(request.get("n_depth") or 0)
    for repetition in range(int(request["repetitions"])):
        for event, tokens, each in (
            ("prefill", int(request["n_prompt"]), 1 / script.prefill_tps),
            ("decode", int(request["n_gen"]), per_token),
        ):
            if tokens:
                spent = clock.spend(tokens * each)
                yield clock.at(
                    0,
                    event=event,
                    mode="bench",
                    repetition=repetition,
                    tokens=tokens,
                    depth=depth,
                    seconds=spent,
                    until=clock.now,
                )


def _app(request: Mapping[str, Any], script: Script, clock: _Clock, per_token: float) -> Iterator[Event]:
    for repetition in range(int(request["repetitions"])):
        yield from _generated(request, script, clock, per_token, repetition)


def _generated(
    request: Mapping[str, Any], script: Script, clock: _Clock, per_token: float, repetition: int
) -> Iterator[Event]:
    """One prompt read and its tokens generated."""
    submit, tokens = clock.now, int(request["n_prompt"])
    seconds = clock.spend(tokens / script.prefill_tps)
    times = [clock.now]
    for _ in range(int(request["n_gen"]) - 1):
        clock.spend(per_token)
        times.append(clock.now)
    yield clock.at(0, event="prefill", mode="app", repetition=repetition, tokens=tokens, depth=0, seconds=seconds)
    yield clock.at(0, event="decode", mode="app", repetition=repetition, submit=submit, times=times)


def _sustained(request: Mapping[str, Any], script: Script, clock: _Clock, per_token: float) -> Iterator[Event]:
    """Back to back until the rates are steady, as runners/llama_cpp_sustained.py does."""
    runs, more, most = (int(request[name]) for name in ("runs", "more", "most"))
    sizes = {"n_prompt": int(request["n_prompt"]), "n_gen": int(request["n_gen"])}
    yield clock.at(0, event="sustained", runs=runs, more=more, most=most, **sizes)
    rates: list[float] = []
    until = min(runs, most)
    while len(rates) < until:
        for event in _generated(request, script, clock, per_token, len(rates)):
            if event["event"] == "decode":
                rates.append(decode_rate(event["times"]) or math.nan)
            yield event
        if len(rates) == until and not steady.judge(rates).steady:
            until = min(until + more, most)


def _quality(request: Mapping[str, Any], script: Script, clock: _Clock) -> Iterator[Event]:
    chunks, n_ctx = int(request.get("n_chunks") or 8), int(request["n_ctx"])
    text = str(request.get("text_sha256", ""))
    about = {
        "n_chunks": chunks,
        "n_ctx": n_ctx,
        "n_tokens": chunks * n_ctx,
        "add_bos": True,
        "bytes": chunks * n_ctx * 4,
    }
    yield clock.at(0, event="tokens", text_sha256=text, token_sha256=text, **about)
    scored = n_ctx - 1 - n_ctx // 2
    for index in range(chunks):
        nll = [abs(clock.random.gauss(math.log(script.ppl), 0.5)) for _ in range(scored)]
        yield clock.at(0, event="chunk", index=index, n=scored, nll=nll)
