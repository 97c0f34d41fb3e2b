"""Which workload a metric is taken from where several give it: the same for all variants, so that they compare."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quantfarm.marks import unusual
from quantfarm.suites import QUALITY
from storage.figures import Joined, join
from storage.runs import Run

Question = tuple[str, str, str]  # kind, label, every parameter
Ranking = Mapping[tuple[str, Question], tuple[Any, ...]]  # (metric, question) -> the larger the better

#: Among equals, what a person feels before a benchmark's figure.
KINDS = ("quality", "bench", "app")


@dataclass(frozen=True, slots=True)
class Choice:
    """A metric as taken from `runs`: all of one workload."""

    joined: Joined
    runs: tuple[Run, ...]

    @property
    def run(self) -> Run:
        return self.runs[0]


def question(run: Run) -> Question:
    return (run.kind, run.workload, run.parameters)


def ranking(peers: Sequence[Run]) -> Ranking:
    """The usual context first (depth 0 too), then what was measured of most variants, in most launches, over most
    tokens; quality, which needs one launch, over most tokens at once."""
    variants: dict[tuple[str, Question], set[str]] = defaultdict(set)
    launches: Counter[tuple[str, Question]] = Counter()
    scored: dict[tuple[str, Question], int] = defaultdict(int)
    for run in peers:
        for metric, figure in run.figures.items():
            key = (metric, question(run))
            variants[key].add(run.variant)
            launches[key] += 1
            scored[key] = max(scored[key], figure.n)
    return {
        (metric, asked): (
            *(_usual(asked), len(found), launches[metric, asked] * (asked[0] not in QUALITY)),
            *(scored[metric, asked], _kind(asked)),
        )
        for (metric, asked), found in variants.items()
    }


def _usual(asked: Question) -> int:
    """The fewer parameters are not the usual ones (threads among them, as the label says), the larger."""
    _, label, settings = asked
    return -_unusual(settings) - bool(re.search(r" t[0-9]+$", label))


@lru_cache(maxsize=1024)
def _unusual(settings: str) -> int:
    return unusual(json.loads(settings))


def _kind(asked: Question) -> int:
    return KINDS.index(asked[0]) if asked[0] in KINDS else -1


def choose(runs: Sequence[Run], rank: Ranking, home: Run) -> dict[str, Choice]:
    """For each metric that the runs have, the best-ranked workload among theirs. `home`: whose candidate it is."""
    asked: dict[str, dict[Question, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for metric in run.figures:
            asked[metric][question(run)].append(run)
    chosen: dict[str, Choice] = {}
    for metric, by_question in asked.items():
        best = max(by_question, key=lambda q: (rank[metric, q], q))
        used = _used(by_question[best], metric, home)
        if joined := join(used, metric):
            chosen[metric] = Choice(joined, tuple(used))
    return chosen


def _used(runs: Sequence[Run], metric: str, home: Run) -> Sequence[Run]:
    """All launches of a speed cell; one run of a quality cell: a valid one, its own device's, then the newest."""
    if runs[0].kind not in QUALITY:
        return runs

    def order(run: Run) -> tuple[Any, ...]:
        return (run.figures[metric].valid, run.build == home.build, run.device == home.device, run.time)

    return [max(runs, key=order)]
