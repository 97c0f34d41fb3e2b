"""Candidates, frontiers and defaults as several views show them: worked out once for each version of the results."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import store
from quantfarm.candidates import Candidate, named
from quantfarm.decide import Recommendation, recommend
from quantfarm.decide.versus import Taken
from quantfarm.report import columns, names
from quantfarm.report.columns import QUALITY, TASKS
from quantfarm.report.conditions import power_mode
from quantfarm.statistics.frontier import Frontier, pareto
from quantfarm.statistics.tasks import Difference, against_base
from storage.behind import Behind, behind, of, taken
from storage.candidates import candidates
from storage.measured import Measured, measured
from storage.reading import Reader

#: Speeds that a frontier can be of, the one that a default rests on first; batches follow.
SPEEDS = ("decode_tps", "bench_tg", "bench_pp", "sustained_steady", "sustained_first", "speculative_tps")
#: Qualities that can be compared on one text, the one that a default rests on first; accuracies follow.
QUALITIES = ("ppl", "kld_mean")


def known() -> list[Measured]:
    """Raises NoResults."""
    return store.ask(measured)


def of_device(device: str, model: str, mode: str = "") -> list[Candidate]:
    """In one power mode, or in all of them."""
    found = named(store.ask(candidates, device=device, model=model))
    return [c for c in found if not mode or power_mode(c.conditions) == mode]


def modes(everyone: Sequence[Candidate]) -> list[str]:
    """The power mode of most candidates first."""
    found = [power_mode(c.conditions) for c in everyone if c.figures]
    return sorted(set(found), key=lambda mode: (-found.count(mode), mode))


def speeds(everyone: Sequence[Candidate]) -> list[str]:
    have = {metric for c in everyone for metric in c.figures}
    return [m for m in SPEEDS if m in have] + sorted(m for m in have if names.BATCH.fullmatch(m))


def qualities(everyone: Sequence[Candidate]) -> list[str]:
    have = [column.metric for column in columns.columns(everyone) if column.table in (QUALITY, TASKS)]
    return [m for m in QUALITIES if m in have] + [m for m in have if columns.task(m)]


def frontier(device: str, model: str, mode: str, quality: str, speed: str) -> Frontier:
    return store.ask(_frontier, device, model, mode, quality, speed)


def _frontier(reader: Reader, device: str, model: str, mode: str, quality: str, speed: str) -> Frontier:
    del reader  # of_device asks the same version
    return pareto(of_device(device, model, mode), quality=quality, speed=speed)


def default(
    device: str, model: str, mode: str, max_ram: float | None, min_quality: float, min_speed: float
) -> Recommendation:
    return store.ask(_default, device, model, mode, max_ram, min_quality, min_speed)


def _default(
    reader: Reader, device: str, model: str, mode: str, max_ram: float | None, min_quality: float, min_speed: float
) -> Recommendation:
    del reader
    everyone = of_device(device, model, mode)
    return recommend(everyone, max_ram_mib=max_ram, min_quality=min_quality, min_speed=min_speed)


def task_differences(device: str, model: str) -> list[Difference]:
    return store.ask(_task_differences, device, model)


def _task_differences(reader: Reader, device: str, model: str) -> list[Difference]:
    del reader
    return against_base(of_device(device, model))


def measurement(candidate: Candidate, *metrics: str) -> Behind | None:
    """The first launch behind the first of the metrics that the candidate has."""
    for metric in metrics:
        if metric in candidate.figures:
            found = of(candidate, metric, store.ask(behind, candidate.device, candidate.model, metric))
            if found:
                return found[0]
    return None


def launches(c: Candidate) -> dict[str, list[Taken]]:
    """When the launches behind a candidate's figures were, by metric."""
    found = store.ask(taken, c.device, c.model, c.variant, c.runtime, c.build)
    return {metric: these for (metric, workload), these in found.items() if c.workloads.get(metric) == workload}
