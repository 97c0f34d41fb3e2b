"""Figures as text: sensible digits, one style everywhere.

Three significant digits, more only where the whole part has more; a spread is written to the digits of
its value, so that `1234 ± 12` and `0.512 ± 0.004` line up in the mind.
"""

from __future__ import annotations

import math

from quantfarm.statistics.summary import Summary

#: MAD of a normal sample to its standard deviation: what ± shows where there is no interval.
MAD_TO_SD = 1.4826
NONE = "–"
#: Metric -> how it is called in a heading.
NAMES = {
    "bench_pp": "prompt processing",
    "bench_tg": "token generation",
    "decode_tps": "decode speed",
    "ttft": "time to first token",
    "load_time": "load time",
    "resident_peak": "resident memory",
    "committed_peak": "committed memory",
    "ppl": "perplexity",
    "bits_per_byte": "bits per byte",
    "kld_mean": "KL divergence",
    "same_top": "same top token",
    "sustained_first": "first run's decode speed",
    "sustained_steady": "steady decode speed",
    "sustained_energy": "energy under load",
    "throttle_ratio": "throttle ratio",
    "time_to_steady": "time to steady",
    "speed_up": "speed-up by the draft",
    "speculative_tps": "decode speed with a draft",
    "acceptance_rate": "acceptance rate",
    "same_text": "text as without the draft",
}


#: Below this a number is easier to read as a power of ten.
TINY = 1e-5


def decimals(value: float, digits: int = 3) -> int:
    """Decimal places that show `value` to so many significant digits (at least 0)."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return max(0, digits - 1 - exponent)


def number(value: float | None, digits: int = 3) -> str:
    """`1234`, `56.7`, `0.512`, `0.000123`, `6.16e-08`; `–` for None."""
    if value is None or not math.isfinite(value):
        return NONE
    if 0 < abs(value) < TINY:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{decimals(value, digits)}f}"


def share(value: float) -> str:
    """A share as a signed percentage: `+4.2 %`, `+0.03 %`, `-12 %`; `±0 %` for nothing."""
    percent = 100 * value
    if abs(percent) < 0.005:
        return "±0 %"
    places = 2 if abs(percent) < 0.1 else 1 if abs(percent) < 10 else 0
    return f"{percent:+.{places}f} %"


def probability(value: float) -> str:
    """Two decimals, but never rounded up to a certainty that is not there."""
    if 0.99 <= value < 1:
        return ">0.99"
    return "<0.01" if 0 < value <= 0.01 else f"{value:.2f}"


def spread(summary: Summary, digits: int = 3) -> str:
    """`812 (795–820)` with an interval, `812 ± 7` without, `812` for one launch."""
    places = decimals(summary.value, digits)
    text = f"{summary.value:.{places}f}"
    if summary.low is not None and summary.high is not None:
        return f"{text} ({summary.low:.{places}f}–{summary.high:.{places}f})"
    if summary.n < 2:
        return text
    return f"{text} {plus_minus(MAD_TO_SD * summary.mad, places)}"


def plus_minus(spread: float, places: int) -> str:
    """`± 7`, `± 0.02`; `± <0.01` where a spread that is there would be rounded away."""
    smallest = 10.0**-places
    return f"± <{smallest:.{places}f}" if 0 < spread < smallest / 2 else f"± {spread:.{places}f}"


def mebibytes(size: int) -> str:
    return number(size / 2**20)


def plural(n: int, one: str, many: str = "") -> str:
    """`1 launch`, `3 launches`."""
    return f"{n} {one if n == 1 else many or one + 's'}"
