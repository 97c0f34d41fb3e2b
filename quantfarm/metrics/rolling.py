"""Bits per byte over all of a text, as lm-eval's loglikelihood_rolling scores it (METHOD §2: across tokenizers)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from quantfarm.metrics.quality import Z, mean_and_error
from quantfarm.nouns import Measurement, Trace

METRIC = "bits_per_byte_rolling"


def measure(trace: Trace) -> list[Measurement]:
    """bits_per_byte_rolling: Σ nll / (ln 2 · bytes of the text), nll in nats over every token of it.

    The interval is ± 1.96 standard errors over tokens; `n` is the tokens, `samples` the bits of each window divided
    by its tokens. Nothing of an unfinished trace or of missing windows.
    """
    text, windows = trace.first("rolling"), trace.of("window")
    if not trace.finished or not windows or len(windows) != text.get("n_windows"):
        return []
    parts: list[NDArray[np.float64]] = [np.asarray(window["nll"], dtype=np.float64) for window in windows]
    nll = np.concatenate(parts)
    if len(nll) != text["n_tokens"]:
        return []
    mean, error = mean_and_error(nll)
    per_byte = len(nll) / (math.log(2) * text["bytes"])
    return [
        Measurement(
            metric=METRIC,
            value=mean * per_byte,
            unit="bit/byte",
            n=len(nll),
            low=(mean - Z * error) * per_byte,
            high=(mean + Z * error) * per_byte,
            remark=f"every token of the text, in windows of {text['n_ctx']}",
            samples=tuple(float(part.mean()) / math.log(2) for part in parts),
        )
    ]
