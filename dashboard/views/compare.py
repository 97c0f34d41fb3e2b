"""Two variants, devices, runtimes or nights side by side, with a verdict for each metric."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from dashboard import asked, deciding, parts, store
from dashboard.charts import compare as chart
from dashboard.charts.quality import p_value
from quantfarm.candidates import Candidate
from quantfarm.decide.versus import Comparison, Judged, compare
from quantfarm.report import conditions, names
from quantfarm.report.figures import plural, spread
from storage.measured import Measured
from storage.night_side import night_side, nights_of

METHOD = (
    "B against A. Better or worse: the whole 95 % interval on that side, and the difference beyond the margin (2 % of "
    "speed, 1 % of memory; of quality the interval alone). Alike: the whole interval within the margin. Else undecided."
)
Sides = tuple[Candidate, Candidate] | None


def main() -> None:
    known = deciding.known()
    with st.container(border=True):
        left, right = st.columns([2, 1])
        with left:
            what = asked.among("Compare two", "what", list(KINDS))
        with right:
            model = asked.one("Model", "model", sorted({one.model for one in known}), known[0].model)
        sides = KINDS[what]([one for one in known if one.model == model], model)
    if sides is None:
        return
    _show(*sides, what)


def _show(a: Candidate, b: Candidate, what: str) -> None:
    taken = (deciding.launches(a), deciding.launches(b)) if what != "nights" else ({}, {})
    found = compare(a, b, *taken)
    if a.simulated or b.simulated:
        parts.simulated()
    if found.refused:
        st.error(parts.escape(f"Not compared: {found.refused}."))
        _conditions(a, b, what)
        return
    said = f"{_label(b, what)} (B) against {_label(a, what)} (A)"
    st.subheader(parts.escape(said), anchor=False)
    st.markdown(parts.escape(_in_words(found)))
    if chart.drawable(found):
        parts.plot(
            chart.figure(found),
            f"compare {_label(b, what)} with {_label(a, what)}",
            _in_words(found),
            chart.rows(found),
            key="compare",
        )
    _table(found, what)
    st.caption(METHOD)
    _more_launches(found)
    _conditions(a, b, what)
    _refusals(found)
    _cells(found)


def _in_words(found: Comparison) -> str:
    if not found.compared:
        return "Nothing that was measured of both can be compared."
    said = [
        f"{judged.value} in {', '.join(names.called(one.metric) for one in found.compared if one.judged is judged)}"
        for judged in (Judged.BETTER, Judged.WORSE, Judged.ALIKE)
        if found.count(judged)
    ]
    said += [f"undecided in {n}"] if (n := found.count(Judged.UNDECIDED)) else []
    return f"Of {plural(len(found.compared), 'metric')} B is {'; '.join(said)}."


def _more_launches(found: Comparison) -> None:
    """What would decide: an interval of launches needs four of each, of pairs in turns six."""
    few = [one for one in found.compared if one.low is None and one.how.startswith("launches")]
    if few:
        which = ", ".join(names.called(one.metric) for one in few)
        st.caption(parts.escape(f"Too few launches for an interval: {which}. Measure six of each:"))
        commands = dict.fromkeys(one.reproduce for one in (found.b, found.a))
        st.code("\n".join(_with_six(command) for command in commands if command), language="sh", wrap_lines=True)


def _with_six(command: str) -> str:
    plain = re.sub(r" --launches \d+", "", command)
    return plain.replace(" --fresh", "") + " --launches 6 --fresh"


def _table(found: Comparison, what: str) -> None:
    a, b = (_label(one, what) for one in (found.a, found.b))
    rows = [
        {
            "metric": names.called(one.metric),
            "verdict of B": chart.SIGNS[one.judged],
            "B against A (95 %)": chart.changed(one),
            f"A: {a}": f"{spread(one.a)} {one.unit}".strip(),
            f"B: {b}": f"{spread(one.b)} {one.unit}".strip(),
            "how": one.how,
            "p": p_value(one.p) if one.p is not None else "",
            "why undecided": one.why,
        }
        for one in found.compared
    ]
    if rows:
        st.dataframe(rows, hide_index=True)


def _label(one: Candidate, what: str) -> str:
    if what == "nights":
        return one.shown_as
    return {"variants": one.name, "devices": one.device, "runtimes": one.runtime}[what]


def _conditions(a: Candidate, b: Candidate, what: str) -> None:
    for letter, one in (("A", a), ("B", b)):
        night = [one.shown_as] if what == "nights" else []
        text = [f"text {one.text_sha256[:12]}, {plural(len(one.chunk_nll), 'chunk')}"] if one.text_sha256 else []
        parts.conditions([f"{letter}: {one.variant}", *night, *conditions.in_short([one]), *text])


def _refusals(found: Comparison) -> None:
    if found.refusals:
        with st.expander(f"Not compared ({len(found.refusals)})", expanded=not found.compared):
            for metric, why in found.refusals.items():
                st.markdown(f"- {parts.escape(names.called(metric))}: {parts.escape(why)}")


def _cells(found: Comparison) -> None:
    for letter, one in (("A", found.a), ("B", found.b)):
        if cell := deciding.measurement(one, "decode_tps", "bench_tg", "ppl"):
            parts.to("cell", f"A measurement of {letter}", cell=cell.cell, attempt=str(cell.attempt))


def _two(options: list[str], kind: str, why: str, words: Callable[[str], str] = str) -> tuple[str, str] | None:
    """A and B of these; says what is missing where there are not two."""
    if len(options) < 2:
        parts.empty(f"There is only one {kind} here." if options else f"There is no {kind} here.", why=why)
        return None
    left, right = st.columns(2)
    with left:
        a = asked.one("A", "a", options, options[0], words)
    with right:
        b = asked.one("B", "b", options, options[1], words)
    if a == b:
        parts.empty("A and B are the same.", why="Choose two different ones.")
        return None
    return a, b


def _device(known: list[Measured]) -> str:
    simulated = {one.device for one in known if one.simulated}
    devices = [one.device for one in known]
    return asked.one("Device", "device", devices, words=lambda d: f"{d} (simulated)" if d in simulated else d)


def _titled(everyone: list[Candidate]) -> dict[str, Candidate]:
    return {f"{c.variant} ({c.runtime})": c for c in everyone}


def _variants(known: list[Measured], model: str) -> Sides:
    found = _titled(deciding.of_device(_device(known), model))
    return _pick(found, _two(list(found), "variant", "Measure another: quantfarm sweep --quants …"))


def _devices(known: list[Measured], model: str) -> Sides:
    every = {one.device: _titled(deciding.of_device(one.device, model)) for one in known}
    shared = {title for titles in every.values() for title in titles}
    often = {title: [device for device, titles in every.items() if title in titles] for title in sorted(shared)}
    first = max(often, key=lambda title: len(often[title])) if often else None
    if first is None:
        return None
    title = asked.one("Variant", "variant", list(often), first)
    simulated = {one.device for one in known if one.simulated}
    chosen = _two(
        often[title], "device with it", "Measure it on another: quantfarm sweep --devices …",
        lambda d: f"{d} (simulated)" if d in simulated else d,
    )  # fmt: skip
    return (every[chosen[0]][title], every[chosen[1]][title]) if chosen else None


def _runtimes(known: list[Measured], model: str) -> Sides:
    found: dict[str, dict[str, Candidate]] = {}
    for c in deciding.of_device(_device(known), model):
        found.setdefault(c.variant, {})[c.runtime] = c
    if not found:
        return None
    variant = asked.one("Variant", "variant", list(found), max(found, key=lambda v: len(found[v])))
    why = "Measure it under another: quantfarm sweep --runtimes …"
    return _pick(found[variant], _two(list(found[variant]), "runtime with it", why))


def _nights(known: list[Measured], model: str) -> Sides:
    found = _titled(deciding.of_device(_device(known), model))
    if not found:
        return None
    one = found[asked.one("Variant", "variant", list(found))]
    whose = (one.device, model, one.variant, one.runtime)
    nights = store.ask(nights_of, *whose)
    why = "Nights are measured by quantfarm nightly."
    chosen = _two(nights[1:2] + nights[:1] + nights[2:], "night with it", why)
    if chosen is None:
        return None
    sides = [store.ask(night_side, *whose, night) for night in chosen]
    return (_of_night(sides[0], chosen[0]), _of_night(sides[1], chosen[1])) if sides[0] and sides[1] else None


def _of_night(one: Candidate, night: str) -> Candidate:
    return replace(one, shown_as=f"night of {night}")


def _pick(found: dict[str, Candidate], chosen: tuple[str, str] | None) -> Sides:
    return (found[chosen[0]], found[chosen[1]]) if chosen else None


KINDS: dict[str, Callable[[list[Measured], str], Sides]] = {
    "variants": _variants,
    "devices": _devices,
    "runtimes": _runtimes,
    "nights": _nights,
}

main()
