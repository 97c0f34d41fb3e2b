"""Asks: each device under its lease, its variants one after the other; several devices at the same time."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from agents import Agent, agent
from flows.answers import keeping, placing
from flows.answers.preparing import Asked, Question
from flows.stopping import Stopped
from quantfarm.answers import Answer, Writer, from_events
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile
from quantfarm.runtimes import runtime
from storage.home import Home

LIMIT_S = 3600.0


class Listener(Protocol):
    """Told from several threads."""

    def waiting(self, device: str, who: str) -> None: ...
    def piece(self, writer: Writer, text: str) -> None: ...
    def answered(self, answer: Answer) -> None: ...
    def failed(self, writer: Writer, why: str) -> None: ...


def ask(
    home: Home,
    question: Question,
    on: Mapping[DeviceProfile, Sequence[Asked]],
    listener: Listener,
    stop: threading.Event,
    keep: bool = False,
) -> tuple[list[Answer], dict[Writer, str]]:
    """All answers in the order of devices, variants and prompts; and why some variants gave none.

    `keep`: what was answered before is taken, what is answered now is kept. Raises Stopped.
    """
    with ThreadPoolExecutor(len(on), thread_name_prefix="ask") as pool:
        lanes = [pool.submit(_lane, home, question, asked, listener, stop, keep) for asked in on.values()]
        try:
            done = [lane.result() for lane in lanes]
        except BaseException:
            stop.set()
            raise
    failed = {writer: why for _, lost in done for writer, why in lost.items()}
    return [answer for found, _ in done for answer in found], failed


def _lane(
    home: Home, question: Question, asked: Sequence[Asked], listener: Listener, stop: threading.Event, keep: bool
) -> tuple[list[Answer], dict[Writer, str]]:
    """One device. A variant that fails stops no other."""
    device, found, failed = agent(asked[0].cell.profile), list[Answer](), dict[Writer, str]()
    told, leased = list[str](), False

    def on_wait(who: str) -> None:
        if stop.is_set():
            raise Stopped("stopped before anything was asked")
        if who not in told:
            told.append(who)
            listener.waiting(device.profile.name, who)

    with contextlib.ExitStack() as held:
        held.callback(device.close)
        for one in asked:
            by = writer(one)
            known = keeping.known(home, by, question) if keep else {}
            missing = [prompt for prompt in question.prompts if prompt not in known]
            try:
                if missing and not leased:
                    held.enter_context(device.lease(question.holder, on_wait))
                    leased = True
                fresh = _one(home, device, one, missing, question, listener, stop) if missing else []
            except Stopped:
                raise
            except FarmError as error:
                failed[by] = str(error)
                listener.failed(by, str(error))
                continue
            if keep:
                keeping.keep(home, fresh)
            answers = {**known, **{answer.prompt: answer for answer in fresh}}
            found += [answers[prompt] for prompt in question.prompts]
            for answer in known.values():
                listener.answered(answer)
    return found, failed


def writer(one: Asked) -> Writer:
    cell = one.cell
    return Writer(
        device=cell.profile.name,
        model=cell.variant.model,
        variant=cell.variant.name,
        artifact=one.artifact.sha256,
        runtime=cell.runtime,
        build=cell.build,
    )


def _one(
    home: Home, device: Agent, one: Asked, prompts: Sequence[str], question: Question, listener: Listener,
    stop: threading.Event,
) -> list[Answer]:  # fmt: skip
    """Every prompt to one variant, in one process. Raises FarmError with what the runtime said."""
    under, by, lines = runtime(one.cell.runtime), writer(one), list[str]()
    there = placing.placed(home, device, one, {"requests": keeping.prompts_file(home, prompts)})
    events = _Events(by, question, prompts, listener)

    def take(line: str) -> None:
        lines.append(line)
        events.take(line)

    left = device.run(under.command(one.cell, there), on_line=take, limit_s=LIMIT_S, stopped=stop.is_set)
    if stop.is_set():
        raise Stopped("stopped")
    trace = under.parse(lines)
    if not trace.finished or len(events.answers) < len(prompts):
        said = left.stderr.strip().splitlines()[-1:] or [f"exit status {left.code}"]
        raise FarmError(f"{by.label}: {trace.first('end').get('error') or left.reason or said[0]}")
    return events.answers


class _Events:
    """Tells the listener while the run goes on."""

    def __init__(self, by: Writer, question: Question, prompts: Sequence[str], listener: Listener) -> None:
        self.by, self.question, self.prompts, self.listener = by, question, prompts, listener
        self.answers: list[Answer] = []
        self._seen: list[Mapping[str, Any]] = []

    def take(self, line: str) -> None:
        with contextlib.suppress(ValueError):  # what is no event is the parser's to refuse, once it is over
            event = json.loads(line)
            if event.get("event") in ("prompt", "piece", "answer"):
                self._told(event)

    def _told(self, event: Mapping[str, Any]) -> None:
        self._seen.append(event)
        if event["event"] == "piece":
            self.listener.piece(self.by, str(event["text"]))
        elif event["event"] == "answer":
            at = datetime.now(UTC).isoformat(timespec="seconds")
            [answer] = from_events(self._seen, self.by, self.question.manner, self.prompts, at)
            self._seen.clear()
            self.answers.append(answer)
            self.listener.answered(answer)
