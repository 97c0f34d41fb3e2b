"""Quality of one run: perplexity and KL divergence as llama-perplexity defines them (METHOD §2).

The tool keeps each token's divergence and probability difference as a float32 and takes its
percentiles in float32 too; so does this, or the last printed digit would differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantfarm.nouns import Measurement, Trace

Floats = NDArray[np.float64]
#: 97.5th percentile of the standard normal distribution.
Z = 1.96
SCORED_ONLY = "over the scored tokens (the second half of each chunk), not rolling"


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean and its standard error sqrt((E[x²] - E[x]²) / (n - 1)); 0 for n ≤ 10, as the tool has it."""
    n, mean = len(values), float(values.mean())
    variance = float((values * values).mean()) - mean * mean
    return mean, math.sqrt(variance / (n - 1)) if variance > 0 and n > 10 else 0.0


def percentile32(values: Floats, fraction: float) -> float:
    """Linear interpolation between order statistics, in float32 throughout."""
    x = np.sort(values.astype(np.float32))
    place = np.float32(fraction) * np.float32(len(x) - 1)
    below = int(place)
    share = place - np.float32(below)
    return float((np.float32(1) - share) * x[below] + share * x[min(below + 1, len(x) - 1)])


def median32(values: Floats) -> float:
    x = np.sort(values.astype(np.float32))
    middle = len(x) // 2
    return float(x[middle] if len(x) % 2 else np.float32(0.5) * (x[middle] + x[middle - 1]))


def perplexity(nll: Floats) -> tuple[float, float]:
    """(exp of the mean nll, its standard error by the delta method: PPL·SE(mean nll))."""
    mean, error = mean_and_error(nll)
    return math.exp(mean), math.exp(mean) * error


def _joined(chunks: Sequence[Any], name: str) -> Floats:
    return np.concatenate([np.asarray(chunk[name], dtype=np.float64) for chunk in chunks])


def _means(chunks: Sequence[Any], name: str) -> tuple[float, ...]:
    return tuple(float(_joined([chunk], name).mean()) for chunk in chunks)


def _with_error(metric: str, unit: str, value: float, error: float, n: int, samples: tuple[float, ...]) -> Measurement:
    low, high = value - Z * error, value + Z * error
    return Measurement(metric=metric, value=value, unit=unit, n=n, low=low, high=high, samples=samples)


def _perplexity(chunks: Sequence[Any]) -> Measurement:
    """`samples` are the mean nll (nats) of each chunk: what a bootstrap over chunks draws from."""
    nll = _joined(chunks, "nll")
    value, error = perplexity(nll)
    return _with_error("ppl", "", value, error, len(nll), _means(chunks, "nll"))


def _bits_per_byte(chunks: Sequence[Any], size: int) -> Measurement:
    nll = _joined(chunks, "nll")
    mean, error = mean_and_error(nll)
    per_byte = len(nll) / (math.log(2) * size)
    value, error = mean * per_byte, error * per_byte
    low, high = value - Z * error, value + Z * error
    return Measurement(
        metric="bits_per_byte", value=value, unit="bit/byte", n=len(nll), low=low, high=high, remark=SCORED_ONLY
    )


def _divergence(chunks: Sequence[Any]) -> list[Measurement]:
    kld = _joined(chunks, "kld")
    n, (mean, error) = len(kld), mean_and_error(kld)
    points = {
        "kld_median": median32(kld),
        "kld_p999": percentile32(kld, 0.999),
        "kld_max": float(kld.astype(np.float32).max()),
    }
    return [
        _with_error("kld_mean", "nat", mean, error, n, _means(chunks, "kld")),
        *(Measurement(metric=name, value=value, unit="nat", n=n) for name, value in points.items()),
    ]


def _same_top(chunks: Sequence[Any]) -> Measurement:
    n = sum(chunk["n"] for chunk in chunks)
    share = sum(chunk["same_top"] for chunk in chunks) / n
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else 0.0
    samples = tuple(100 * chunk["same_top"] / chunk["n"] for chunk in chunks)
    return _with_error("same_top", "%", 100 * share, 100 * error, n, samples)


def _rms_dp(chunks: Sequence[Any]) -> Measurement:
    """Root mean square of p - p_base of the target token; error by the delta method from that of the mean square."""
    dp = _joined(chunks, "dp").astype(np.float32)
    square = (dp * dp).astype(np.float64)
    mean, error = mean_and_error(square)
    rms = math.sqrt(mean)
    samples = tuple(100 * math.sqrt(float(np.square(_joined([chunk], "dp")).mean())) for chunk in chunks)
    return _with_error("rms_dp", "%", 100 * rms, 100 * (0.5 * error / rms if rms else 0.0), len(dp), samples)


def measure(trace: Trace) -> list[Measurement]:
    """ppl, bits_per_byte, and with a base kld_mean, kld_median, kld_p999, kld_max, same_top, rms_dp.

    Intervals are value ± 1.96 standard errors over tokens, as the tool prints them; `n` is the
    scored tokens, `samples` the chunks. Nothing of an unfinished trace or of missing chunks.
    """
    chunks = [chunk for chunk in trace.of("chunk") if chunk["n"]]
    text = trace.first("tokens")
    if not trace.finished or not chunks or len(chunks) != text.get("n_chunks", len(chunks)):
        return []
    found = [_perplexity(chunks)]
    if text.get("bytes"):
        found.append(_bits_per_byte(chunks, text["bytes"]))
    if all("kld" in chunk and "dp" in chunk and "same_top" in chunk for chunk in chunks):
        found += [*_divergence(chunks), _same_top(chunks), _rms_dp(chunks)]
    return found
