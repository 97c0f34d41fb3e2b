"""llama.cpp's own llama-bench, its rows turned into our events: the peer that the farm is held against."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantfarm.nouns import Cell, Scalar, Trace
from quantfarm.runtimes import events, llama_native
from quantfarm.runtimes.llama_cpp import LlamaCpp, runner_file, sampled
from quantfarm.toolchain import cross

#: Fields of a row that say what was in effect; llama-bench leaves its defaults (-1) unresolved.
SETTINGS = ("n_batch", "n_ubatch", "n_threads", "flash_attn", "type_k", "type_v", "n_gpu_layers", "load_mode", "poll")


def _tool(files: Mapping[str, str]) -> str:
    if given := files.get("llama-bench"):
        return given
    return str(importlib.import_module("quantfarm.toolchain").tool("llama-bench"))


def arguments(settings: Mapping[str, Scalar], model: str) -> list[str]:
    """llama-bench's options for a bench workload. With no layer on a GPU it gets no GPU at all."""
    names = {
        **{"n_prompt": "-p", "n_gen": "-n", "n_depth": "-d", "repetitions": "-r", "threads": "-t"},
        **{"n_batch": "-b", "n_ubatch": "-ub", "flash_attn": "-fa", "type_k": "-ctk", "type_v": "-ctv"},
        "n_gpu_layers": "-ngl",
    }
    given = [part for name, option in names.items() for part in (option, str(settings[name]))]
    device = ["-dev", "none"] if settings["n_gpu_layers"] == 0 else []
    return ["-m", model, "-o", "jsonl", *given, *device]


def _is_row(thing: Mapping[str, Any]) -> bool:
    return "event" not in thing and "samples_ns" in thing


def _loaded(row: Mapping[str, Any], t: int) -> dict[str, Any]:
    model = {"description": row.get("model_type"), "size": row.get("model_size"), "n_params": row.get("model_n_params")}
    settings = {name: row[name] for name in SETTINGS if name in row}
    backend = str(row.get("backends", "unknown"))
    return {"event": "loaded", "t": t, "backend": backend, "settings": settings, "model": model}


def _repetitions(row: Mapping[str, Any], t: int) -> list[dict[str, Any]]:
    """A row's repetitions as events; from `samples_ns`, since `samples_ts` is cut to six digits.

    A row of prompt and generation together (-pg) is no figure of ours: kept as a `result`.
    """
    if row["n_prompt"] and row["n_gen"]:
        return [{"event": "result", "t": t, "row": dict(row)}]
    kind = "prefill" if row["n_prompt"] else "decode"
    shared = {"t": t, "mode": "bench", "tokens": row["n_prompt"] or row["n_gen"], "depth": row.get("n_depth", 0)}
    return [{"event": kind, **shared, "repetition": i, "seconds": ns / 1e9} for i, ns in enumerate(row["samples_ns"])]


def _begin(row: Mapping[str, Any]) -> dict[str, Any]:
    versions = {"llama-bench": f"{row.get('build_commit')} ({row.get('build_number')})"}
    system = str(row.get("cpu_info", ""))
    return {"event": "begin", "t": 0, "schema": 1, "runner": "llama_bench", "versions": versions, "system": system}


class LlamaBench:
    name = "llama_bench"
    formats = frozenset({"gguf"})
    workloads = frozenset({"bench"})
    environment = ""
    runner = Path()

    def build(self) -> str:
        """The tool is built from the sources of the installed llama-cpp-python: its version is the tool's."""
        found = LlamaCpp().build()
        return f"llama-bench of {found}" if found else ""

    def files(self, cell: Cell) -> Mapping[str, Path]:
        """Here, the tool that shares this machine's libraries; elsewhere the static one, with our own program to
        run it under. Raises UsageError where that is not built for the device's platform."""
        platform = cell.profile.platform
        if cell.profile.kind == "local" or not platform:
            return {"sampler": runner_file("sampler.py"), "llama-bench": Path(_tool({}))}
        names = {"native": "quantfarm-native", "llama-bench": "llama-bench"}
        return {name: cross.program(program, platform) for name, program in names.items()}

    def command(self, cell: Cell, files: Mapping[str, str]) -> Sequence[str]:
        """Under a sampler, which writes `begin` and, from the exit status that it sees itself, `end`."""
        wrap = ("--wrap", self.name)
        if native := files.get("native"):
            under = llama_native.sampled(native, *wrap)
        else:
            under = sampled(files.get("python") or sys.executable, files, *wrap)
        return [*under, _tool(files), *arguments(cell.workload.settings, files["model"])]

    def parse(self, lines: Iterable[str]) -> Trace:
        """From the sampler's lines and llama-bench's rows among them, or from rows alone (which have no end:
        nothing then says that all arrived). Raises ValueError naming the line that is neither."""
        found: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            try:
                found += self._events(events.json_object(line.rstrip("\r\n")), found)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"line {number} is no llama-bench row: {error}: {line[:120].rstrip()!r}") from error
        return Trace(events=tuple(_ended_whole(found)))

    def _events(self, thing: dict[str, Any], before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if not _is_row(thing):
            return [events.checked(thing)]
        t = max((event["t"] for event in before), default=0)
        new = [] if before else [_begin(thing)]
        if not any(event["event"] == "loaded" for event in before):
            new.append(_loaded(thing, t))
        return [events.checked(event) for event in [*new, *_repetitions(thing, t)]]


def _ended_whole(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An exit status of 0 without a single row is a failure too."""
    rows = any(event["event"] in ("prefill", "decode", "result") for event in found)
    if found and found[-1].get("event") == "end" and found[-1]["ok"] and not rows:
        failed = {"ok": False, "stage": "run", "error": "llama-bench printed no row", "retryable": False}
        return [*found[:-1], {**found[-1], **failed}]
    return found
