"""What a variant's figures do not say, and what is wrong with it: each line from a fact of the store."""

from __future__ import annotations

from collections.abc import Iterator

from quantfarm.candidates import Candidate
from quantfarm.decide import wording
from quantfarm.decide.recommendation import MIN_QUALITY
from quantfarm.report import columns as named
from quantfarm.report.cards import Card, Entry
from quantfarm.report.columns import SPEED, TASKS
from quantfarm.report.figures import NAMES, plural, share
from quantfarm.report.figures_table import NO_INTERVAL, escape
from quantfarm.statistics.increase import base_of, increase

#: What a reader may look for, and by which figures it would have been measured.
WANTED = {
    "perplexity": ("ppl",),
    "KL divergence to the unquantized model": ("kld_mean",),
    "energy": ("energy_per_token", "sustained_energy"),
    "sustained load and throttling": ("sustained_first", "sustained_steady", "not_steady"),
    "decode speed": ("decode_tps", "bench_tg"),
    "memory": ("resident_peak",),
}


def lines(card: Card) -> list[str]:
    """Markdown, each once."""
    found = [_texts(card), *_few(card), *_lost(card), *_standings(card), *_fallbacks(card), *_launches(card)]
    found += [*_trouble(card), _not_measured(card), _devices(card)]
    return list(dict.fromkeys(line for line in found if line))


def _texts(card: Card) -> str:
    if not any(e.candidate.value("ppl") is not None for e in card.entries):
        return ""
    return (
        "Perplexity and what is derived from it are of one text: they rank quantizations of this model on it, and say "
        "nothing of other models, languages or uses."
    )


def _few(card: Card) -> Iterator[str]:
    """Tasks that were asked of a part of their documents."""
    for entry in card.entries:
        for column in named.columns([entry.candidate]):
            found = named.TASK.fullmatch(column.metric) if column.table == TASKS else None
            if found and found["n"]:
                yield (
                    f"**{escape(found['task'])} was asked of only {int(found['n']):,} of its {int(found['of']):,} "
                    "documents**: that is not the benchmark's score."
                )


def _lost(card: Card) -> Iterator[str]:
    """Quality that is below what a default must have."""
    for entry in card.entries:
        base = base_of(entry.subject.candidates, entry.candidate.runtime)
        loss = increase(entry.candidate, base) if base else None
        if loss and loss.share > 1 / MIN_QUALITY - 1:
            yield (
                f"Its perplexity under {escape(entry.candidate.runtime)} is {share(loss.share)} against the "
                "unquantized model: below the quality that a recommended default must have here."
            )


def _standings(card: Card) -> Iterator[str]:
    for entry in card.entries:
        standing = entry.subject.frontier.of(entry.candidate)
        if standing and not standing.on_frontier:
            yield (
                f"On {escape(entry.candidate.device)} it is not on the frontier: "
                f"{escape(wording.beaten(standing, entry.subject.frontier))}."
            )


def _fallbacks(card: Card) -> Iterator[str]:
    fallbacks = card.artifact.fallbacks if card.artifact else card.first.fallbacks
    if fallbacks:
        shown = "; ".join(escape(one) for one in fallbacks[:3]) + (" …" if len(fallbacks) > 3 else "")
        yield f"{plural(len(fallbacks), 'tensor')} in another type than asked: {shown}"


def _launches(card: Card) -> Iterator[str]:
    for entry in card.entries:
        n = [entry.candidate.figures[c.metric].n for c in named.columns([entry.candidate]) if c.table == SPEED]
        if n and min(n) < NO_INTERVAL:
            yield (
                f"On {escape(entry.candidate.device)} some speeds are of {plural(min(n), 'launch', 'launches')}: below "
                f"{NO_INTERVAL} there is no 95 % interval of a median."
            )


def _trouble(card: Card) -> Iterator[str]:
    """Failures, and what must be known of single figures."""
    for entry in card.entries:
        where = f"{escape(entry.candidate.device)}, {escape(entry.candidate.runtime)}"
        yield from (f"Failed on {where}: {escape(why)}." for why in entry.candidate.failures)
        for metric, remark in sorted(entry.candidate.remarks.items()):
            yield f"{where}, {NAMES.get(metric, metric)}: {escape(remark)}."


def _not_measured(card: Card) -> str:
    lacking = [what for what, metrics in WANTED.items() if not any(_has(e, metrics) for e in card.entries)]
    if not any(column.table == TASKS for e in card.entries for column in named.columns([e.candidate])):
        lacking.append("accuracy on tasks")
    if not card.quantized:
        lacking = [one for one in lacking if not one.startswith("KL")]
    return f"Not measured: {', '.join(lacking)}." if lacking else ""


def _has(entry: Entry, metrics: tuple[str, ...]) -> bool:
    c: Candidate = entry.candidate
    return any(metric in c.figures for metric in metrics)


def _devices(card: Card) -> str:
    devices = sorted({e.candidate.device for e in card.entries})
    where = f"{plural(len(devices), 'device')} ({', '.join(map(escape, devices))})"
    return f"Measured on {where}: how it runs elsewhere is not known from here."
