"""Whether a device computes what others compute: the same chunks of the same file under the same runtime.

Quality is measured once for each artifact × runtime, on the device that judges; the others take a canary of a few
chunks. Where that differs from the judge's by more than backends do, the device's backend computes wrongly: how fast it
does so is no figure. Judged whenever figures are read, so that it holds for what landed long ago.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from quantfarm import health
from storage.chunks import chunks, texts
from storage.reading import Reader

if TYPE_CHECKING:
    from storage.runs import Figure, Run

#: Parameters that do not change what is computed, only how much of it and where.
ELSEWHERE = ("n_chunks", "threads", "n_gpu_layers", "canary")
#: How the reason of a failure begins whose figures are no numbers.
NO_NUMBER = "not a number"
NOTHING = "canary: no other device computed this file under this runtime, so there is nothing to compare it with"

Chunks = Sequence[tuple[int, float]]  # tokens scored, summed nll (nats)


@dataclass(frozen=True, slots=True)
class Quality:
    """A perplexity with its chunks."""

    run: Run
    chunks: Chunks

    def judges(self, other: Quality) -> bool:
        """The one of more chunks; of as many, the one that was there first. A canary judges nobody."""
        if self.run.device == other.run.device or is_canary(self.run):
            return False
        return is_canary(other.run) or self.before(other) < other.before(other)

    def before(self, other: Quality) -> tuple[int, bool, datetime, str]:
        """Judges of `other` in order: by chunks, then its own build, then age."""
        return (-len(self.chunks), self.run.build != other.run.build, self.run.time, self.run.cell)


def is_canary(run: Run) -> bool:
    """Planned to be compared, not to be the figure of its file."""
    return run.kind == "quality" and '"canary"' in run.parameters and bool(run.settings.get("canary"))


def judged(reader: Reader, runs: Sequence[Run], invalid: str) -> list[Run]:
    """The runs; the figures of those that a canary speaks against begin with `invalid`, and the reason.

    A device's newest canary (or perplexity) of an artifact under a runtime's build speaks for all that was measured
    of it there. Simulated devices compute nothing: they neither judge nor are judged.
    """
    found = _qualities(reader, runs)
    said = {one.run.cell: _said(one, others) for others in found for one in others}
    wrong = _wrong(runs, said)
    return [_marked(run, said, wrong, invalid) for run in runs]


def _qualities(reader: Reader, runs: Sequence[Run]) -> list[list[Quality]]:
    """Perplexities of the same file, text and settings under one runtime, where two devices have it or one waits."""
    by_file: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        if run.kind == "quality" and run.ok and run.artifact and not run.simulated:
            by_file[run.artifact, run.runtime].append(run)
    several = [run for these in by_file.values() if _several(these) for run in these]
    keys = [run.key for run in several]
    found, text = chunks(reader, keys), texts(reader, keys)
    alike: dict[tuple[str, ...], list[Quality]] = defaultdict(list)
    for run in several:
        if run.key in found:
            alike[*_asked(run), text.get(run.key, "")].append(Quality(run, list(zip(*found[run.key], strict=True))))
    return list(alike.values())


def _several(runs: Iterable[Run]) -> bool:
    runs = list(runs)
    return len({run.device for run in runs}) > 1 or any(is_canary(run) for run in runs)


def _asked(run: Run) -> tuple[str, ...]:
    same = {key: value for key, value in run.settings.items() if key not in ELSEWHERE}
    return (run.artifact or "", run.runtime, json.dumps(same, sort_keys=True))


def _said(one: Quality, others: Sequence[Quality]) -> str | None:
    """What is wrong with it; empty: nothing. None where nobody can judge it."""
    judges = [other for other in others if other.judges(one)]
    if not judges:
        return None
    judge = min(judges, key=lambda other: other.before(one))
    n = min(len(one.chunks), len(judge.chunks))
    return _differs(one, judge, n)


def _differs(one: Quality, judge: Quality, n: int) -> str:
    mine, theirs = one.chunks[:n], judge.chunks[:n]
    where = f"{judge.run.device}" + (f" (by {judge.run.build})" if judge.run.build != one.run.build else "")
    if [tokens for tokens, _ in mine] != [tokens for tokens, _ in theirs]:
        return f"canary: it scored other tokens than {where} in the same text"
    value, expected = perplexity(mine), perplexity(theirs)
    if not math.isfinite(value) or health.unlike(value, expected):
        return (
            f"canary: perplexity {value:.6g} over {n} chunks, {expected:.6g} on {where}: "
            "this device's backend computes wrongly"
        )
    return ""


def perplexity(chunks: Chunks) -> float:
    """exp(mean nll) over all tokens of these chunks; infinite where no number is that large."""
    mean = math.fsum(nll for _, nll in chunks) / sum(n for n, _ in chunks)
    try:
        return math.exp(mean)
    except OverflowError:
        return math.inf


def _wrong(runs: Sequence[Run], said: Mapping[str, str | None]) -> dict[tuple[str | None, ...], str]:
    """By device, artifact, runtime and build: what the newest that could be judged says, where that is bad."""
    newest: dict[tuple[str | None, ...], str] = {}
    for run in sorted(runs, key=lambda run: run.time):
        word = f"canary: {run.reason}" if _no_number(run) else said.get(run.cell)
        if word is not None:
            newest[_whose(run)] = word
    return {whose: word for whose, word in newest.items() if word}


def _no_number(run: Run) -> bool:
    """A perplexity that is no number is what a broken backend computes, too."""
    return run.kind == "quality" and not run.simulated and not run.ok and run.reason.startswith(NO_NUMBER)


def _whose(run: Run) -> tuple[str | None, ...]:
    return (run.device, run.artifact, run.runtime, run.build)


def _marked(run: Run, said: Mapping[str, str | None], wrong: Mapping[tuple[str | None, ...], str], invalid: str) -> Run:
    """A perplexity is judged by itself; all else by the device's newest."""
    if run.kind == "quality":
        word = said.get(run.cell)
        if word is None and is_canary(run) and not run.simulated:
            return _remarked(run, NOTHING, "")
    else:
        word = wrong.get(_whose(run))
    return _remarked(run, word, invalid) if word else run


def _remarked(run: Run, word: str, invalid: str) -> Run:
    prefix = f"{invalid} {word}".strip()

    def with_it(figure: Figure) -> Figure:
        before = figure.remark.removeprefix(invalid).strip() if invalid else figure.remark
        return replace(figure, remark="; ".join(text for text in (prefix, before) if text))

    return replace(run, figures={metric: with_it(figure) for metric, figure in run.figures.items()})
