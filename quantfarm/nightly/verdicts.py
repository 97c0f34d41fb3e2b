"""What a night says of a series. Nouns alone: judging is `judge.py`, telling is `message.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from quantfarm import codec
from quantfarm.nightly.series import SeriesKey

#: Version of the files; a reader refuses what is newer than it knows.
SCHEMA = 1


class Kind(StrEnum):
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    NOISE = "noise"  # a candidate that its rerun did not confirm
    NOT_COMPARABLE = "not comparable"  # the series forked, and old and new cannot be measured side by side
    NO_DATA = "no data"  # it should have been measured and was not
    UNCHANGED = "unchanged"
    YOUNG = "young"  # too few nights since the last fork to say anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where a series stands. `low`, `high`: 95 % interval of the median, None below six values."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int = 1  # values behind it: nights, or launches of a rerun
    nights: tuple[str, str] = ("", "")  # the first and the last of it
    cell: str = ""  # one cell of it, to look up
    build: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What measuring again said. `ratio` = new ÷ old with its 95 % interval, None where n is too small for one.

    `how`: `interleaved` (old and new, ABBA, tonight), `repeat` (the new alone, against the nights before).
    """

    how: str
    ratio: float
    p: float
    n: int  # pairs, or launches
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`ratio` is new ÷ old by the nights (by the rerun, where the series forked). `p` by the detector or the rerun.

    `changed`: what differs between old and new of what is recorded: name -> (was, is). `suspect` says it in words.
    `reproduce`: the command that measures the new once more.
    """

    series: SeriesKey
    kind: Kind
    reason: str
    night: str
    old: Level | None = None
    new: Level | None = None
    ratio: float | None = None
    p: float | None = None
    first_bad: str = ""  # the first night of the new level
    last_good: str = ""
    confirmation: Confirmation | None = None
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    suspect: str = ""
    reproduce: str = ""
    simulated: bool = False  # measured on a fake device

    @property
    def alerts(self) -> bool:
        """Whether a person must hear of it."""
        return self.kind in (Kind.REGRESSION, Kind.NO_DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """One night, whole: what was measured, and a verdict for each series of the watch list."""

    night: str  # ISO date
    began_at: str  # ISO 8601, UTC
    finished_at: str
    sweeps: tuple[str, ...] = ()  # ids of the sweeps that measured it
    counts: Mapping[str, int] = field(default_factory=dict[str, int])  # ok, failed, known, waiting, skipped
    verdicts: tuple[Verdict, ...] = ()

    @property
    def regressions(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.kind is Kind.REGRESSION]

    @property
    def silent(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.kind is Kind.NO_DATA]

    @property
    def improvements(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.kind is Kind.IMPROVEMENT]


def dump(report: NightReport) -> bytes:
    return codec.dump(NightReport, report, SCHEMA)


def load(data: bytes) -> NightReport:
    """Raises ValueError for what is no report, or newer than this program knows."""
    return codec.load(NightReport, data, SCHEMA)
