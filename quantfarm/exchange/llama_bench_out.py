"""Repetitions of ours as rows of llama-bench -o jsonl, which llama.cpp's compare-llama-bench script reads.

What we do not know is empty, as llama-bench leaves the name of a GPU that is not there: the script compares rows by
equality, which a null never has. Numbers that nothing is compared by are null instead. One more field, `quantfarm`,
holds our own names; llama.cpp's script passes over it, our importer takes it.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantfarm.exchange.reading import mapping, text_of

#: llama-bench's fields in its order. `use_mmap` is an older one's, which the script may ask for.
FIELDS = (
    *("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type"),
    *("model_size", "model_n_params", "n_batch", "n_ubatch", "n_threads", "cpu_mask", "cpu_strict", "poll"),
    *("type_k", "type_v", "n_gpu_layers", "n_cpu_moe", "split_mode", "main_gpu", "no_kv_offload", "flash_attn"),
    *("devices", "tensor_split", "tensor_buft_overrides", "load_mode", "lazy_mode", "use_mmap", "embeddings"),
    *("no_op_offload", "no_host", "repack", "fit_target", "fit_min_ctx", "n_prompt", "n_gen", "n_depth", "test_time"),
    *("avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts"),
)
FLASH = {"on": 1, "off": 0, "auto": -1}
BUILD = re.compile(r"(?P<commit>\S+) \((?P<number>\d+)\)")
SAME = ("n_batch", "n_ubatch", "type_k", "type_v", "n_gpu_layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The repetitions of one phase of one launch: `tokens` in each of `samples_ns`.

    `settings` are the workload's, `conditions` those it landed with; `about` is who it is here.
    """

    prefill: bool
    tokens: int
    depth: int
    samples_ns: Sequence[int]
    chip: str
    started_at: str  # ISO 8601, UTC
    about: Mapping[str, str]  # device, model, variant, runtime, build, cell
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])


def text(benches: Iterable[Bench]) -> str:
    return "".join(json.dumps(row(bench), ensure_ascii=False, allow_nan=False) + "\n" for bench in benches)


def row(bench: Bench) -> dict[str, Any]:
    known = {**_build(bench), **_model(bench), **_context(bench), **_test(bench), **_times(bench)}
    return {name: known.get(name, "") for name in FIELDS} | {"quantfarm": dict(bench.about)}


def _build(bench: Bench) -> dict[str, Any]:
    """llama-bench's own commit where it ran; of other programs their build, with the 0 of one that is not counted."""
    found = BUILD.fullmatch(text_of(mapping(bench.conditions.get("versions")), "llama-bench"))
    said = {"build_commit": found["commit"], "build_number": int(found["number"])} if found else {}
    other = {"build_commit": bench.about["build"], "build_number": 0}
    return {"cpu_info": bench.chip, "backends": text_of(bench.conditions, "backend"), **other, **said}


def _model(bench: Bench) -> dict[str, Any]:
    """The file's name is not kept: what tells models apart stands in its place."""
    model = mapping(bench.conditions.get("model"))
    named = f"{bench.about['model']} {bench.about['variant']}"
    return {
        "model_filename": named,
        "model_type": text_of(model, "description") or named,
        "model_size": model.get("size"),
        "model_n_params": model.get("n_params"),
    }


def _context(bench: Bench) -> dict[str, Any]:
    """As the workload asks; llama-bench too says what it was asked."""
    asked, effective = bench.settings, mapping(bench.conditions.get("settings"))
    return {
        **{name: asked[name] for name in SAME if asked.get(name) is not None},
        "n_threads": asked.get("threads", ""),
        "flash_attn": FLASH.get(str(asked.get("flash_attn")), ""),
        "load_mode": text_of(effective, "load_mode"),
        "embeddings": False,
    }


def _test(bench: Bench) -> dict[str, Any]:
    sizes = {"n_prompt": bench.tokens, "n_gen": 0} if bench.prefill else {"n_prompt": 0, "n_gen": bench.tokens}
    return {**sizes, "n_depth": bench.depth, "test_time": bench.started_at}


def _times(bench: Bench) -> dict[str, Any]:
    """Means and deviations as llama-bench has them: of one repetition the deviation is 0."""
    rates = [bench.tokens / (ns / 1e9) for ns in bench.samples_ns]
    several = len(rates) > 1
    return {
        "avg_ns": round(statistics.fmean(bench.samples_ns)),
        "stddev_ns": round(statistics.stdev(bench.samples_ns)) if several else 0,
        "avg_ts": round(statistics.fmean(rates), 6),
        "stddev_ts": round(statistics.stdev(rates), 6) if several else 0.0,
        "samples_ns": list(bench.samples_ns),
        "samples_ts": [float(f"{rate:.6g}") for rate in rates],
    }
