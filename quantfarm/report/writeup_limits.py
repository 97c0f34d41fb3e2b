"""What the measurements in the store cannot say, from what is and is not among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from quantfarm.nouns import Skip
from quantfarm.report.columns import columns, few
from quantfarm.report.figures import number, plural
from quantfarm.report.figures_table import NO_INTERVAL, escape
from quantfarm.report.sections import Subject
from quantfarm.report.speeds import Speeds

ENERGY = ("energy_per_token", "sustained_energy")
#: Below so many weights a model says little of those that people run.
SMALL = 100e6


def lines(subjects: Sequence[Subject], skips: Sequence[Skip], speeds: Speeds) -> list[str]:
    """Markdown, of measured devices alone."""
    found = [
        *_devices(subjects), *_small(subjects), *_texts(subjects), *_launches(subjects), *_tasks(subjects),
        *_conditions(subjects), *_energy(subjects), *_sustained(subjects, speeds), *_failed(subjects, skips),
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def _devices(subjects: Sequence[Subject]) -> Iterator[str]:
    devices = {s.device for s in subjects}
    yield f"Measured on {plural(len(devices), 'device')}: nothing here is a promise for another."


def _small(subjects: Sequence[Subject]) -> Iterator[str]:
    weights: dict[str, float] = {}
    for c in (c for s in subjects for c in s.candidates if c.weights):
        weights[c.model] = min(weights.get(c.model, math.inf), c.weights or math.inf)  # a file is never all weights
    for model, n in sorted(weights.items()):
        if n < SMALL:
            yield (
                f"{escape(model)} has about {number(n / 1e6, 2)} million weights: its figures do not carry over to "
                "models of billions."
            )


def _texts(subjects: Sequence[Subject]) -> Iterator[str]:
    texts = {c.text_sha256 for s in subjects for c in s.candidates if c.text_sha256}
    if texts:
        yield f"Perplexity is of {plural(len(texts), 'text')}: another kind of text may rank variants differently."
    else:
        yield "No perplexity was measured: which variants keep the model's quality is not known."


def _launches(subjects: Sequence[Subject]) -> Iterator[str]:
    for s in subjects:
        n = [c.figures["decode_tps"].n for c in s.candidates if "decode_tps" in c.figures]
        if n and min(n) < NO_INTERVAL:
            yield (
                f"On {escape(s.device)} decode speeds are of {plural(min(n), 'launch', 'launches')} at the fewest: "
                f"below {NO_INTERVAL} there is no 95 % interval of a median, and frontier and default are less certain."
            )


def _tasks(subjects: Sequence[Subject]) -> Iterator[str]:
    everyone = [c for s in subjects for c in s.candidates]
    tasks = [column for column in columns(everyone) if column.table == "Tasks"]
    if not tasks:
        yield "No task (HellaSwag, ARC, MMLU and the like) was measured: how well variants answer is not known."
    elif few(tasks):
        yield "Some tasks were asked of few of their documents: those are not the benchmarks' scores."


def _conditions(subjects: Sequence[Subject]) -> Iterator[str]:
    unknown = sorted({s.device for s in subjects if not any(c.conditions.get("governor") for c in s.candidates)})
    if unknown:
        yield f"The power mode (governor) of {', '.join(map(escape, unknown))} is not known."
    yield "The temperature of the room was not measured."


def _energy(subjects: Sequence[Subject]) -> Iterator[str]:
    without = [s.device for s in subjects if not any(m in c.figures for c in s.candidates for m in ENERGY)]
    if without:
        yield f"Energy was not measured on {', '.join(sorted({escape(one) for one in without}))}."


def _sustained(subjects: Sequence[Subject], speeds: Speeds) -> Iterator[str]:
    without = sorted({s.device for s in subjects if not speeds.of(s.device, s.model).throttles})
    if without:
        yield f"No sustained load on {', '.join(map(escape, without))}: speeds are of short runs."


def _failed(subjects: Sequence[Subject], skips: Sequence[Skip]) -> Iterator[str]:
    failed = sum(len(c.failures) for s in subjects for c in s.candidates)
    skipped = sum(k.device in {s.device for s in subjects} for k in skips)
    if failed:
        yield f"{plural(failed, 'measurement')} failed ([BENCHMARK.md](BENCHMARK.md) says which and why)."
    if skipped:
        yield f"{plural(skipped, 'measurement')} skipped ([BENCHMARK.md](BENCHMARK.md) says which and why)."
