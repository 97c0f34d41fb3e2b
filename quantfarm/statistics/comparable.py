"""Which candidates may be compared with each other, and why the others may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.columns import Column
from quantfarm.statistics.dominance import Mask
from quantfarm.statistics.resample import MEMORY, SPEED, documents_of, has_chunks, is_accuracy

T = TypeVar("T", bound=Hashable)

NAMES = {
    SPEED: "decode speed",
    "bench_tg": "token generation speed",
    MEMORY: "peak memory",
    "ppl": "perplexity",
    "kld_mean": "KL divergence",
}


def reasons_against(
    candidates: Sequence[Candidate], columns: Mapping[str, Column], speed: str, quality: str
) -> list[str]:
    """For each candidate why it cannot be compared; empty when it can. `columns` of speed, memory and quality.

    Compared are those that have every figure, of the workloads and the text that most of them have.
    """
    usable = {metric: _usable(column, metric) for metric, column in columns.items()}
    whole = np.logical_and.reduce(list(usable.values())).tolist()
    reasons = [
        "" if whole[i] else _missing(c, {m: bool(usable[m][i]) for m in usable}) for i, c in enumerate(candidates)
    ]
    for metric in (speed, MEMORY):
        _odd_ones_out(candidates, reasons, _workload_of(metric), _other_workload(metric))
    if is_accuracy(quality):
        _odd_ones_out(candidates, reasons, _asked(quality), lambda own, usual: _other_documents(quality, own, usual))
    else:
        name = NAMES.get(quality, quality)
        _odd_ones_out(candidates, reasons, text_of, lambda own, usual: f"its {name} is {_said(own, usual)}")
    return reasons


def _odd_ones_out(
    candidates: Sequence[Candidate], reasons: list[str], of: Callable[[Candidate], T], say: Callable[[T, T], str]
) -> None:
    """Gives a reason to whoever has none yet and is not like most."""
    those = [i for i, reason in enumerate(reasons) if not reason]
    have = Counter(of(candidates[i]) for i in those)
    if len(have) < 2:
        return
    usual = max(sorted(have, key=repr), key=have.__getitem__)
    for i in those:
        if (own := of(candidates[i])) != usual:
            reasons[i] = say(own, usual)


def _missing(candidate: Candidate, usable: Mapping[str, bool]) -> str:
    wanted = [NAMES.get(metric, metric) for metric, has in usable.items() if not has]
    because = f" ({'; '.join(candidate.failures)})" if candidate.failures else ""
    return f"no {' and no '.join(wanted)}{because}"


def _usable(column: Column, metric: str) -> Mask:
    """Whose figure and launches are numbers, and such as have a logarithm where one is taken."""
    finite = np.isfinite(column.value) & np.isfinite(column.least) & np.isfinite(column.most)
    positive = np.minimum(column.value, column.least) > 0
    return finite & (positive | metric.startswith(("kld", "acc_")))


def _workload_of(metric: str) -> Callable[[Candidate], str]:
    return lambda candidate: candidate.workloads.get(metric, "")


def _other_workload(metric: str) -> Callable[[str, str], str]:
    name = NAMES.get(metric, metric)
    return lambda own, usual: f"its {name} is of '{own}', the others' of '{usual}'"


def _asked(metric: str) -> Callable[[Candidate], tuple[str, ...]]:
    return lambda candidate: tuple(documents_of(candidate, metric))


def _other_documents(metric: str, own: Sequence[str], usual: Sequence[str]) -> str:
    return f"its {metric} is of other documents ({len(own)}) than the others' ({len(usual)})"


def text_of(candidate: Candidate) -> tuple[str, tuple[int, ...]]:
    """What a loss was measured on: equal for those whose losses may be compared."""
    return candidate.text_sha256, candidate.chunk_tokens if has_chunks(candidate) else ()


def _said(own: tuple[str, tuple[int, ...]], usual: tuple[str, tuple[int, ...]]) -> str:
    if own[0] != usual[0]:
        return f"of another text ({own[0][:12] or 'unknown'}) than the others' ({usual[0][:12] or 'unknown'})"
    return f"of {len(own[1]) or 'no'} chunks of the text, the others' of {len(usual[1]) or 'none'}"
