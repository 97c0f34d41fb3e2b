"""From a request to something that can run: devices, model, text, plan. Starts nothing, writes nothing but the text."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agents import Agent, agent
from flows import building_host, calibrating, devices, environments, make, sources, texts
from flows.sources import Files
from quantfarm import calibration, planning, variants
from quantfarm.nouns import Plan
from quantfarm.planning import Texts
from quantfarm.sweeps import Sweep
from quantfarm.variants import Source
from storage.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`maker` is where variants are made, `host` this machine; `source_files` what they are made from. `requests`: of
    each task."""

    id: str
    sweep: Sweep
    plan: Plan
    source: Source
    source_files: Files
    text: Path
    requests: Mapping[str, Path]
    host: Agent
    maker: Agent

    @property
    def holder(self) -> str:
        return f"sweep {self.id} of {self.sweep.model}"


def plan(home: Home, sweep: Sweep) -> Plan:
    """The plan alone: measures nothing. Raises UsageError."""
    profiles = devices.chosen(home, sweep)
    source = sources.describe(sweep.model)
    return planning.plan(sweep, profiles, source, _hashes(home, sweep), partial(devices.unfit, home))


def _hashes(home: Home, sweep: Sweep) -> Texts:
    """Of what is measured on and learnt from. Raises UsageError."""
    return Texts(
        text=texts.sha256(texts.read(sweep)),
        calibration=texts.sha256(learnt) if (learnt := _calibration(sweep)) else "",
        requests={task: texts.sha256(file.read_bytes()) for task, file in _requests(home, sweep).items()},
    )


def _calibration(sweep: Sweep) -> bytes | None:
    """The text that variants are made with, where one of them needs it. Raises UsageError."""
    return texts.calibration(sweep) if variants.calibrated(sweep) else None


def _requests(home: Home, sweep: Sweep) -> Mapping[str, Path]:
    if not sweep.wanted_tasks:
        return {}
    from flows import task_requests  # noqa: PLC0415 - only where tasks are asked for

    return task_requests.requests(home, sweep)


def _host(home: Home) -> Agent:
    """This machine."""
    return agent(devices.known(home)[devices.LOCAL])


def check(home: Home, sweep: Sweep) -> None:
    """Every mistake of a request that can be found without fetching a model. Raises UsageError."""
    profiles = devices.chosen(home, sweep)
    texts.read(sweep)
    planning.check(sweep)
    building_host.host(home, sweep)
    learnt = _calibration(sweep)
    if sources.is_here(sweep.model):
        variants.variants(sweep.wanted_quants, sources.describe(sweep.model))
        environments.make(sweep, profiles)
        made = plan(home, sweep)
        if file := sources.file_of(sweep.model):
            make.check_text(_host(home), made, file, texts.keep(home, texts.read(sweep)), texts.name(sweep))
        _check_calibration(home, sweep, sources.describe(sweep.model), sources.file_of(sweep.model), learnt)


def _check_calibration(home: Home, sweep: Sweep, source: Source, gguf: Path | None, learnt: bytes | None) -> None:
    """Raises UsageError for a calibration text that has too few tokens for the model; they are counted where its
    GGUF is there."""
    if learnt:
        needed, called = variants.calibration_tokens(sweep, source.shape), texts.calibration_name(sweep)
        calibration.check_length(learnt, called, needed)
        if gguf:
            calibrating.check(_host(home), gguf, texts.keep(home, learnt), called, needed)


def new_id() -> str:
    """Sorts by time; of no other process, and of no other moment of this one."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}-{secrets.token_hex(2)}"


def prepare(home: Home, sweep: Sweep, sweep_id: str = "") -> Prepared:
    """`sweep_id`: of one that is gone on with. Downloads and converts the model where needed.

    Raises UsageError for what cannot be done as asked.
    """
    profiles = devices.chosen(home, sweep)
    text, learnt = texts.read(sweep), _calibration(sweep)
    # What a quantizer cannot do is said before anything is downloaded or installed.
    variants.variants(sweep.wanted_quants, sources.describe(sweep.model))
    environments.make(sweep, profiles)
    source, files = sources.fetch(sweep.model, **variants.sources(sweep))
    made = planning.plan(sweep, profiles, source, _hashes(home, sweep), partial(devices.unfit, home))
    kept = texts.keep(home, text)
    if files.gguf:
        make.check_text(_host(home), made, files.gguf, kept, texts.name(sweep))
    _check_calibration(home, sweep, source, files.gguf, learnt)
    return Prepared(
        id=sweep_id or new_id(),
        sweep=sweep,
        plan=made,
        source=source,
        source_files=replace(files, calibration=texts.keep(home, learnt) if learnt else None),
        text=kept,
        requests=_requests(home, sweep),
        host=_host(home),
        maker=building_host.host(home, sweep),
    )
