"""How predictions of memory are shown: a table read at a glance, what was measured beside them, or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.fits import answer as asked
from flows.fits.answer import Answer, Check, Row, Wanted
from flows.fits.predicting import Weights
from quantfarm.memory_model.parts import Parts, words

#: Of a prediction beside what was measured.
GOAL_PERCENT = 5.0


def as_dict(found: Answer, wanted: Wanted) -> dict[str, Any]:
    budget = found.device.memory_budget_mib if found.device else None
    errors = [abs(check.error) for check in found.checks]
    return {
        "model": found.model,
        "device": found.device.name if found.device else None,
        "budget_mib": budget,
        "n_ctx_train": found.n_ctx_train,
        "n_ubatch": wanted.n_ubatch,
        "flash_attn": wanted.flash_attn,
        "process": asdict(found.process) if found.process else None,
        "variants": [_row(row, budget) for row in found.rows],
        "measured": [_check(check) for check in found.checks],
        "largest_error_percent": max(errors, default=None),
        "goal_percent": GOAL_PERCENT,
        "notes": list(found.notes),
    }


def _row(row: Row, budget: int | None) -> dict[str, Any]:
    weights = row.weights
    about = {
        "variant": weights.name,
        "format": weights.format,
        "bits_per_weight": weights.bits_per_weight,
        "types": dict(weights.types),
        "exact": weights.exact,
        "made": weights.made,
        "kv_type": row.cache,
    }
    contexts = [{"n_ctx": n, **_parts(parts, budget)} for n, parts in row.parts.items()]
    return about | {"contexts": contexts} | ({"largest_context": row.largest} if budget else {})


def _parts(parts: Parts | str, budget: int | None) -> dict[str, Any]:
    if isinstance(parts, str):
        return {"refused": parts, "total_mib": None, "fits": None}
    each = {f"{name}_mib": value for name, value in asdict(parts).items()}
    return each | {"total_mib": parts.total, "fits": parts.total <= budget if budget else None}


def _check(check: Check) -> dict[str, Any]:
    peak = check.peak
    return {
        "device": peak.device,
        "variant": peak.variant,
        "runtime": peak.runtime,
        "build": peak.build,
        "workload": peak.label,
        "settings": peak.workload.settings,
        "launches": peak.launches,
        "measured_mib": peak.mib,
        "predicted_mib": check.parts.total,
        "error_percent": check.error,
    }


def show(found: Answer, wanted: Wanted, console: Console) -> None:
    budget = found.device.memory_budget_mib if found.device else 0
    console.print(_headline(found, budget), style="bold", markup=False, highlight=False, soft_wrap=True)
    several, device = len(wanted.caches) > 1, bool(budget)
    columns = ["variant", "bits", *(["KV cache"] if several else []), "weights", "copies", "process"]
    table = Table(*columns, *(f"at {n}" for n in wanted.contexts), box=None, header_style="bold", pad_edge=False)
    if device:
        table.add_column("fits up to")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.rows:
        table.add_row(*_cells(row, budget, several))
    console.print(table)
    _show_checks(found, console)
    for note in found.notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _headline(found: Answer, budget: int) -> str:
    process = f"a process of {words(found.process.mib)} ({found.process.build})" if found.process else "no process"
    on = f"; {found.device.name} may use {words(budget)}" if found.device and budget else ""
    return f"{found.model}: resident memory, with {process}{on}"


def _cells(row: Row, budget: int, several: bool) -> list[Text | str]:
    first = next((one for one in row.parts.values() if isinstance(one, Parts)), None)
    cells: list[Text | str] = [_name(row.weights), f"{row.weights.bits_per_weight:.2f}"]
    cells += [row.cache] if several else []
    cells += [words(row.weights.mib), words(first.copies) if first and first.copies else "–"]
    cells.append(words(first.process) if first else "–")
    cells += [_total(one, budget) for one in row.parts.values()]
    if budget:
        cells.append(str(row.largest) if row.largest else Text("none", style="red"))
    return cells


def _name(weights: Weights) -> str:
    return weights.name if weights.exact else f"≈ {weights.name}"


def _total(parts: Parts | str, budget: int) -> Text:
    if isinstance(parts, str):
        return Text("refused", style="red")
    text = words(parts.total)
    if not budget:
        return Text(text)
    return Text(f"{text} ✓", style="green") if parts.total <= budget else Text(f"{text} ✗", style="red")


def _show_checks(found: Answer, console: Console) -> None:
    if not found.checks:
        console.print("nothing of it was measured yet: no error to tell", style="dim")
        return
    table = Table(
        "device", "variant", "workload", "launches", "measured", "predicted", "error",
        box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for check in found.checks:
        error, peak = check.error, check.peak
        style = "" if abs(error) <= GOAL_PERCENT else "red"
        table.add_row(
            peak.device, peak.variant, _label(check), str(peak.launches), f"{peak.mib:.1f} MiB",
            f"{check.parts.total:.1f} MiB", Text(f"{error:+.1f} %", style=style),
        )  # fmt: skip
    console.print()
    console.print(table)
    errors = [abs(check.error) for check in found.checks]
    within = sum(error <= GOAL_PERCENT for error in errors)
    console.print(
        f"{within} of {len(errors)} within {GOAL_PERCENT:g} %, the largest error {max(errors):.1f} %", highlight=False
    )


def _label(check: Check) -> str:
    """The runtime is named where it is not the usual one."""
    peak = check.peak
    return peak.label if peak.runtime == asked.RUNTIME else f"{peak.label} ({peak.runtime})"
