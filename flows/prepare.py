"""From a request to something that can run: devices, model, text, plan. Starts nothing, writes nothing but the text."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agents import Agent, agent
from flows import devices, make, sources, texts
from quantfarm import planning
from quantfarm.nouns import Plan
from quantfarm.planning import Source
from quantfarm.sweeps import Sweep
from storage.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`host` is where variants are made; `source_file` what they are made from."""

    id: str
    sweep: Sweep
    plan: Plan
    source: Source
    source_file: Path
    text: Path
    host: Agent

    @property
    def holder(self) -> str:
        return f"sweep {self.id} of {self.sweep.model}"


def plan(home: Home, sweep: Sweep) -> Plan:
    """The plan alone: touches nothing. Raises UsageError."""
    profiles = devices.chosen(home, sweep)
    text = texts.sha256(texts.read(sweep))
    return planning.plan(sweep, profiles, sources.describe(sweep.model), text, partial(devices.unfit, home))


def _host(home: Home) -> Agent:
    """Where variants are made: this machine."""
    return agent(devices.known(home)[devices.LOCAL])


def check(home: Home, sweep: Sweep) -> None:
    """Every mistake of a request that can be found without fetching a model. Raises UsageError."""
    devices.chosen(home, sweep)
    texts.read(sweep)
    planning.check(sweep)
    if sources.is_here(sweep.model):
        made = plan(home, sweep)
        if file := sources.file_of(sweep.model):
            make.check_text(_host(home), made, file, texts.keep(home, texts.read(sweep)), texts.name(sweep))


def new_id() -> str:
    """Sorts by time; of no other process, and of no other moment of this one."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}-{secrets.token_hex(2)}"


def prepare(home: Home, sweep: Sweep, sweep_id: str = "") -> Prepared:
    """`sweep_id`: of one that is gone on with. Downloads and converts the model where needed.

    Raises UsageError for what cannot be done as asked.
    """
    profiles = devices.chosen(home, sweep)
    text = texts.read(sweep)
    source, file = sources.fetch(sweep.model)
    made = planning.plan(sweep, profiles, source, texts.sha256(text), partial(devices.unfit, home))
    kept = texts.keep(home, text)
    make.check_text(_host(home), made, file, kept, texts.name(sweep))
    return Prepared(
        id=sweep_id or new_id(),
        sweep=sweep,
        plan=made,
        source=source,
        source_file=file,
        text=kept,
        host=_host(home),
    )
