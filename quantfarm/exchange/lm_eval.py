"""lm-eval's results file: each task's metrics with their standard errors.

Shares become %, under the names that our own tasks have (quantfarm.tasks.figure); every other metric stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from quantfarm.exchange.figure import ERROR, Figure, Importer, Reading, Wrong
from quantfarm.exchange.reading import MOST, json_object, line_of, mapping, number, text_of
from quantfarm.tasks import figure as task_figure

TOOL = "lm-eval"
#: Metrics that are shares of documents, here in %.
SHARES = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match"})
UNITS = {"bits_per_byte": "bit/byte"}
#: What stands among a task's metrics and is none.
ABOUT = frozenset({"alias", "name", "sample_len", "sample_count", "samples", " "})


def recognises(text: str) -> bool:
    return text.lstrip().startswith("{") and '"results"' in text and ('"n-shot"' in text or '"versions"' in text)


def read(text: str) -> Reading:
    """Raises Wrong."""
    whole = json_object(text)
    results = mapping(whole.get("results"))
    if not results:
        raise Wrong(line_of(text, "results"), "no results")
    passed: list[str] = []
    at = line_of(text, "results")
    figures = tuple(one for task in results for one in _task(text, whole, str(task), at, passed))
    return Reading(
        figures=figures, tool=TOOL, version=text_of(whole, "lm_eval_version"), passed_over=tuple(dict.fromkeys(passed))
    )


def _task(text: str, whole: Mapping[str, Any], task: str, at: int, passed: list[str]) -> Iterator[Figure]:
    row, line = mapping(mapping(whole["results"])[task]), line_of(text, task, at)
    names = [key for key in row if key not in ABOUT and "_stderr" not in key]
    if not names:
        raise Wrong(line, f"the task {task} has no metric")
    for key in names:
        if row[key] in (None, "N/A", "") or (isinstance(row[key], float) and not math.isfinite(row[key])):
            passed.append(f"{task} {key}: no value")
        else:
            yield _figure(whole, task, row, key, line)


def _figure(whole: Mapping[str, Any], task: str, row: Mapping[str, Any], key: str, line: int) -> Figure:
    name, _, way = key.partition(",")
    factor, shots, docs = 100 if name in SHARES else 1, _shots(whole, task), _docs(whole, task)
    error = row.get(f"{name}_stderr,{way}" if way else f"{name}_stderr")
    spread = factor * float(error) if isinstance(error, int | float) and math.isfinite(error) else None
    shown = name if way in ("", "none") else f"{name}_{way}"
    return Figure(
        line=line,
        metric=task_figure(shown, task, shots, *_part(docs)),
        value=factor * number(row, key, line),
        unit="%" if factor == 100 else UNITS.get(name, ""),
        workload=f"{task} {shots}-shot",
        n=docs.get("effective"),
        spread=spread,
        spread_is=ERROR if spread is not None else "",
        **_about(whole),
    )


def _shots(whole: Mapping[str, Any], task: str) -> int:
    given = mapping(whole.get("n-shot")).get(task)
    return given if isinstance(given, int) else 0


def _docs(whole: Mapping[str, Any], task: str) -> dict[str, int]:
    """Of a group of tasks none are said."""
    said = mapping(mapping(whole.get("n-samples")).get(task))
    return {key: value for key, value in said.items() if isinstance(value, int) and 0 <= value < MOST}


def _about(whole: Mapping[str, Any]) -> dict[str, Any]:
    config = mapping(whole.get("config"))
    version = text_of(whole, "lm_eval_version")
    kept = ("model_args", "batch_size", "device", "dtype", "limit", "gen_kwargs", "model_sha", "random_seed")
    return {
        "model": text_of(whole, "model_name") or _pretrained(config.get("model_args")),
        "runtime": text_of(config, "model"),
        "build": f"{TOOL} {version}" if version else TOOL,
        "measured_at": _time(whole.get("date")),
        "extra": {key: config[key] for key in kept if config.get(key) not in (None, "", {})},
    }


def _part(docs: Mapping[str, int]) -> tuple[int, int]:
    """(scored, there are); 0 of 0 where the file does not say."""
    return (docs["effective"], docs["original"]) if {"effective", "original"} <= docs.keys() else (0, 0)


def _time(seconds: Any) -> str:
    """Since 1970; empty for what is no time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _pretrained(arguments: Any) -> str:
    """`pretrained=…` of the model's arguments: a mapping, or a text in older versions."""
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    return text_of(mapping(arguments), "pretrained")


IMPORTER = Importer(recognises, read)
