"""A against B side by side: runs alternate ABBA, so that what drifts hits both alike."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents import machine
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Scalar, Trace, Variant
from quantfarm.statistics.pairs import PairedRatio, paired_ratio
from quantfarm.suites import workload

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reference_model" / "reference-F16.gguf"
#: figure -> value; what one run of A or of B gives.
Figures = Mapping[str, float]


def arguments(description: str, pairs: int = 10) -> argparse.ArgumentParser:
    """The options that every comparison has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=REFERENCE, help="GGUF (default: the reference model's F16)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=pairs, help=f"ABBA pairs (default {pairs})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser


def cell(kind: str, **given: Scalar) -> Cell:
    """A cell of this machine; the benchmarks care about its workload only."""
    recipe = Recipe(source="", quantizer="as_is", quant="F16")
    variant = Variant(model="benchmark", format="gguf", quant="F16", recipe=recipe)
    asked = workload({"kind": kind, **given}, {})
    return Cell(profile=DeviceProfile(name="here"), variant=variant, runtime="", build="", workload=asked)


def lines_of(command: Sequence[str]) -> list[str]:
    """The stdout of a command whose stdin is held open. Ends the benchmark where it fails."""
    pipe = subprocess.PIPE
    with subprocess.Popen(list(command), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        lifeline, process.stdin = process.stdin, None  # communicate() would close it
        out, err = process.communicate()
        assert lifeline
        lifeline.close()
    if process.returncode:
        sys.exit(f"{command[0]} … failed with status {process.returncode}:\n{(err or out)[-2000:]}")
    return out.splitlines()


def finished(trace: Trace) -> Trace:
    return trace if trace.finished else sys.exit(f"a run did not finish: {trace.events[-1:]}")


def alternate(a: Callable[[], Figures], b: Callable[[], Figures], pairs: int) -> tuple[list[Figures], list[Figures]]:
    """Runs A B, B A, A B, …; the same number of each. The first of each is a warm-up and not kept."""
    a()
    b()
    found: tuple[list[Figures], list[Figures]] = ([], [])
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        for which in order:
            found[which].append((a, b)[which]())
        print(f"\rpair {pair + 1}/{pairs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def ratios(a: Sequence[Figures], b: Sequence[Figures]) -> dict[str, PairedRatio]:
    """B ÷ A of every figure."""
    return {name: paired_ratio([run[name] for run in a], [run[name] for run in b]) for name in a[0]}


def report(
    title: str,
    names: tuple[str, str],
    runs: tuple[Sequence[Figures], Sequence[Figures]],
    goals: Mapping[str, tuple[str, Callable[[PairedRatio], bool]]],
    settings: Mapping[str, Any],
    out: Path | None,
) -> None:
    """Prints the table and writes the JSON. `goals`: figure -> (in words, whether the ratio meets it)."""
    found = ratios(*runs)
    medians = [{name: statistics.median(run[name] for run in side) for name in found} for side in runs]
    print(f"\n{title}  ({len(runs[0])} ABBA pairs, load {os.getloadavg()[0]:.2f} at the end)")
    head = ("figure", names[0], names[1], f"{names[1]} ÷ {names[0]}", "95 % interval", "p", "goal", "met")
    rows = [_row(name, medians, found[name], goals.get(name)) for name in found]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if out:
        body = {
            "title": title,
            "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": {**machine.facts(), **machine.conditions(), "python": platform.python_version()},
            "settings": dict(settings),
            "ratios": {name: asdict(ratio) for name, ratio in found.items()},
            "met": {name: met(found[name]) for name, (_, met) in goals.items()},
            "runs": dict(zip(names, [[dict(run) for run in side] for side in runs], strict=True)),
        }
        out.write_text(json.dumps(body, indent=1) + "\n")


def _row(
    name: str,
    medians: Sequence[Figures],
    ratio: PairedRatio,
    goal: tuple[str, Callable[[PairedRatio], bool]] | None,
) -> tuple[str, ...]:
    interval = f"{ratio.low:.4f} … {ratio.high:.4f}" if ratio.low and ratio.high else "too few pairs"
    words, met = (goal[0], "yes" if goal[1](ratio) else "NO") if goal else ("", "")
    values = [f"{side[name]:.6g}" for side in medians]
    return (name, *values, f"{ratio.ratio:.4f}", interval, f"{ratio.p:.3f}", words, met)


def within(share: float) -> tuple[str, Callable[[PairedRatio], bool]]:
    """Goal: the ratio is 1 to within a share either way."""
    return f"1.00 ± {share:.2f}", lambda ratio: abs(ratio.ratio - 1) <= share


def at_least(least: float) -> tuple[str, Callable[[PairedRatio], bool]]:
    return f"≥ {least:.2f}", lambda ratio: ratio.ratio >= least


def surely_above(least: float) -> tuple[str, Callable[[PairedRatio], bool]]:
    """Goal: the lower end of the 95 % interval is above it."""
    return f"interval > {least:.2f}", lambda ratio: ratio.low is not None and ratio.low > least
