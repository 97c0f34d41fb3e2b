"""A night from its watch list to its report: sweep, judge, measure again, write down. No Prefect but the sweep's."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from flows import night_expected, nightly_files
from flows.confirm import Confirming
from flows.lanes import never
from flows.night_expected import Expected, Night, Series
from flows.progress import tell
from quantfarm.errors import UsageError
from quantfarm.nightly import evidence, judge, metrics
from quantfarm.nightly.candidates import Candidate, Rules
from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.nightly.watchlist import PRIORITY, WatchList
from quantfarm.sweeps import NIGHT, Sweep
from storage import nights
from storage.home import Home
from storage.ingest import ingest
from storage.lock import locked
from storage.reading import NoResults, Reader

#: What is counted of the night's sweeps.
COUNTS = ("ok", "failed", "known", "waiting", "skipped")
#: Windows of nights that are read back: more than the judge looks through, for series that have gaps.
HISTORY = judge.WINDOWS + 1
#: Verdicts that a person may want to measure again.
NO_NEWS = frozenset({Kind.UNCHANGED, Kind.YOUNG})
#: A night waits for another one of the same home as long as that takes.
FOR_EVER_S = 10 * 365 * 86400.0

#: Carries out a sweep's request and returns its counts, or why it could not be carried out.
Sweeper = Callable[[Mapping[str, Any]], Mapping[str, Any] | str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A night to measure."""

    night: str
    watch_list: WatchList

    @property
    def rules(self) -> Rules:
        given = self.watch_list
        return Rules(window=given.window, magnitude=given.magnitude, alert=given.alert)


def asked(home: Home, night: str | None = None, watch_list: str | None = None) -> Asked:
    """Raises UsageError for a watch list or a date that is none."""
    found = nightly_files.read(home, watch_list)
    metrics.check(found.metrics, str(nightly_files.path(home, watch_list)))
    if night:
        with contextlib.suppress(ValueError):
            if re.fullmatch(NIGHT, night) and date.fromisoformat(night):
                return Asked(night, found)
        raise UsageError(f"'{night}' is no night: give its date, as {nightly_files.tonight(found)}")
    return Asked(nightly_files.tonight(found), found)


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """One night at a time; another one is waited for."""
    path = home.folder("nights") / "nightly.lock"
    with locked(path, wait_s=FOR_EVER_S, on_wait=lambda who: tell("waiting", f"a night is measured by {who}")):
        yield


def _note(text: str) -> None:
    tell("note", text)


@dataclass(slots=True)
class Measuring:
    """One night while it is measured. `sweeper` carries out the sweeps."""

    home: Home
    asked: Asked
    sweeper: Sweeper
    stopped: Callable[[], bool] = never
    say: Callable[[str], None] = _note
    counts: Counter[str] = field(default_factory=Counter[str])
    sweeps: list[str] = field(default_factory=list[str])

    def report(self) -> NightReport:
        """Measures what is not there yet of the night, and keeps its report. Raises FarmError."""
        began = _now()
        night = Night.of(self.home, self.asked.night, self.asked.watch_list)
        for watch, why in list(night.failed):
            self.say(f"{_named(watch)}: {why}")
        for watch, _ in night.plans:
            self._sweep(watch, night)
        ingest(self.home)
        series = self._series()
        verdicts = self._verdicts(night.expected(series), series)
        report = NightReport(
            night=self.asked.night,
            began_at=began,
            finished_at=_now(),
            sweeps=tuple(self.sweeps),
            counts={name: self.counts[name] for name in COUNTS},
            verdicts=tuple(verdicts),
        )
        nights.keep(self.home, report)
        ingest(self.home)
        return report

    def _sweep(self, watch: Sweep, night: Night) -> None:
        asked = watch.model_copy(update={"night": self.asked.night, "priority": PRIORITY})
        done = self.sweeper(asked.model_dump(mode="json"))
        if isinstance(done, str):
            self.say(f"{_named(watch)}: {done}")
            night.failed.append((watch, done))
            return
        self.sweeps.append(str(done.get("sweep", "")))
        self.counts.update({name: int(done.get(name, 0)) for name in COUNTS})

    def _series(self) -> Series:
        try:
            with Reader(self.home) as reader:
                return nights.series(reader, nights=HISTORY * self.asked.watch_list.window)
        except NoResults:
            return {}

    def _verdicts(self, expected: list[Expected], series: Series) -> list[Verdict]:
        earlier = judge.told(nights.reports(self.home, {}), self.asked.night)
        judged = [(one, self._judged(one, key, series, earlier)) for one in expected for key in self._keys(one, series)]
        candidates = [found for _, found in judged if isinstance(found, Candidate)]
        if candidates:
            self.say(f"{len(candidates)} series may have changed: measuring them again")
        confirmed = evidence.conclude(self._confirming().all(candidates), self.asked.rules)
        verdicts = dict(zip(map(id, candidates), confirmed, strict=True))
        return [
            self._with_command(one, found if isinstance(found, Verdict) else verdicts[id(found)])
            for one, found in judged
        ]

    def _keys(self, one: Expected, series: Series):
        return one.keys(self.asked.watch_list.metrics, series, self.asked.night)

    def _judged(
        self, one: Expected, key: SeriesKey, series: Series, earlier: Mapping[SeriesKey, list[Verdict]]
    ) -> judge.Judged:
        night, points = self.asked.night, [point for point in series.get(key, ()) if point.night <= self.asked.night]
        if points and points[-1].night == night:
            return judge.judge(night, key, points, earlier.get(key, ()), self.asked.rules)
        reason = one.reason or f"it was measured, and gave no {key.metric}"
        return judge.no_data(night, key, reason, points, earlier.get(key, ()), simulated=one.simulated)

    def _confirming(self) -> Confirming:
        return Confirming(
            home=self.home,
            night=self.asked.night,
            pairs=self.asked.watch_list.pairs,
            holder=f"nightly {self.asked.night}",
            priority=PRIORITY,
            stopped=self.stopped,
            tell=self.say,
        )

    def _with_command(self, one: Expected, verdict: Verdict) -> Verdict:
        if verdict.kind in NO_NEWS:
            return verdict
        return replace(verdict, reproduce=night_expected.reproduce(self.home, one))


def _named(watch: Sweep) -> str:
    return f"{watch.model} on {', '.join((*watch.devices, *watch.tags)) or 'this machine'}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
