"""One measurement: what happened in it over time, its figures, under which conditions, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import asked, parts, store
from dashboard.charts import cell as chart
from dashboard.charts.cell import Timeline
from quantfarm.report import names
from quantfarm.report.conditions import power_mode
from quantfarm.report.figures import number
from storage import catalogue, timeline
from storage.attempts import Alike, Attempt, alike, attempts, figures, judged, without_mark
from storage.catalogue import Name
from storage.names import trace_path
from storage.reading import Reader
from storage.results import METRICS
from storage.runs import Figure, read_runs

#: Kinds of workload in the order in which somebody looks at one: those with the time of each token first.
KINDS = ("app ", "sustained ", "bench ", "batch ", "speculative ", "quality ")
SHOWN = ("backend", "os", "governor", "load_1min", "memory_available_mib", "thermal_status", "hot_start")


def main() -> None:
    cell = _chosen()
    found = store.ask(attempts, cell)
    of = _attempt(found)
    if of.simulated:
        parts.simulated()
    _heading(of)
    shown = store.ask(_timeline, of.cell, of.attempt)
    if of.ok:
        _figures(of)
    if not shown.empty:
        _plot(of, shown)
    _conditions(of)
    _again(of)
    _trace(of)


# --- which one ---


def _chosen() -> str:
    """The cell that the address names, or one chosen from what there is."""
    if wanted := _wanted(st.query_params.get("cell", "")):
        asked.meant(device=wanted.device, model=wanted.model, variant=wanted.variant, workload=wanted.workload)
    with st.container(border=True):
        places = st.columns([2, 2, 2, 3])
        with places[0]:
            device = _from("Device", "device", store.ask(catalogue.devices))
        with places[1]:
            models = store.ask(catalogue.models, device=device)
            model = _from("Model", "model", models)
        with places[2]:
            variants = store.ask(catalogue.variants, device=device, model=model)
            variant = _from("Variant", "variant", variants)
        with places[3]:
            workloads = store.ask(catalogue.workloads, device=device, model=model, variant=variant)
            workload = _from("Workload", "workload", sorted(workloads, key=_telling))
        there = store.ask(alike, device=device, model=model, variant=variant, workload=workload)
        by_id = {one.cell: one for one in there}
        return asked.one("Measurement", "cell", list(by_id), words=lambda one: _named(by_id[one]))


def _wanted(cell: str) -> Attempt | None:
    """One that is not there is said where the measurements are."""
    found = store.ask(attempts, cell) if cell else []
    return found[-1] if found else None


def _from(label: str, key: str, known: Sequence[Name]) -> str:
    simulated = {one.name for one in known if one.simulated}
    words: Callable[[str], str] = str
    if key == "device":
        words = lambda name: f"{name} (simulated)" if name in simulated else name  # noqa: E731
        known = sorted(known, key=lambda one: one.simulated)
    return asked.one(label, key, [one.name for one in known], words=words)


def _telling(one: Name) -> int:
    return next((at for at, kind in enumerate(KINDS) if one.name.startswith(kind)), len(KINDS))


def _named(one: Alike) -> str:
    when = f"{one.started_at:%Y-%m-%d %H:%M}" if one.started_at else "time not known"
    return f"launch {one.launch} · {when} · {one.build} · {one.state} · {one.cell}"


def _attempt(found: Sequence[Attempt]) -> Attempt:
    """The one that counts, where the address does not say."""
    by_number = {str(one.attempt): one for one in found}
    counts = next((str(one.attempt) for one in found if one.current), str(found[-1].attempt))
    if len(found) == 1 and st.query_params.get("attempt", counts) == counts:
        return found[0]
    return by_number[asked.one("Attempt", "attempt", list(by_number), counts, lambda one: _tried(by_number[one]))]


def _tried(one: Attempt) -> str:
    when = f"{one.started_at:%Y-%m-%d %H:%M}" if one.started_at else "time not known"
    counts = " · counts" if one.current else ""
    night = f" · night {one.night}" if one.night else ""
    return f"attempt {one.attempt} · {when} · {one.state}{night}{counts}"


# --- what it says ---


def _heading(of: Attempt) -> None:
    st.subheader(parts.escape(f"{of.variant} of {of.model} on {of.device}"), anchor=False)
    took = f"took {number(of.seconds)} s"
    said = [of.workload, f"launch {of.launch}", of.build or of.runtime, took, f"cell {of.cell}, attempt {of.attempt}"]
    st.markdown(parts.escape(" · ".join(said)))
    if of.ok:
        return
    again = " Trying again may help." if of.retryable else ""
    where = f"Failed while it was to {of.stage}" if of.stage else f"It is {of.state}"
    st.error(parts.escape(f"{where}: {of.reason}.{again}"))


def _figures(of: Attempt) -> None:
    landed = store.ask(figures, of)
    found = judged(landed, of, store.ask(read_runs, of.model, of.device))
    if not found:
        return
    main = [metric for metric in METRICS.get(of.kind, ()) if metric in found][:4]
    if main:
        for place, metric in zip(st.columns(len(main)), main, strict=True):
            with place:
                _metric(metric, found[metric])
    rows = [_row(metric, one) for metric, one in found.items()]
    wrong = [row for row in rows if row["valid"] == "no"]
    for row in wrong:
        st.warning(parts.escape(f"{row['figure']} must not be used: {row['remark']}"))
    with st.expander(f"All {len(rows)} figures, with remarks", expanded=False):
        st.dataframe(rows, hide_index=True)
        parts.downloads(f"figures of {of.cell}.{of.attempt}", rows)


def _metric(metric: str, one: Figure) -> None:
    value = f"{number(one.value)} {one.unit}".strip() if one.valid else "invalid"
    st.metric(names.called(metric), value, help=parts.escape(one.remark) or None)


def _row(metric: str, one: Figure) -> dict[str, str]:
    between = f"{number(one.low, 4)}–{number(one.high, 4)}" if one.low is not None else ""
    return {
        "figure": names.called(metric),
        "value": number(one.value, 4),
        "unit": one.unit,
        "95 % interval": between,
        "n": str(one.n),
        "valid": "yes" if one.valid else "no",
        "remark": without_mark(one),
        "metric": metric,
    }


def _timeline(reader: Reader, cell: str, attempt: int) -> Timeline:
    found = timeline.timeline(reader, cell, attempt)
    gaps = timeline.tokens(store.home(), cell, attempt, found.zero) if found.zero is not None else None
    return Timeline(
        readings=found.readings.to_pylist(),
        repetitions=found.repetitions.to_pylist(),
        tokens=gaps.to_pylist() if gaps is not None else [],
    )


def _plot(of: Attempt, shown: Timeline) -> None:
    there = ", ".join(chart.panels(shown)) or "no reading of a sensor"
    parts.plot(
        chart.figure(shown, of.variant),
        f"timeline {of.cell}.{of.attempt}",
        f"Over time: {'the time between tokens, ' if shown.tokens else ''}{there}; repetitions as bands.",
        shown.readings or shown.repetitions,
    )
    said = ["Bands: repetitions, prefill darker than decode."]
    if gone := chart.missing(shown):
        said.append(f"Not recorded here: {', '.join(gone)}.")
    st.caption(" ".join(said))


def _conditions(of: Attempt) -> None:
    known = of.conditions
    told = [f"{key.replace('_', ' ')} {known[key]}" for key in SHOWN if known.get(key) not in (None, "")]
    versions = [f"{name} {version}" for name, version in (known.get("versions") or {}).items()]
    parts.conditions([of.chip, power_mode(known), *told, *versions])
    with st.expander("Effective settings and everything recorded around it"):
        left, right = st.columns(2)
        with left:
            st.markdown("**Settings in effect**")
            _pairs(known.get("settings") or {}, "The runtime did not say.")
        with right:
            st.markdown("**Asked for**")
            _pairs(of.parameters, "Nothing but the usual.")
        st.markdown("**All conditions**")
        st.json({**known}, expanded=False)


def _pairs(given: Mapping[str, Any], otherwise: str) -> None:
    rows = [{"setting": name, "value": str(value)} for name, value in given.items() if value is not None]
    if rows:
        st.dataframe(rows, hide_index=True)
    else:
        st.caption(otherwise)


def _again(of: Attempt) -> None:
    st.markdown("**Measure it again**")
    said = of.conditions.get("reproduce")
    if said:
        st.code(str(said), language="sh", wrap_lines=True)
    else:
        st.caption("The command was not recorded. As far as it is known:")
        st.code(_command(of), language="sh", wrap_lines=True)


def _command(of: Attempt) -> str:
    quant = of.variant.partition("+")[0]
    return shlex.join(["quantfarm", "sweep", "--model", of.model, "--quants", quant, "--devices", of.device, "--fresh"])


def _trace(of: Attempt) -> None:
    left, middle, right = st.columns(3)
    path = trace_path(store.home(), of.cell, of.attempt)
    with left:
        if path.exists():
            label = f"Raw trace ({number(path.stat().st_size / 1024)} KiB)"
            st.download_button(label, path.read_bytes, path.name, "application/jsonl", on_click="ignore")
        elif of.trace_size is None:
            st.caption("Nothing ran, so there is no trace.")
        else:
            st.warning(parts.escape(f"Its trace {path.name} is gone: quantfarm db verify says more."))
    with middle:
        parts.to("frontier", "Its place on the frontier", device=of.device, model=of.model)
    with right:
        if of.kind == "sustained":
            parts.to("thermal", "Under sustained load", device=of.device, model=of.model, variant=of.variant)
        elif of.night:
            parts.to("history", "Its nights", device=of.device)


main()
