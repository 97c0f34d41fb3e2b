"""Candidates from the store: one variant under one runtime on one device, with all that a decision needs."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quantfarm.candidates import Candidate
from quantfarm.suites import QUALITY
from storage.canaries import is_canary
from storage.choice import Choice, choose, ranking
from storage.figures import NO_INTERVAL
from storage.items import answers
from storage.reading import Reader
from storage.runs import Run, check_device, read_runs

CHUNKS = 'SELECT n, nll FROM chunks WHERE cell = ? AND attempt = ? AND n > 0 ORDER BY "index"'
TEXT = "SELECT text_sha256 FROM texts WHERE cell = ? AND attempt = ?"


def candidates(reader: Reader, device: str | None = None, model: str | None = None) -> list[Candidate]:
    """Every candidate with its newest artifact and build, by device, model, bits per weight and runtime.

    Where several workloads give a metric, that of depth 0 and the most measurements among the variants of the
    model is taken, for all alike: `workloads` says which. Quality measured on any device counts for all that
    have the artifact and runtime. A figure whose every launch is invalid is left out, `failures` says why.
    Raises UsageError for unknown names.
    """
    check_device(reader, device)
    runs = [run for run in read_runs(reader, model) if not (run.ok and is_canary(run))]
    groups = _groups(runs)
    found = [_candidate(reader, group, runs, groups) for group in groups if device in (None, group[0].device)]
    return sorted(found, key=lambda c: (c.device, c.model, -c.bits_per_weight, c.variant, c.runtime))


def _groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs by device, model, variant and runtime: of each the newest artifact and build alone."""
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.device, run.model, run.variant, run.runtime].append(run)
    return [_newest(group) for group in groups.values()]


def _newest(group: Sequence[Run]) -> list[Run]:
    newest = max(group, key=lambda run: run.time)
    return [run for run in group if (run.recipe, run.build) == (newest.recipe, newest.build)]


def _candidate(reader: Reader, group: Sequence[Run], runs: Sequence[Run], groups: Sequence[Sequence[Run]]) -> Candidate:
    newest = max(group, key=lambda run: (run.ok, bool(run.artifact), run.time))
    chosen = choose([*group, *_quality_elsewhere(newest, runs)], ranking(_peers(newest, runs, groups)), newest)
    good = {metric: choice for metric, choice in chosen.items() if choice.joined.valid}
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
        **_quality(reader, good.get("ppl")),
        items=answers(reader, good),
        conditions=_conditions(group),
        simulated=any(run.simulated for run in group),
        failures=_failures(group, chosen),
        reproduce=_command(decided.run if decided else newest),
    )


def _peers(like: Run, runs: Sequence[Run], groups: Sequence[Sequence[Run]]) -> list[Run]:
    """Whatever the candidates of this device, model and runtime may take figures from."""
    whose = (like.device, like.model, like.runtime)
    own = [run for group in groups for run in group if (run.device, run.model, run.runtime) == whose]
    quality = [run for run in runs if _is_quality(run, like)]
    return list({run.cell: run for run in (*own, *quality)}.values())


def _is_quality(run: Run, like: Run) -> bool:
    return run.kind in QUALITY and run.ok and (run.model, run.runtime) == (like.model, like.runtime)


def _quality_elsewhere(like: Run, runs: Sequence[Run]) -> list[Run]:
    """Quality of the same file under the same runtime, measured on other devices or by another build."""
    if not like.artifact:
        return []
    found = [run for run in runs if _is_quality(run, like) and run.artifact == like.artifact]
    return [run for run in found if (run.device, run.build) != (like.device, like.build)]


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


def _quality(reader: Reader, choice: Choice | None) -> dict[str, Any]:
    """Chunk by chunk, of the run that the perplexity is from."""
    if choice is None:
        return {}
    which = [choice.run.cell, choice.run.attempt]
    chunks, text = reader.query(CHUNKS, which), reader.query(TEXT, which)
    return {
        "chunk_nll": tuple(chunk["nll"] for chunk in chunks),
        "chunk_tokens": tuple(chunk["n"] for chunk in chunks),
        "text_sha256": (text[0]["text_sha256"] if text else "") or "",
    }


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
