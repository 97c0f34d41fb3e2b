"""The metadata of a model card, as Hugging Face's hub reads it: what it is made from, and its quality as results.

Speed and memory are of a device and stand in the card's text: a hub's results have no place for a device.
"""

# pyright: reportUnknownMemberType=false
# (huggingface_hub leaves a line break's type open)
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.quantizers import AS_IS, quantizer
from quantfarm.report import columns as named
from quantfarm.report.cards import Card
from quantfarm.report.columns import TASKS
from quantfarm.statistics.summary import Summary

#: The library that reads a format; a format that none of the hub's reads has none.
LIBRARIES = {
    "gguf": "gguf",
    "mlx": "mlx",
    **dict.fromkeys(("hf", "compressed-tensors", "bnb"), "transformers"),
}
#: Our figure -> (the hub's metric, its name).
METRICS = {
    "ppl": ("perplexity", "perplexity"),
    "kld_mean": ("kl_divergence", "mean KL divergence to the unquantized model, nat"),
    "same_top": ("same_top_token", "same likeliest token as the unquantized model, %"),
    "bits_per_byte_rolling": ("bits_per_byte", "bits per byte"),
}
TASK = "text-generation"


def yaml(card: Card) -> str:
    """The block between the lines of dashes."""
    found = list(results(card))
    hub = card.hub
    return ModelCardData(
        base_model=hub[0] if hub else None,
        base_model_relation="quantized" if hub and card.quantized else None,
        library_name=LIBRARIES.get(format_of(card)),
        pipeline_tag=TASK,
        tags=["quantfarm", *dict.fromkeys(one for one in (format_of(card), card.variant.lower()) if one)],
        model_name=f"{card.model} {card.variant}",
        eval_results=found or None,
    ).to_yaml()


def format_of(card: Card) -> str:
    """`gguf`, `mlx`, …; empty where the recipe is not known."""
    if card.artifact is None:
        return ""
    recipe = card.artifact.recipe
    if recipe.quantizer == AS_IS:
        return "hf" if recipe.quant == "HF" else "gguf"
    try:
        return quantizer(recipe.quantizer).format
    except UsageError:  # of another version of the farm
        return ""


def results(card: Card) -> Iterator[EvalResult]:
    """Each quality figure once for each runtime that it was measured under."""
    for candidate in {(e.candidate.runtime, e.candidate.build): e.candidate for e in card.entries}.values():
        for column in named.columns([candidate]):
            summary = candidate.figures[column.metric]
            if column.metric in METRICS:
                yield _of_text(candidate, column.metric, summary)
            elif column.table == TASKS:
                yield _of_task(candidate, column.metric, summary)


def _of_text(candidate: Candidate, metric: str, summary: Summary) -> EvalResult:
    kind, name = METRICS[metric]
    sha256 = candidate.text_sha256
    return EvalResult(
        task_type=TASK,
        dataset_type="text",
        dataset_name=f"text with sha256 {sha256[:16]}…" if sha256 else "text",
        dataset_config=candidate.workloads.get(metric),
        dataset_args={"sha256": sha256} if sha256 else None,
        metric_type=kind,
        metric_name=f"{name}, under {candidate.build or candidate.runtime}",
        **_value(summary),
    )


def _of_task(candidate: Candidate, metric: str, summary: Summary) -> EvalResult:
    found = named.TASK.fullmatch(metric)
    assert found  # it has a column of the tasks
    part = f", only {found['n']} of {found['of']} documents: not that benchmark's score" if found["n"] else ""
    shots = f"{found['shots'] or 0}-shot"
    return EvalResult(
        task_type=TASK,
        dataset_type=found["task"],
        dataset_name=found["task"] + part,
        dataset_config=shots + (f", {found['n']} of {found['of']}" if part else ""),
        metric_type="accuracy",
        metric_name=f"{re.sub('_', ' ', found['metric'])} %, {shots}{part}, under "
        f"{candidate.build or candidate.runtime}",
        **_value(summary),
    )


def _value(summary: Summary) -> dict[str, Any]:
    """With the interval where there is one, and what it is of."""
    interval = {"low": summary.low, "high": summary.high} if summary.low is not None else {}
    known = {name: float(value) for name, value in interval.items() if value is not None}
    return {
        "metric_value": float(summary.value),
        "metric_args": {**known, **({"interval": "95 %"} if known else {}), "n": summary.n},
    }
