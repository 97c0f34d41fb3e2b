"""Accuracy of one run on a task, as lm-eval defines acc and acc_norm (METHOD §2).

`acc`: the choice of the greatest log-likelihood is the right one; of equal ones the first counts. `acc_norm`: the
same by log-likelihood per character. A document with one continuation (LAMBADA) is right when that is the greedy one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from quantfarm.nouns import Measurement, Trace
from quantfarm.tasks import figure

#: 97.5th percentile of the standard normal distribution.
Z = 1.959964

Item = Mapping[str, Any]


def correct(item: Item) -> bool:
    if len(item["ll"]) == 1:
        return bool(item["greedy"][0])
    return _likeliest(item["ll"]) == item["gold"]


def correct_norm(item: Item) -> bool:
    return _likeliest([ll / max(1, n) for ll, n in zip(item["ll"], item["lengths"], strict=True)]) == item["gold"]


def margin(item: Item) -> float | None:
    """Nats from the likeliest wrong choice up to the right one; None where there is no wrong one."""
    wrong = [ll for k, ll in enumerate(item["ll"]) if k != item["gold"]]
    return item["ll"][item["gold"]] - max(wrong) if wrong else None


def _likeliest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927): inside [0, 1] and of use near its ends."""
    p, square = right / n, Z * Z / n
    middle = (p + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(p * (1 - p) / n + square / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def standard_error(groups: Sequence[Sequence[bool]]) -> float:
    """lm-eval's: sqrt(p(1 - p)/(n - 1)); of several groups (MMLU's subjects) its `pooled_sample_stderr`.

    0 where no spread can be had from so few.
    """
    sizes = [len(group) for group in groups]
    freedom = sum(sizes) - len(sizes)
    if freedom < 1:
        return 0.0
    squares = sum(n * _share(group) * (1 - _share(group)) for n, group in zip(sizes, groups, strict=True))
    return math.sqrt(squares / freedom / sum(sizes))


def _share(group: Sequence[bool]) -> float:
    return sum(group) / len(group)


def measure(trace: Trace) -> list[Measurement]:
    """acc_TASK and, where lm-eval has it, acc_norm_TASK (%), each with its standard error as …_stderr_TASK.

    The name says where it is of fewer documents than the benchmark has (`quantfarm.tasks.figure`). `n` is the
    documents, the interval Wilson's, `samples` the accuracy of each group in % where there are several. Nothing of
    an unfinished trace or of missing items.
    """
    asked, items = trace.first("tasks"), trace.of("item")
    if not trace.finished or not items or len(items) != asked.get("n_docs"):
        return []
    names = [name for name in ("acc", "acc_norm") if name in asked.get("metrics", ("acc",))]
    rules = {"acc": correct, "acc_norm": correct_norm}
    return [one for name in names for one in _figures(name, asked, items, [rules[name](item) for item in items])]


def _figures(name: str, asked: Item, items: Sequence[Item], right: Sequence[bool]) -> list[Measurement]:
    by_group: dict[str, list[bool]] = defaultdict(list)
    for item, good in zip(items, right, strict=True):
        by_group[item["group"]].append(good)
    groups = [by_group[group] for group in sorted(by_group)]
    n, low, high = len(items), *wilson(sum(right), len(items))
    # lm-eval weighs MMLU's subjects by their size: the mean over all documents.
    made = Measurement(
        metric=_name(name, asked, n),
        value=100 * sum(right) / n,
        unit="%",
        n=n,
        low=100 * low,
        high=100 * high,
        samples=tuple(100 * _share(group) for group in groups) if len(groups) > 1 else (),
        remark=_remark(asked, n),
    )
    error = Measurement(
        metric=_name(f"{name}_stderr", asked, n), value=100 * standard_error(groups), unit="%", n=n, remark=made.remark
    )
    return [made, error]


def _name(metric: str, asked: Item, n: int) -> str:
    return figure(metric, asked["task"], int(asked.get("n_shot") or 0), n, int(asked.get("whole") or 0))


def _remark(asked: Item, n: int) -> str:
    whole, cut = int(asked.get("whole") or 0), int(asked.get("truncated") or 0)
    said = [f"{n} of the {whole} items of {asked['task']}: a sample, not the benchmark" if whole not in (0, n) else ""]
    said.append(f"context cut in {cut} of {n} items" if cut else "")
    return "; ".join(text for text in said if text)
