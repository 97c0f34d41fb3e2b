"""The five-way comparison: a model as published beside its 4-bit formats on memory, speed by batch, and quality.

FP16 (`HF`), our own round to nearest, NF4, AWQ and GPTQ under one runtime: what differs is the way of quantizing.
Pure: candidates in, rows or Markdown out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.metrics.batch import figure
from quantfarm.report.columns import task
from quantfarm.report.figures import NONE, mebibytes, number, share, spread
from quantfarm.report.figures_table import escape, small
from quantfarm.statistics.increase import Increase, increase
from quantfarm.statistics.paired import PairedAccuracy
from quantfarm.statistics.summary import Summary
from quantfarm.statistics.tasks import differences

#: The order of the rows; options of a quantization (`RTN+group_size=64`) follow the plain one.
WAYS = ("HF", "RTN", "NF4", "AWQ", "GPTQ")
BASE = WAYS[0]
RATE = re.compile(r"batch(\d+)_tps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way. `size` in bytes; memory in MiB, of the smallest batch; `rates` in tok/s by batch.

    `loss`: perplexity against HF on the same chunks; `against`: accuracy against HF, paired by document, by figure.
    None, or left out, is what was not measured.
    """

    variant: str
    size: int
    bits_per_weight: float
    resident: Summary | None
    cuda: Summary | None
    rates: Mapping[int, Summary]
    ppl: Summary | None
    loss: Increase | None
    accuracy: Mapping[str, Summary]
    against: Mapping[str, PairedAccuracy]
    remarks: tuple[str, ...]

    @property
    def is_base(self) -> bool:
        return self.variant == BASE


def quant_of(candidate: Candidate) -> str:
    return candidate.variant.partition("+")[0]


def taken(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are compared: of the runtime under which most ways decoded in batches (of equals the first by name);
    none where there are not two."""
    ours = [c for c in candidates if quant_of(c) in WAYS]
    decoded = [c.runtime for c in ours if any(RATE.fullmatch(metric) for metric in c.figures)]
    if not decoded:
        return []
    runtime = min(set(decoded), key=lambda name: (-decoded.count(name), name))
    found = [c for c in ours if c.runtime == runtime]
    return sorted(found, key=lambda c: (WAYS.index(quant_of(c)), c.variant)) if len(found) > 1 else []


def rows(candidates: Sequence[Candidate]) -> list[Row]:
    """Of candidates of one device and model; empty where nothing is to be compared."""
    compared = taken(candidates)
    base = next((c for c in compared if c.variant == BASE), None)
    return [_row(c, base) for c in compared]


def _row(c: Candidate, base: Candidate | None) -> Row:
    rates = {int(match[1]): summary for metric, summary in c.figures.items() if (match := RATE.fullmatch(metric))}
    smallest = min(rates, default=1)
    accuracy = {metric: summary for metric, summary in c.figures.items() if metric in c.items}
    return Row(
        variant=c.variant,
        size=c.size,
        bits_per_weight=c.bits_per_weight,
        resident=c.figures.get(figure("resident_peak", smallest)),
        cuda=c.figures.get(figure("cuda_peak", smallest)),
        rates=dict(sorted(rates.items())),
        ppl=c.figures.get("ppl"),
        loss=increase(c, base) if base and base is not c else None,
        accuracy=accuracy,
        against=differences(base, c) if base else {},
        remarks=tuple(f"{metric}: {c.remarks[metric]}" for metric in sorted(c.remarks) if _shown(metric, accuracy))
        + c.failures,
    )


def _shown(metric: str, accuracy: Mapping[str, Summary]) -> bool:
    return metric.startswith("batch") or metric == "ppl" or metric in accuracy


def table(candidates: Sequence[Candidate]) -> str:
    """Markdown, with what its figures are under it; empty where nothing is to be compared."""
    found = rows(candidates)
    if not found:
        return ""
    batches = sorted({batch for row in found for batch in row.rates})
    tasks = sorted({metric for row in found for metric in row.accuracy})
    cuda = any(row.cuda for row in found)
    headings = ["way", "size MiB", "bits/ weight", "resident MiB", *(["CUDA MiB"] if cuda else [])]
    headings += [f"tok/s, batch {batch}" for batch in batches] + ["perplexity", f"against {BASE}"]
    headings += [_heading(metric) for metric in tasks]
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)]]
    judged = any(row.is_base and row.ppl for row in found)
    lines += [_cells(row, batches, tasks, cuda, judged) for row in found]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n\n" + _legend(found, taken(candidates))


def _heading(metric: str) -> str:
    known = task(metric)
    return escape(known.heading if known else metric)


def _cells(row: Row, batches: Sequence[int], tasks: Sequence[str], cuda: bool, judged: bool) -> list[str]:
    cells = [f"**{escape(row.variant)}**", mebibytes(row.size) if row.size else NONE]
    cells.append(f"{row.bits_per_weight:.2f}" if row.bits_per_weight else NONE)
    cells += [number(one.value if one else None, 4) for one in ([row.resident, row.cuda] if cuda else [row.resident])]
    cells += [spread(row.rates[batch]) if batch in row.rates else NONE for batch in batches]
    cells += [_perplexity(row), _loss(row, judged)]
    return cells + [_accuracy(row, metric) for metric in tasks]


def _perplexity(row: Row) -> str:
    return number(row.ppl.value if row.ppl else None, 4)


def _loss(row: Row, judged: bool) -> str:
    """`judged`: whether the published model's perplexity is there to compare with."""
    if row.is_base:
        return "base"
    if row.loss is None:
        return "not comparable" if row.ppl and judged else NONE
    low, high = (share(math.expm1(nats)) for nats in (row.loss.low, row.loss.high))
    return share(row.loss.share) + (small(f"{low} to {high}") if row.loss.error > 0 else "")


def _accuracy(row: Row, metric: str) -> str:
    summary = row.accuracy.get(metric)
    if summary is None:
        return NONE
    delta = row.against.get(metric)
    said = f"{delta.delta:+.1f} ({delta.low:+.1f} to {delta.high:+.1f})" if delta else ""
    return f"{summary.value:.1f}" + (small(said) if said else "")


def _legend(found: Sequence[Row], compared: Sequence[Candidate]) -> str:
    rates = [summary for row in found for summary in row.rates.values()]
    launches = sorted({summary.n for summary in rates})
    build = ", ".join(sorted({c.build or c.runtime for c in compared}))
    said = [
        f"Under {escape(build)}. Rates are of all prompts of a batch together, medians over launches "
        f"({', '.join(map(str, launches))}).",
        "Memory is that of the smallest batch: all that was resident at the most; CUDA is torch's peak of what was "
        "allocated." if any(row.cuda for row in found) else "Memory is all that was resident at the most, at the "
        "smallest batch.",
        f"*Against {BASE}* is paired chunk by chunk, accuracy (percentage points, 95 %) document by document.",
    ]  # fmt: skip
    said += [f"{escape(row.variant)}: {escape(remark)}." for row in found for remark in row.remarks]
    return f"<sub>{' '.join(said)}</sub>"
