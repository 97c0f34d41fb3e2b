"""The sentences of a recommendation: plain, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.report.figures import number, probability, share
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.resample import MEMORY, SPEED

METRICS = {SPEED: "decode speed", MEMORY: "resident memory", "ppl": "perplexity"}


def reason(
    best: Candidate, quality: float | None, frontier: Frontier, max_ram: float | None, min_quality: float
) -> str:
    """Why this one, in one or two sentences; a simulated device is said first."""
    speed, memory = best.figures[SPEED].value, best.figures[MEMORY].value
    wishes = _wishes(max_ram, min_quality)
    first = (
        f"{best.name} is the fastest to decode on the Pareto frontier{wishes}: "
        f"{number(speed)} tok/s{_interval(best)} in {number(memory)} MiB"
    )
    if quality is not None:
        first += f", its perplexity {share(1 / quality - 1)} against the unquantized model"
    standing = frontier.of(best)
    chance = (
        f" The probability that nothing measured dominates it is {probability(standing.probability)}."
        if standing
        else ""
    )
    simulated = "Simulated device, not a measurement: " if best.simulated else ""
    return f"{simulated}{first}.{chance}"


def _wishes(max_ram: float | None, min_quality: float) -> str:
    said = [f"at most {number(max_ram)} MiB"] if max_ram is not None else []
    said += [f"quality of at least {min_quality:g}"] if min_quality > 0 else []
    return f" with {' and '.join(said)}" if said else ""


def _interval(candidate: Candidate) -> str:
    s = candidate.figures[SPEED]
    if s.low is None or s.high is None:
        return f" ({s.n} launch{'es' if s.n > 1 else ''}, no interval)"
    return f" ({number(s.low)}–{number(s.high)}, {s.n} launches)"


def why_not(second: Candidate, best: Candidate, quality: float | None) -> str:
    """Why the runner-up is not the one: the first thing in the policy's order that tells them apart."""
    slower = best.figures[SPEED].value / second.figures[SPEED].value - 1
    larger = second.figures[MEMORY].value / best.figures[MEMORY].value - 1
    better = f"; its perplexity is {share(1 / quality - 1)} against the unquantized model" if quality else ""
    if slower > SPEED_MARGIN:
        lead = f"{best.name} decodes {share(slower).lstrip('+')} faster"
    elif larger > MEMORY_MARGIN:
        lead = f"as fast within 2 %, but {second.name} needs {share(larger).lstrip('+')} more memory"
    else:
        lead = "as fast and as small within the margins, but not better in quality"
    return f"{lead}{better}."


def too_large(memory: float, allowed: float) -> str:
    return f"needs {number(memory)} MiB, {number(allowed)} allowed"


def too_bad(quality: float, wanted: float) -> str:
    return f"quality {quality:.3f} is below {wanted:g}"


def beaten(standing: Standing, frontier: Frontier) -> str:
    """Why one is not on the frontier."""
    chance = probability(standing.probability)
    if standing.dominated_by:
        winners = " and ".join(c.name for c in standing.dominated_by)
        return f"dominated by {winners} (non-dominated in {chance} of draws)"
    return f"non-dominated in only {chance} of {frontier.draws} draws"


def nothing(
    comparable: Sequence[Candidate], qualities: Sequence[float | None], max_ram: float | None, min_quality: float
) -> str:
    """Which wish removed what, and what would satisfy: the least that has to be given up of each."""
    if not comparable:
        return "Nothing can be recommended: no candidate has decode speed, peak memory and perplexity."
    pairs = [(c, c.figures[MEMORY].value, q) for c, q in zip(comparable, qualities, strict=True)]
    if min_quality > 0 and all(q is None for q in qualities):
        return (
            "Nothing can be recommended: quality cannot be told without the unquantized model's perplexity "
            "on the same text. Measure F16 too, or ask for a minimum quality of 0."
        )
    good = [(c, m, q) for c, m, q in pairs if min_quality <= 0 or (q is not None and q >= min_quality)]
    small = [(c, m, q) for c, m, q in pairs if max_ram is None or m <= max_ram]
    removed = [_removed("memory", len(pairs) - len(small), len(pairs), f"at most {number(max_ram)} MiB")]
    removed += [_removed("quality", len(pairs) - len(good), len(pairs), f"at least {min_quality:g}")]
    ways = [f"{number(least[1])} MiB ({least[0].name})" for least in sorted(good, key=lambda t: t[1])[:1]]
    known = [(c, q) for c, _, q in small if q is not None]
    ways += [f"a minimum quality of {_below(q):g} ({c.name})" for c, q in sorted(known, key=lambda t: -t[1])[:1]]
    would = f" It would take {' or '.join(ways)}." if ways else ""
    return f"Nothing measured satisfies the wishes: {' and '.join(r for r in removed if r)}.{would}"


def _removed(what: str, n: int, of: int, wish: str) -> str:
    return f"{what} of {wish} removes {'all' if n == of else n} of {of}" if n else ""


def _below(quality: float) -> float:
    """Rounded down, so that asking for it finds it."""
    return int(quality * 1000) / 1000
