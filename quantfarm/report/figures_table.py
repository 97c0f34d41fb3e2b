"""The table of a device and model in BENCHMARK.md: every figure with its spread and what it is of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.report.figures import MAD_TO_SD, NONE, decimals, mebibytes, plus_minus, share
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import key
from quantfarm.statistics.summary import Summary


@dataclass(frozen=True, slots=True)
class Column:
    """A metric's heading, what its value is multiplied with, and its significant digits."""

    metric: str
    heading: str
    factor: float = 1.0
    digits: int = 3


COLUMNS = (
    Column("bench_pp", "prompt tok/s"),
    Column("bench_tg", "generation tok/s"),
    Column("decode_tps", "decode tok/s"),
    Column("ttft", "TTFT ms", factor=1000.0),
    Column("resident_peak", "resident MiB", digits=4),
    Column("ppl", "perplexity", digits=4),
    Column("kld_mean", "KLD nat"),
    Column("same_top", "same top %"),
)
#: Below this many launches no interval of a median reaches 95 %.
NO_INTERVAL = 6
#: Figures whose n is a number of launches; that of a quality figure counts tokens.
MEASURED_BY_LAUNCH = ("bench_pp", "bench_tg", "decode_tps", "ttft", "load_time", "resident_peak", "committed_peak")


def table(candidates: Sequence[Candidate], chosen: Candidate | None = None) -> str:
    """Markdown, one row per candidate in the order given; only columns that somebody has a figure for."""
    columns = [c for c in COLUMNS if any(c.metric in candidate.figures for candidate in candidates)]
    several = len({(c.runtime, c.build) for c in candidates}) > 1
    judged = base_of(candidates) is not None
    headings = ["variant", "size MiB", "bits/ weight"]
    for column in columns:
        headings += [column.heading] + (["against F16"] if judged and column.metric == "ppl" else [])
    rows = [_row(c, columns, candidates, chosen, several) for c in candidates]
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _row(
    c: Candidate, columns: Sequence[Column], everyone: Sequence[Candidate], chosen: Candidate | None, several: bool
) -> list[str]:
    star = " ★" if chosen is not None and key(chosen) == key(c) else ""
    runtime = small(c.runtime) if several else ""
    cells = [f"**{escape(c.variant)}**{star}{runtime}", mebibytes(c.size) if c.size else NONE]
    cells.append(f"{c.bits_per_weight:.2f}" if c.bits_per_weight else NONE)
    for column in columns:
        cells.append(_figure(c, column))
        if column.metric == "ppl" and base_of(everyone) is not None:
            cells.append(_against_base(c, everyone))
    return cells


def _figure(candidate: Candidate, column: Column) -> str:
    summary = candidate.figures.get(column.metric)
    if summary is None:
        return NONE
    places = decimals(summary.value * column.factor, column.digits)
    text = f"{summary.value * column.factor:.{places}f}"
    return text + (small(f"{spread}") if (spread := _spread(summary, column, places)) else "")


def _spread(s: Summary, column: Column, places: int) -> str:
    if s.low is not None and s.high is not None:
        return f"{s.low * column.factor:.{places}f}–{s.high * column.factor:.{places}f}"
    if column.metric in ("ppl", "kld_mean", "same_top"):  # of one text: a launch more is no replicate
        return ""
    return plus_minus(MAD_TO_SD * s.mad * column.factor, places) if s.n > 1 else "1 launch"


def _against_base(candidate: Candidate, everyone: Sequence[Candidate]) -> str:
    base = base_of(everyone, candidate.runtime)
    if base is None or candidate.value("ppl") is None:
        return NONE
    if key(base) == key(candidate):
        return "base"
    loss = increase(candidate, base)
    if loss is None:
        return "not comparable"
    interval = small(f"{share(math.expm1(loss.low))} to {share(math.expm1(loss.high))}") if loss.error > 0 else ""
    return share(loss.share) + interval


def small(text: str) -> str:
    """A second, smaller line in a cell."""
    return f"<br><sub>{escape(text)}</sub>"


def escape(text: str) -> str:
    """Text that cannot end a cell or start a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def legend(candidates: Sequence[Candidate]) -> str:
    """What the small figures are, and of how many launches: only what occurs in the table."""
    said: list[str] = []
    speeds = [s for c in candidates for m, s in c.figures.items() if m in MEASURED_BY_LAUNCH]
    counts = sorted({s.n for s in speeds})
    if any(s.low is not None for s in speeds):
        said.append("a range is the interval of the median over launches that covers at least 95 %")
    if any(s.low is None and s.n > 1 for s in speeds):
        said.append(f"± is 1.48 × MAD over launches: below {NO_INTERVAL} launches no interval of a median reaches 95 %")
    if any(c.figures.get("ppl") for c in candidates):
        said.append("perplexity and KLD have the 95 % interval over scored tokens")
        said.append(
            "*against F16* is paired chunk by chunk, so it tells apart what the perplexities' own intervals do not"
        )
    launches = (
        f"Launches: {'–'.join(str(n) for n in (counts[:1] + counts[-1:] if len(counts) > 1 else counts))}. "
        if counts
        else ""
    )
    return launches + ". ".join(text[0].upper() + text[1:] for text in said) + ("." if said else "")


def workloads(candidates: Sequence[Candidate]) -> str:
    """`decode tok/s: app p128 n128; …`: which workload each column is of."""
    by_workload: dict[str, list[str]] = {}
    for column in COLUMNS:
        for label in sorted({c.workloads[column.metric] for c in candidates if c.workloads.get(column.metric)}):
            by_workload.setdefault(label, []).append(column.heading)
    return "; ".join(f"{', '.join(headings)}: `{label}`" for label, headings in by_workload.items())
