"""What a night should measure, and why what it did not measure was not."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows import devices, prepare
from quantfarm.errors import FarmError
from quantfarm.nightly import metrics
from quantfarm.nightly.points import Point
from quantfarm.nightly.series import SeriesKey, key_of
from quantfarm.nightly.watchlist import WatchList
from quantfarm.nouns import Cell, Plan, Skip
from quantfarm.sweeps import Sweep
from storage import nights
from storage.home import Home
from storage.landing import Landings

#: How the plan begins the reason of a skip that a device's state causes; other skips are never measured.
WAITS = "waits:"
SILENT = "nothing landed"
#: A metric that was there in this share of the nights is missed when it is not, for so many nights.
REGULAR = 0.9
MISSED = 30

Series = Mapping[SeriesKey, list[Point]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is measured together: a series key without its metric. `reason`: why it was not measured this night."""

    subject: SeriesKey
    kind: str
    watch: Sweep
    cells: tuple[Cell, ...] = ()
    reason: str = ""

    @property
    def simulated(self) -> bool:
        return any(cell.profile.simulated for cell in self.cells)

    def keys(self, asked: tuple[str, ...], series: Series, night: str) -> Iterator[SeriesKey]:
        """The series to judge: what has data, or used to; of what was never measured the main one."""
        mine = [replace(self.subject, metric=metric) for metric in metrics.watched(self.kind, asked)]
        seen = {key: [point.night for point in series.get(key, ()) if point.night <= night] for key in mine}
        every = sorted({one for nights_of in seen.values() for one in nights_of})
        if not every and self.reason:
            yield mine[0]
        for key in mine:
            if seen[key] and _regular(seen[key], every):
                yield key


def _regular(seen: list[str], every: list[str]) -> bool:
    """Whether a metric that was measured in nights `seen` is to be expected in the last of `every` night.

    One that comes and goes, as of sensors that answer now and then, is judged where it is there; one that is gone for
    long is not missed any more.
    """
    until = sum(one <= seen[-1] for one in every)
    return until == len(every) or (len(seen) >= REGULAR * until and len(every) - until <= MISSED)


@dataclass(slots=True)
class Night:
    """What was asked for of a night. `failed`: watches that could not be planned or carried out, and why."""

    home: Home
    night: str
    plans: list[tuple[Sweep, Plan]] = field(default_factory=list[tuple[Sweep, Plan]])
    failed: list[tuple[Sweep, str]] = field(default_factory=list[tuple[Sweep, str]])

    @classmethod
    def of(cls, home: Home, night: str, watch_list: WatchList) -> Night:
        made = cls(home, night)
        for watch in watch_list.watches:
            try:
                made.plans.append((watch, prepare.plan(home, watch)))
            except FarmError as error:
                made.failed.append((watch, str(error)))
        return made

    def expected(self, series: Series) -> list[Expected]:
        """Each subject once, in the order of the watch list."""
        found: dict[SeriesKey, Expected] = {}
        for watch, plan in self.plans:
            for one in [*self._of_cells(watch, plan), *self._of_skips(watch, plan, series)]:
                found.setdefault(one.subject, one)
        for watch, why in self.failed:
            for one in self._of_history(watch, why, series):
                found.setdefault(one.subject, one)
        return list(found.values())

    def _of_cells(self, watch: Sweep, plan: Plan) -> Iterator[Expected]:
        cells: dict[SeriesKey, list[Cell]] = {}
        for cell in plan.cells:
            cells.setdefault(key_of(cell, ""), []).append(cell)
        for subject, mine in cells.items():
            mine.sort(key=lambda cell: cell.launch)
            reason = self._why_not(mine)
            yield Expected(subject=subject, kind=mine[0].workload.kind, watch=watch, cells=tuple(mine), reason=reason)

    def _why_not(self, cells: list[Cell]) -> str:
        """Of cells of which none is good: the last one's failure, else the state of their device."""
        landings = Landings(self.home)
        if any(landings.finished(cell.id, self.night) for cell in cells):
            return ""
        latest = [landed for cell in cells if (landed := landings.last(cell.id)) and landed.night == self.night]
        why = f"{latest[-1].outcome.stage}: {latest[-1].outcome.reason}" if latest else ""
        return why or devices.unfit(self.home, cells[0].profile).removeprefix(WAITS).strip() or SILENT

    def _of_skips(self, watch: Sweep, plan: Plan, series: Series) -> Iterator[Expected]:
        """Of skips, those that another night would measure: the device is not well, or it was measured before."""
        for skip in plan.skips:
            subject = _subject(watch, plan, skip)
            known = any(replace(key, metric="") == subject for key in series)
            if skip.reason.startswith(WAITS) or known:
                reason = skip.reason.removeprefix(WAITS).strip()
                yield Expected(subject=subject, kind=skip.workload.split()[0], watch=watch, reason=reason)

    def _of_history(self, watch: Sweep, why: str, series: Series) -> Iterator[Expected]:
        names = watch.devices or (devices.LOCAL,)
        models = (watch.model, Path(watch.model).stem)  # a file's model is called like it
        for key in series:
            if key.model in models and key.device in names:
                kind = key.workload.split()[0]
                yield Expected(subject=replace(key, metric=""), kind=kind, watch=watch, reason=why)


def _subject(watch: Sweep, plan: Plan, skip: Skip) -> SeriesKey:
    model = plan.cells[0].variant.model if plan.cells else watch.model
    return SeriesKey(
        device=skip.device, model=model, variant=skip.variant, runtime=skip.runtime, workload=skip.workload, metric=""
    )


def reproduce(home: Home, one: Expected) -> str:
    """The command that measures a subject again: of a sweep file that holds it alone. Empty where it has no cell."""
    if not one.cells:
        return ""
    cell = one.cells[0]
    own = ("text_sha256", "canary")  # filled in by the plan, not asked for
    settings = {name: value for name, value in cell.workload.settings.items() if name not in own}
    request: dict[str, Any] = one.watch.model_dump(mode="json", exclude_defaults=True)
    request |= {
        "model": one.watch.model,
        "quants": [cell.variant.quant],
        "devices": [cell.profile.name],
        "runtimes": [cell.runtime],
        "workloads": [{"kind": cell.workload.kind, **settings}],
        "launches": one.watch.wanted_launches,
        "fresh": True,
    }
    for name in ("tags", "suite", "common", "priority", "night"):
        request.pop(name, None)
    path = nights.keep_request(home, one.subject.id, request)
    command = shlex.join(["quantfarm", "sweep", str(path)])
    given = os.environ.get("QUANTFARM_HOME")
    return f"QUANTFARM_HOME={shlex.quote(str(home.root))} {command}" if given else command
