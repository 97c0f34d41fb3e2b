"""A bisection as it is kept while it goes on: the question, the versions, what was measured; and what it comes to.

Nothing that follows from the values is kept: a bisection that was cut off goes on from them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum

from quantfarm import codec
from quantfarm.bisection.ratios import Measured, Ratio, Says, reproduced
from quantfarm.bisection.search import Answer, Search, Trial
from quantfarm.nightly.series import SeriesKey
from quantfarm.nouns import digest

#: Version of the files; a reader refuses what is newer than it knows.
SCHEMA = 1


class End(StrEnum):
    FOUND = "found"
    NOT_REPRODUCED = "not reproduced"  # good and bad are alike when measured now
    TOO_NOISY = "too noisy"  # good and bad cannot be told apart, however many pairs
    INSTALLATION = "installation"  # the bad version, made anew, is good: it is how the device's own was installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`good`, `bad`: versions of the package. `claimed`: bad ÷ good as a night found it. `cell`: one to measure.

    `falls`: whether worse is less. `pairs`: at a time.
    """

    series: SeriesKey
    package: str
    good: str
    bad: str
    cell: str
    pairs: int
    falls: bool
    claimed: float | None = None

    @property
    def id(self) -> str:
        return digest([asdict(self.series), self.package, self.good, self.bad, self.pairs])[:8]


@dataclass(slots=True, kw_only=True)
class Record:
    """`versions`: from good to bad; `dates`: when each was released, where that is known. `own`: versions that the
    device had installed itself. `anew`: the bad one, made anew, where that is one of them and the search ended there.
    """

    question: Question
    began_at: str  # ISO 8601, UTC
    versions: tuple[str, ...]
    dates: dict[str, str] = field(default_factory=dict[str, str])
    measured: dict[str, Measured] = field(default_factory=dict[str, Measured])
    own: list[str] = field(default_factory=list[str])
    anew: Measured | None = None
    unit: str = ""
    seconds: float = 0.0  # spent, by all that worked on it
    finished_at: str = ""

    def search(self) -> Search:
        return Search(versions=self.versions, measured=self.measured, batch=self.question.pairs)

    @property
    def bad(self) -> Measured:
        return self.measured.get(self.question.bad, Measured())

    def ends(self) -> Says | None:
        """Whether the bad version is bad now; None where it wants (more) pairs."""
        ratio = self.bad.ratio
        if ratio is None:
            return None
        says = reproduced(ratio, falls=self.question.falls, claimed=self.question.claimed)
        undecided = says is Says.UNDECIDED and ratio.pairs < self.search().most * self.question.pairs
        return None if undecided else says

    def wants_anew(self) -> bool:
        """Whether the bad version must be made anew: the search ended at one that the device had installed itself."""
        if self.question.bad not in self.own or self.search().bounds()[1] != len(self.versions) - 1:
            return False
        return self.anew_says() is None

    def anew_says(self) -> Says | None:
        """What the bad version, made anew, turned out to be; None where it wants (more) pairs."""
        if self.anew is None:
            return None
        aside = Search(
            versions=("good", "anew", "bad"), measured={"anew": self.anew, "bad": self.bad}, batch=self.question.pairs
        )
        trial = aside.trial("anew")
        return trial.says if trial else None

    def end(self) -> End | None:
        """How it ended; None: not yet."""
        match self.ends():
            case None:
                return None
            case Says.GOOD:
                return End.NOT_REPRODUCED
            case Says.BAD if self.search().next() is None and not self.wants_anew():
                return End.INSTALLATION if self.anew_says() is Says.GOOD else End.FOUND
            case Says.BAD:
                return None
            case _:
                return End.TOO_NOISY

    def answer(self) -> Answer | None:
        """The first bad version, where one was found."""
        return self.search().answer() if self.end() is End.FOUND else None

    def trials(self) -> list[Trial]:
        """Of all versions that were looked at; where good and bad are alike, of those two alone."""
        if self.ends() is Says.BAD:
            return self.search().trials()
        ratio = self.bad.ratio
        good = Trial(version=self.question.good, says=Says.GOOD)
        return (
            [good, Trial(version=self.question.bad, says=self.ends() or Says.UNDECIDED, ratio=ratio)] if ratio else []
        )

    @property
    def builds(self) -> int:
        """Versions that were tried, good and bad among them."""
        return len(self.measured) + 1 if self.measured else 0

    @property
    def ratio(self) -> Ratio | None:
        return self.bad.ratio


def dump(record: Record) -> bytes:
    return codec.dump(Record, record, SCHEMA)


def load(data: bytes) -> Record:
    """Raises ValueError for what is no bisection, or newer than this program knows."""
    return codec.load(Record, data, SCHEMA)
