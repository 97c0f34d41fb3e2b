"""Candidates from the store: one variant under one runtime on one device, with all that a decision needs."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantfarm.candidates import Candidate
from quantfarm.statistics.paired import Answers
from quantfarm.suites import QUALITY
from storage.canaries import is_canary
from storage.choice import Choice, Ranking, choose, ranking
from storage.chunks import Key, chunks, texts
from storage.figures import NO_INTERVAL
from storage.items import answers
from storage.reading import Reader
from storage.runs import Run, check_device, read_runs


def candidates(
    reader: Reader, device: str | None = None, model: str | None = None, *, with_items: bool = True
) -> list[Candidate]:
    """Every candidate with its newest artifact and build, by device, model, bits per weight and runtime.

    Where several workloads give a metric, that of depth 0 and the most measurements among the variants of the
    model is taken, for all alike: `workloads` says which. Quality measured on any device counts for all that
    have the artifact and runtime. A figure whose every launch is invalid is left out, `failures` says why.
    `with_items`: with the answers of tasks, which are many. Raises UsageError for unknown names.
    """
    check_device(reader, device)
    runs = [run for run in read_runs(reader, model, device) if not (run.ok and is_canary(run))]
    return of_runs(reader, runs, device, with_items=with_items)


def of_runs(
    reader: Reader, runs: Sequence[Run], device: str | None = None, *, with_items: bool = True
) -> list[Candidate]:
    """Those that these runs make, and no others."""
    pool = _Pool(runs)
    picked = [pool.picked(group) for group in pool.groups if device in (None, group[0].device)]
    loss = _losses(reader, picked)
    items = answers(reader, [one.good for one in picked]) if with_items else [{} for _ in picked]
    found = [_candidate(*one) for one in zip(picked, loss, items, strict=True)]
    return sorted(found, key=lambda c: (c.device, c.model, -c.bits_per_weight, c.variant, c.runtime))


class _Pool:
    """Runs by what they are looked up by."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.groups = _groups(runs)
        self._quality: dict[tuple[str, ...], list[Run]] = defaultdict(list)  # by model and runtime
        self._file: dict[tuple[str, ...], list[Run]] = defaultdict(list)  # of these the ones of an artifact
        self._own: dict[tuple[str, ...], list[Run]] = defaultdict(list)  # by device, model and runtime
        for run in runs:
            if run.kind in QUALITY and run.ok:
                self._quality[run.model, run.runtime].append(run)
                self._file[run.model, run.runtime, run.artifact or ""].append(run)
        for group in self.groups:
            self._own[_whose(group[0])].extend(group)
        self._rankings: dict[tuple[str, ...], Ranking] = {}

    def picked(self, group: Sequence[Run]) -> _Picked:
        newest = max(group, key=lambda run: (run.ok, bool(run.artifact), run.time))
        chosen = choose([*group, *self._quality_elsewhere(newest)], self._ranking(newest), newest)
        return _Picked(group, newest, chosen, {m: choice for m, choice in chosen.items() if choice.joined.valid})

    def _ranking(self, like: Run) -> Ranking:
        """Over whatever the candidates of this device, model and runtime may take figures from."""
        whose = _whose(like)
        if whose not in self._rankings:
            peers = (*self._own[whose], *self._quality[like.model, like.runtime])
            self._rankings[whose] = ranking(list({run.cell: run for run in peers}.values()))
        return self._rankings[whose]

    def _quality_elsewhere(self, like: Run) -> list[Run]:
        """Quality of the same file under the same runtime, measured on other devices or by another build."""
        if not like.artifact:
            return []
        found = self._file[like.model, like.runtime, like.artifact]
        return [run for run in found if (run.device, run.build) != (like.device, like.build)]


@dataclass(frozen=True, slots=True)
class _Picked:
    """What a candidate is made of: its runs, and from which of them each figure is; `good`: those that are valid."""

    group: Sequence[Run]
    newest: Run
    chosen: Mapping[str, Choice]
    good: Mapping[str, Choice]


def _whose(run: Run) -> tuple[str, ...]:
    return (run.device, run.model, run.runtime)


def _groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs by device, model, variant and runtime: of each the newest artifact and build alone."""
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.device, run.model, run.variant, run.runtime].append(run)
    return [_newest(group) for group in groups.values()]


def _newest(group: Sequence[Run]) -> list[Run]:
    newest = max(group, key=lambda run: run.time)
    return [run for run in group if (run.recipe, run.build) == (newest.recipe, newest.build)]


def _candidate(picked: _Picked, loss: Mapping[str, Any], items: Mapping[str, Answers]) -> Candidate:
    group, newest, chosen, good = picked.group, picked.newest, picked.chosen, picked.good
    decided = good.get("decode_tps") or good.get("bench_tg")  # what a recommendation rests on
    return Candidate(
        device=newest.device,
        model=newest.model,
        variant=newest.variant,
        runtime=newest.runtime,
        build=newest.build,
        **_artifact(newest),
        figures={metric: choice.joined.summary for metric, choice in good.items()},
        units={metric: choice.joined.unit for metric, choice in good.items()},
        launches={metric: choice.joined.values for metric, choice in good.items()},
        workloads={metric: choice.run.workload for metric, choice in good.items()},
        remarks={metric: remark for metric, choice in chosen.items() if (remark := _remark(choice, newest))},
        **loss,
        items=items,
        conditions=_conditions(group),
        simulated=any(run.simulated for run in group),
        failures=_failures(group, chosen),
        reproduce=_command(decided.run if decided else newest),
    )


def _artifact(run: Run) -> dict[str, Any]:
    return {
        "artifact": run.artifact or "",
        "size": run.size or 0,
        "bits_per_weight": run.bits_per_weight or 0.0,
        "types": json.loads(run.types or "{}"),
        "fallbacks": tuple(json.loads(run.fallbacks or "[]")),
    }


def _remark(choice: Choice, home: Run) -> str:
    """The figure's own remark, and where it was measured when that is elsewhere."""
    run, where = choice.run, ""
    if run.device != home.device:
        where = f"measured on {run.device}"
    if run.build != home.build:
        where = f"{where or 'measured'} by {run.build}"
    # That there is no interval is plain from the summary, which has none.
    own = [text for text in choice.joined.remark.split("; ") if text != NO_INTERVAL]
    return "; ".join(text for text in (*own, where) if text)


def _losses(reader: Reader, picked: Sequence[_Picked]) -> list[dict[str, Any]]:
    """Chunk by chunk, of the run that each perplexity is from."""
    keys = [choice.run.key if (choice := one.good.get("ppl")) else None for one in picked]
    asked = {key for key in keys if key}
    found, text = chunks(reader, asked), texts(reader, asked)

    def loss(key: Key | None) -> dict[str, Any]:
        if key is None:
            return {}
        tokens, nll = found.get(key, ((), ()))
        return {"chunk_nll": nll, "chunk_tokens": tokens, "text_sha256": text.get(key, "")}

    return [loss(key) for key in keys]


def _conditions(group: Sequence[Run]) -> Mapping[str, Any]:
    """Of the newest run that went well, speed before quality; with `measured_at`, when the newest started (UTC)."""
    best = max(group, key=lambda run: (run.ok, run.kind not in QUALITY, run.time))
    conditions: dict[str, Any] = json.loads(best.conditions)
    conditions.pop("trace", None)
    started = max((run.started_at for run in group if run.started_at), default=None)
    return conditions | ({"measured_at": started.isoformat(timespec="seconds") + "Z"} if started else {})


def _failures(group: Sequence[Run], chosen: Mapping[str, Choice]) -> tuple[str, ...]:
    """Cells that failed for good, and figures whose every launch is invalid; the same reason once."""
    failed = [f"{run.kind}: {run.failure}" for run in group if not run.ok]
    void = [f"{c.run.kind}: {metric}: {c.joined.remark}" for metric, c in chosen.items() if not c.joined.valid]
    counted = Counter(failed)
    said = [f"{why} ({n} launches)" if n > 1 else why for why, n in counted.items()]
    return (*said, *void)


def _command(run: Run) -> str:
    """Measures this candidate again: as the sweep said that measured it, else in a suite's workloads."""
    if said := json.loads(run.conditions).get("reproduce"):
        return str(said)
    return shlex.join(
        ["quantfarm", "sweep", "--model", run.model, "--quants", run.quant, "--devices", run.device, "--fresh"]
    )
