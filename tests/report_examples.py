"""Candidates shaped like the reference model's: seven variants of a few million parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quantfarm.candidates import Candidate, named
from quantfarm.statistics.paired import Answers
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


#: variant, runtime, bits per weight, loss in nats over the base, accuracy of the cloze in %
LAB = (
    ("F16", "llama_cpp", 16.0, 0.0, 71.0),
    ("Q8_0", "llama_cpp", 8.5, 0.0005, 71.0),
    ("Q6_K", "llama_cpp", 6.6, 0.002, 70.8),
    ("Q5_K_M", "llama_cpp", 5.75, 0.005, 70.5),
    ("Q4_K_M", "llama_cpp", 4.95, 0.016, 70.0),
    ("Q3_K_M", "llama_cpp", 4.05, 0.066, 67.5),
    ("Q2_K", "llama_cpp", 3.3, 0.19, 61.0),
    ("Q4_K_M+imatrix", "llama_cpp", 4.95, 0.012, 70.2),
    ("IQ3_XS+imatrix", "llama_cpp", 3.6, 0.07, 67.0),
    ("IQ2_XS+imatrix", "llama_cpp", 2.7, 0.31, 57.0),
    ("HF", "mlx", 32.0, 0.0, 71.0),
    ("HF", "transformers", 32.0, 0.0, 71.0),
    ("MLX-8", "mlx", 8.5, 0.001, 71.0),
    ("MLX-4", "mlx", 4.5, 0.04, 69.0),
    ("AWQ", "transformers", 4.6, 0.021, 69.6),
    ("GPTQ", "transformers", 4.6, 0.024, 69.4),
    ("NF4", "transformers", 4.6, 0.03, 69.2),
    ("RTN", "transformers", 4.6, 0.045, 68.6),
)


def lab(documents: int = 400, seed: int = 0, launches: int = 3) -> list[Candidate]:
    """A model in every format, with a task of its own and a few documents of a benchmark."""
    rng = np.random.default_rng(seed)
    text = rng.normal(math.log(12), 0.25, 40)
    hard = rng.random(documents)
    return named([_of_lab(row, text, hard, rng, launches) for row in LAB])


def _of_lab(
    row: tuple[str, str, float, float, float],
    text: np.ndarray[Any, np.dtype[np.float64]],
    hard: np.ndarray[Any, np.dtype[np.float64]],
    rng: np.random.Generator,
    launches: int,
) -> Candidate:
    name, runtime, bits, loss, accuracy = row
    nll = text + loss + rng.normal(0, 0.002 + 0.1 * loss, len(text)) * (loss > 0)
    right = hard + rng.normal(0, 0.02, len(hard)) * (loss > 0) < accuracy / 100
    share = 100 * float(right.mean())
    few = 100 * float(right[:100].mean())
    values = {"resident_peak": (20 * bits,) * launches}
    if runtime == "llama_cpp":
        values |= {
            "decode_tps": tuple(7000 / bits**0.5 * (1 + 0.01 * rng.standard_normal(launches))),
            "bench_pp": (3000.0, 3010.0, 2990.0),
            "bench_tg": (1500.0, 1510.0, 1490.0),
            "ttft": (0.061, 0.06, 0.062),
            "energy_per_token": (0.012, 0.0125, 0.0119),
        }
    figures = {metric: summarise(v) for metric, v in values.items()}
    figures["ppl"] = Summary(
        value=math.exp(nll.mean()), mad=0, n=1, low=math.exp(nll.mean()) - 0.3, high=math.exp(nll.mean()) + 0.3
    )
    figures["bits_per_byte_rolling"] = Summary(value=1.2 + loss, mad=0, n=9000, low=1.19 + loss, high=1.21 + loss)
    figures["acc_reference_cloze"] = Summary(value=share, mad=0, n=len(hard), low=share - 4.6, high=share + 4.4)
    figures["acc_norm_arc_easy_100of2376"] = Summary(value=few, mad=0, n=100, low=few - 9, high=few + 9)
    if loss:
        figures["kld_mean"] = Summary(value=loss, mad=0, n=1, low=loss * 0.95, high=loss * 1.05)
        figures["same_top"] = Summary(value=99 - 60 * loss, mad=0, n=9000, low=98 - 60 * loss, high=99.5 - 60 * loss)
    documents = {f"d{i}": bool(one) for i, one in enumerate(right)}
    return Candidate(
        device="bench-box",
        model="reference",
        variant=name,
        runtime=runtime,
        build=f"{runtime} 1.0",
        artifact=f"{name} {bits}",
        size=int(bits * 720_000),
        bits_per_weight=bits,
        figures=figures,
        launches=values,
        workloads={"decode_tps": "app p128 n128", "bench_pp": "bench pp512 tg128", "ppl": "quality 40×512"},
        chunk_nll=tuple(nll * TOKENS),
        chunk_tokens=(TOKENS,) * len(nll),
        text_sha256="3455" * 16,
        items={"acc_reference_cloze": Answers(right=documents, groups=dict.fromkeys(documents, ""))},
        reproduce=f"quantfarm sweep --model reference --quants {name}",
    )
