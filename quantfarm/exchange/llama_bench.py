"""A row of llama-bench as a figure, whichever of its formats it comes from.

bench_pp and bench_tg are ours (METHOD §1). Prompt and generation in one run (-pg) has no figure of ours: `bench_pg`.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from quantfarm.exchange.figure import DEVIATION, MEAN, MEDIAN, Figure, Reading, Wrong
from quantfarm.exchange.reading import Row, mapping, number, text_of, whole
from quantfarm.marks import marks

TOOL = "llama-bench"
#: The names that only a row of llama-bench has together.
MARKS = frozenset({"n_prompt", "n_gen", "avg_ts"})
#: llama.cpp's words for a quantization at the end of a model's description.
QUANT = re.compile(
    r"(?:^|\s)(?P<name>(?:all )?F32|(?:mostly )?B?F16|I?T?Q\d\w*|TQ\d\w*|MXFP4\w*)"
    r"(?: mix)?(?: - (?P<size>Small|Medium|Large)|(?: - [\d.]+ bpw(?: ternarization)?))?(?: MoE)?(?: \(guessed\))?$"
)
#: What is in a row's `extra` no more: it is the figure itself.
SAID = frozenset({"n_prompt", "n_gen", "n_depth", "avg_ts", "stddev_ts", "test_time", "quantfarm"})
#: Ours -> llama-bench's, as far as a label says them.
SETTINGS = {"n_batch": "n_batch", "n_ubatch": "n_ubatch", "type_k": "type_k", "type_v": "type_v"}
FLASH = {"1": "on", "0": "off", "True": "on", "False": "off"}


def reading(rows: Iterable[Row]) -> Reading:
    """Raises Wrong for a row without what a figure needs."""
    figures = tuple(figure(line, row) for line, row in rows)
    versions = dict.fromkeys(one.build for one in figures if one.build)
    return Reading(figures=figures, tool=TOOL, version=", ".join(versions))


def figure(line: int, row: Mapping[str, Any]) -> Figure:
    """Raises Wrong. Of rows that this farm exported, names are those of the farm."""
    n_prompt, n_gen = whole(row, "n_prompt", line), whole(row, "n_gen", line)
    if not n_prompt and not n_gen:
        raise Wrong(line, "n_prompt and n_gen are both 0: nothing was timed")
    ours = mapping(row.get("quantfarm"))
    model, variant = names(row)
    return Figure(
        line=line,
        metric="bench_pg" if n_prompt and n_gen else "bench_pp" if n_prompt else "bench_tg",
        **_rate(line, row, n_prompt + n_gen),
        unit="tok/s",
        workload=workload(row, line, n_prompt, n_gen),
        model=text_of(ours, "model") or model,
        variant=text_of(ours, "variant") or variant,
        device=text_of(ours, "device") or device(row),
        runtime=text_of(ours, "runtime") or TOOL,
        build=text_of(ours, "build") or build(row),
        measured_at=text_of(row, "test_time"),
        extra={key: value for key, value in row.items() if key not in SAID and value not in ("", None)},
    )


def _rate(line: int, row: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """From the repetitions where they are there: the median, as ours is; else the file's mean.

    `samples_ns`, since `samples_ts` is cut to six digits.
    """
    mean = number(row, "avg_ts", line)
    spread = number(row, "stddev_ts", line) if text_of(row, "stddev_ts") else None
    about = {"spread": spread, "spread_is": DEVIATION if spread is not None else ""}
    samples: Any = row.get("samples_ns")
    if samples is None:
        return about | {"value": mean, "statistic": MEAN}
    rates = [tokens / (ns / 1e9) for ns in _nanoseconds(line, samples)]
    return about | {"value": statistics.median(rates), "statistic": MEDIAN, "n": len(rates)}


def _nanoseconds(line: int, samples: Any) -> Sequence[float]:
    if not isinstance(samples, list) or not samples:
        raise Wrong(line, "samples_ns is no list of repetitions")
    found = [number({"samples_ns": one}, "samples_ns", line) for one in samples]  # pyright: ignore[reportUnknownVariableType]
    if any(one <= 0 for one in found):
        raise Wrong(line, "samples_ns holds a repetition that took no time")
    return found


def workload(row: Mapping[str, Any], line: int, n_prompt: int, n_gen: int) -> str:
    """`bench pp512 d4096 k-q8_0 ngl99 t8`: what was asked, and what is not usual in the context."""
    parts = [f"pp{n_prompt}" if n_prompt else "", f"tg{n_gen}" if n_gen else ""]
    depth = whole(row, "n_depth", line) if text_of(row, "n_depth") else 0
    settings: dict[str, Any] = {ours: _plain(row[theirs]) for ours, theirs in SETTINGS.items() if text_of(row, theirs)}
    if (flash := text_of(row, "flash_attn")) in FLASH:
        settings["flash_attn"] = FLASH[flash]
    if (layers := text_of(row, "n_gpu_layers")) not in ("", "-1"):
        settings["n_gpu_layers"] = _plain(layers)
    threads = text_of(row, "n_threads")
    return (
        f"bench {'+'.join(part for part in parts if part)}"
        + (f" d{depth}" if depth else "")
        + marks("bench", settings)
        + (f" t{threads}" if threads else "")
    )


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def names(row: Mapping[str, Any]) -> tuple[str, str]:
    """(model, variant): of the file's name where it is given, else of llama.cpp's description."""
    described, variant = split(text_of(row, "model_type"))
    stem = PurePath(text_of(row, "model_filename").replace("\\", "/")).name.removesuffix(".gguf")
    if stem and variant:
        stem = re.sub(rf"[-_. ]{re.escape(variant)}$", "", stem, flags=re.IGNORECASE)
    return stem or described, variant


def split(described: str) -> tuple[str, str]:
    """`qwen2 1.5B Q4_K - Medium` -> ("qwen2 1.5B", "Q4_K_M"); what is no quantization stays with the model."""
    found = QUANT.search(described)
    if not found:
        return described, ""
    name = found["name"].removeprefix("all ").removeprefix("mostly ")
    size = f"_{found['size'][0]}" if found["size"] else ""
    return described[: found.start()].strip(), name + size


def device(row: Mapping[str, Any]) -> str:
    """The processor, or the GPU where a backend of one was used."""
    cpu, gpu = text_of(row, "cpu_info"), text_of(row, "gpu_info")
    on_cpu = text_of(row, "backends") in ("", "CPU", "BLAS") or text_of(row, "n_gpu_layers") == "0"
    return (cpu or gpu) if on_cpu else (gpu or cpu)


def build(row: Mapping[str, Any]) -> str:
    """`f79069d9d (9050)`."""
    commit, counted = text_of(row, "build_commit"), text_of(row, "build_number")
    return f"{commit} ({counted})" if commit and counted not in ("", "0") else commit
