"""What mlx_lm prints: its benchmark's trials, and the statistics at the end of a generation.

mlx_lm's generation rate is N / (t_N - t_1): as (N - 1) / (t_N - t_1) it is decode_tps (METHOD §1). Its prompt rate
has the first token's time in it (`prompt_tps`, not bench_pp), and its memory is what MLX's allocator held at the most.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantfarm.exchange.figure import DEVIATION, MEDIAN, Figure, Importer, Reading, Wrong
from quantfarm.exchange.reading import CUT, number
from quantfarm.exchange.units import decode_tps, mib

TOOL = "mlx-lm"
TIMING = re.compile(r"Timing with prompt_tokens=(\d+), generation_tokens=(\d+), batch_size=(\d+)\.")
TRIAL = re.compile(r"Trial \d+:\s+(.*)")
AVERAGES = re.compile(r"Averages:\s+(.*)")
PROMPT = re.compile(r"Prompt: (?P<tokens>\d+) tokens, (?P<rate>\S+) tokens-per-sec")
GENERATION = re.compile(r"Generation: (?P<tokens>\d+) tokens, (?P<rate>\S+) tokens-per-sec")
PEAK = re.compile(r"Peak memory: (?P<peak>\S+) GB")
KEYS = ("prompt_tps", "generation_tps", "peak_memory")


def recognises(text: str) -> bool:
    return bool(TIMING.search(text) or (PROMPT.search(text) and GENERATION.search(text)))


def read(text: str) -> Reading:
    """Raises Wrong."""
    return Reading(figures=(*_benchmarks(text), *_generations(text)), tool=TOOL)


@dataclass(slots=True)
class _Bench:
    line: int
    prompt: int
    generation: int
    batch: int
    trials: list[Mapping[str, float]] = field(default_factory=list[Mapping[str, float]])


def _benchmarks(text: str) -> Iterator[Figure]:
    bench: _Bench | None = None
    lines = text.rstrip().split("\n")
    for line, row in enumerate(lines, 1):
        if found := TIMING.search(row):
            _ended(bench, line - 1)
            bench = _Bench(line, int(found[1]), int(found[2]), int(found[3]))
        elif bench and (found := TRIAL.match(row)):
            bench.trials.append(_values(line, found[1]))
        elif bench and AVERAGES.match(row):
            yield from _figures(bench, line)
            bench = None
    _ended(bench, len(lines))


def _ended(bench: _Bench | None, line: int) -> None:
    if bench:
        raise Wrong(line, f"no line of averages for the benchmark that begins on line {bench.line}: {CUT}")


def _values(line: int, text: str) -> Mapping[str, float]:
    said = dict(part.split("=", 1) for part in text.split(", ") if "=" in part)
    return {key: number(said, key, line) for key in KEYS}


def _figures(bench: _Bench, line: int) -> Iterator[Figure]:
    if not bench.trials:
        raise Wrong(line, "averages without a trial")
    peaks = [mib(trial["peak_memory"], "GB") for trial in bench.trials]
    rates = [trial["generation_tps"] for trial in bench.trials]
    if bench.batch == 1:
        label, kept = f"app p{bench.prompt} n{bench.generation}", [decode_tps(rate, bench.generation) for rate in rates]
        rates, name = [rate for rate in kept if rate is not None], "decode_tps"
    else:
        label, name = f"batch {bench.batch} p{bench.prompt} n{bench.generation}", "batch_generation_tps"
    yield from _trials(bench.line, "prompt_tps", [trial["prompt_tps"] for trial in bench.trials], "tok/s", label)
    yield from _trials(bench.line, name, rates, "tok/s", label)
    yield from _trials(bench.line, "mlx_peak_memory", peaks, "MiB", label)


def _trials(line: int, metric: str, values: Sequence[float], unit: str, label: str) -> Iterator[Figure]:
    """The median over trials, as of repetitions everywhere."""
    if values:
        several = len(values) > 1
        yield Figure(
            line=line,
            metric=metric,
            value=statistics.median(values),
            unit=unit,
            workload=label,
            runtime=TOOL,
            statistic=MEDIAN,
            n=len(values),
            spread=statistics.stdev(values) if several else None,
            spread_is=DEVIATION if several else "",
            extra={"trials": list(values)},
        )


def _generations(text: str) -> Iterator[Figure]:
    """Each begins with its `Prompt:` line; a generation without tokens has no rate."""
    lines = text.rstrip().split("\n")
    for line, row in enumerate(lines, 1):
        if not (prompt := PROMPT.search(row)):
            continue
        generation = GENERATION.search(lines[line]) if line < len(lines) else None
        if not generation:
            raise Wrong(line, f"no line of the generation after that of its prompt: {CUT}")
        said = {"prompt_tps": prompt["rate"], "generation_tps": generation["rate"]}
        tokens = int(generation["tokens"])
        about: dict[str, Any] = {
            **{"line": line, "runtime": TOOL, "workload": f"app p{prompt['tokens']} n{tokens}"},
            **{"n": 1, "extra": {**said, "batch": "[batch_generate]" in row}},
        }
        yield Figure(metric="prompt_tps", value=number(said, "prompt_tps", line), unit="tok/s", **about)
        yield from _decode(number(said, "generation_tps", line + 1), tokens, about)
        if line + 1 < len(lines) and (peak := PEAK.search(lines[line + 1])):
            held = mib(number(peak.groupdict(), "peak", line + 2), "GB")
            yield Figure(metric="mlx_peak_memory", value=held, unit="MiB", **about)


def _decode(rate: float, tokens: int, about: Mapping[str, Any]) -> Iterator[Figure]:
    if about["extra"]["batch"]:
        yield Figure(metric="batch_generation_tps", value=rate, unit="tok/s", **about)
    elif (own := decode_tps(rate, tokens)) is not None:
        yield Figure(metric="decode_tps", value=own, unit="tok/s", **about)


IMPORTER = Importer(recognises, read)
