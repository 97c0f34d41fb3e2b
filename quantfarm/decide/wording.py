"""The sentences of a recommendation: plain, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from quantfarm.candidates import Candidate
from quantfarm.decide.wishes import Wishes
from quantfarm.report.figures import number, probability, share
from quantfarm.statistics.dominance import MEMORY_MARGIN, SPEED_MARGIN
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.resample import MEMORY, SPEED

METRICS = {SPEED: "decode speed", MEMORY: "resident memory", "ppl": "perplexity"}


def reason(best: Candidate, quality: float | None, frontier: Frontier, wishes: Wishes) -> str:
    """Why this one, in one or two sentences; a simulated device is said first."""
    speed, memory = best.figures[SPEED].value, best.figures[MEMORY].value
    first = (
        f"{best.name} is the fastest to decode on the Pareto frontier{_said(wishes)}: "
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


def _said(wishes: Wishes) -> str:
    said = [f"at most {number(wishes.max_ram_mib)} MiB"] if wishes.max_ram_mib is not None else []
    said += [f"at least {number(wishes.min_speed)} tok/s"] if wishes.min_speed > 0 else []
    said += [f"quality of at least {wishes.min_quality:g}"] if wishes.min_quality > 0 else []
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


def too_slow(speed: float, wanted: float) -> str:
    return f"decodes {number(speed)} tok/s, {number(wanted)} asked for"


def too_bad(quality: float, wanted: float) -> str:
    return f"quality {quality:.3f} is below {wanted:g}"


def beaten(standing: Standing, frontier: Frontier) -> str:
    """Why one is not on the frontier."""
    chance = probability(standing.probability)
    if standing.dominated_by:
        winners = " and ".join(c.name for c in standing.dominated_by)
        return f"dominated by {winners} (non-dominated in {chance} of draws)"
    return f"non-dominated in only {chance} of {frontier.draws} draws"


def nothing(comparable: Sequence[Candidate], qualities: Sequence[float | None], wishes: Wishes) -> str:
    """Which wish removed what, and what would satisfy: the least that has to be given up of each."""
    if not comparable:
        return "Nothing can be recommended: no candidate has decode speed, peak memory and perplexity."
    if wishes.min_quality > 0 and all(q is None for q in qualities):
        return (
            "Nothing can be recommended: quality cannot be told without the unquantized model's perplexity "
            "on the same text. Measure F16 too, or ask for a minimum quality of 0."
        )
    all_of = [_Measured(c, q) for c, q in zip(comparable, qualities, strict=True)]
    small = [one for one in all_of if wishes.small(one.memory)]
    fast = [one for one in all_of if wishes.fast(one.speed)]
    good = [one for one in all_of if wishes.good(one.quality)]
    removed = [
        _removed("memory", len(all_of) - len(small), len(all_of), f"at most {number(wishes.max_ram_mib)} MiB"),
        _removed("speed", len(all_of) - len(fast), len(all_of), f"at least {number(wishes.min_speed)} tok/s"),
        _removed("quality", len(all_of) - len(good), len(all_of), f"at least {wishes.min_quality:g}"),
    ]
    ways = _ways(small, fast, good)
    would = f" It would take {' or '.join(ways)}." if ways else ""
    return f"Nothing measured satisfies the wishes: {' and '.join(r for r in removed if r)}.{would}"


class _Measured:
    """A comparable candidate's figures."""

    def __init__(self, candidate: Candidate, quality: float | None) -> None:
        self.name, self.quality = candidate.name, quality
        self.memory, self.speed = candidate.figures[MEMORY].value, candidate.figures[SPEED].value


def _ways(small: Sequence[_Measured], fast: Sequence[_Measured], good: Sequence[_Measured]) -> list[str]:
    """What the best of those that satisfy the other wishes would need of each one."""
    large = [one for one in good if one in fast]
    slow = [one for one in small if one in good]
    bad = [one for one in small if one in fast and one.quality is not None]
    ways = [f"{number(one.memory)} MiB ({one.name})" for one in sorted(large, key=lambda m: m.memory)[:1]]
    if slow:
        one = max(slow, key=lambda m: m.speed)
        ways.append(f"{number(one.speed)} tok/s ({one.name})")
    if bad:
        one = max(bad, key=lambda m: m.quality or 0.0)
        ways.append(f"a minimum quality of {_below(one.quality or 0.0):g} ({one.name})")
    return ways


def _removed(what: str, n: int, of: int, wish: str) -> str:
    return f"{what} of {wish} removes {'all' if n == of else n} of {of}" if n else ""


def _below(quality: float) -> float:
    """Rounded down, so that asking for it finds it."""
    return int(quality * 1000) / 1000
