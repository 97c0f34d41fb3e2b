"""Candidates shaped like the reference model's: seven variants of a few million parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.summary import Summary, summarise

#: variant, bytes, bits per weight, tok/s, MiB, loss in nats over F16
ROWS = (
    ("F16", 11.6e6, 16.0, 720.0, 79.1, 0.0),
    ("Q8_0", 6.2e6, 8.55, 1010.0, 72.9, 0.0006),
    ("Q6_K", 4.8e6, 6.6, 1105.0, 70.4, 0.0021),
    ("Q5_K_M", 4.2e6, 5.75, 1160.0, 69.3, 0.0061),
    ("Q4_K_M", 3.7e6, 4.95, 1305.0, 68.2, 0.016),
    ("Q3_K_M", 3.2e6, 4.05, 1390.0, 67.1, 0.066),
    ("Q2_K", 2.9e6, 3.3, 1490.0, 66.4, 0.19),
)
TOKENS = 255


def seven(
    device: str = "bench-box", launches: int = 6, seed: int = 0, chunks: int = 40, **other: Any
) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    text = rng.normal(0, 0.25, chunks)
    text += math.log(12) - text.mean()
    return [_one(row, text, rng, launches, device, other) for row in ROWS]


def _one(
    row: tuple[str, float, float, float, float, float],
    text: np.ndarray[Any, np.dtype[np.float64]],
    rng: np.random.Generator,
    launches: int,
    device: str,
    other: dict[str, Any],
) -> Candidate:
    name, size, bits, speed, memory, loss = row
    nll = text + loss + rng.normal(0, 0.002 + 0.1 * loss, len(text)) * (loss > 0)
    ppl = math.exp(nll.mean())

    def around(value: float, spread: float) -> tuple[float, ...]:
        return tuple(value * (1 + spread * rng.standard_normal(launches)))

    values = {
        "decode_tps": around(speed, 0.01),
        "bench_pp": around(3000.0, 0.01),
        "bench_tg": around(speed * 1.08, 0.01),
        "ttft": around(0.061, 0.03),
        "resident_peak": around(memory, 0.0003),
    }
    figures = {metric: summarise(v) for metric, v in values.items()}
    figures["ppl"] = Summary(value=ppl, mad=0, n=1, low=ppl - 0.3, high=ppl + 0.3)
    if loss:
        figures["kld_mean"] = Summary(value=loss, mad=0, n=1, low=loss * 0.95, high=loss * 1.05)
    given: dict[str, Any] = {
        "device": device,
        "model": "reference",
        "variant": name,
        "runtime": "llama_cpp",
        "build": "llama-cpp-python 0.3.36",
        "artifact": name,
        "size": int(size),
        "bits_per_weight": bits,
        "figures": figures,
        "launches": values,
        "workloads": {"decode_tps": "app p128 n128", "bench_pp": "bench pp512 tg128"},
        "chunk_nll": tuple(nll * TOKENS),
        "chunk_tokens": (TOKENS,) * len(nll),
        "text_sha256": "3455" * 16,
        "conditions": {"settings": {"threads": 2, "n_batch": 2048}, "backend": "CPU", "governor": "performance"},
        "reproduce": f"quantfarm sweep --model reference --quants {name}",
    }
    return Candidate(**(given | other))
