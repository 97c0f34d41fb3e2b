"""The nights: what the last one says, and each series with its changes, forks and gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from dashboard import asked, parts, store
from dashboard.charts import history as chart
from quantfarm.errors import FarmError
from quantfarm.nightly import history as histories
from quantfarm.nightly import page, words
from quantfarm.nightly.history import History
from quantfarm.nightly.standing import Standing
from quantfarm.nightly.verdicts import Kind, NightReport, Verdict
from quantfarm.report import names
from quantfarm.report.figures import number, plural, share
from storage import nights, watch_lists
from storage.alerts import Alerts
from storage.histories import Told, Watched, history, known

#: Told one by one, worst first; the others are rows of a table.
NEWS = {
    Kind.REGRESSION: ("Regression", "red", ":material/trending_down:"),
    Kind.NO_DATA: ("No data", "orange", ":material/signal_disconnected:"),
    Kind.IMPROVEMENT: ("Improvement", "green", ":material/trending_up:"),
    Kind.NOT_COMPARABLE: ("Not comparable", "gray", ":material/call_split:"),
    Kind.NOISE: ("Not confirmed", "gray", ":material/graphic_eq:"),
}
#: More cards than this are rows of the table alone.
CARDS = 12


def main() -> None:
    found = store.ask(known)
    standing = _standing()
    told = _last_night(standing)
    if not found:
        parts.empty("No night was measured yet.", "quantfarm nightly run", why="quantfarm up measures one every night.")
        return
    st.subheader("A series over the nights", anchor=False)
    _series(_chosen(_newsworthy(found, told)), standing)


def _newsworthy(found: Sequence[Watched], told: Sequence[Verdict]) -> list[Watched]:
    """What the night tells first, then what has most nights: what somebody wants to look at without choosing."""
    place = {one.series.id: at for at, one in reversed(list(enumerate(told)))}
    return sorted(found, key=lambda one: (not one.nights, place.get(one.key.id, len(told))))


def _standing() -> Standing:
    """What was acknowledged; nothing where the journal cannot be read, which is said."""
    try:
        return Alerts(store.home()).standing()
    except FarmError as error:
        st.warning(parts.escape(str(error)))
        return Standing()


# --- the last night ---


def _last_night(standing: Standing) -> list[Verdict]:
    """What it tells one by one, worst first."""
    home = store.home()
    every = sorted((path.stem for path in nights.folder(home).glob("*.json")), reverse=True)
    every = [night for night in every if nights.DATE.fullmatch(night)]
    if not every:
        return []
    night = asked.one("Night", "night", every, width=220)
    report = nights.report(home, night)
    if report is None:
        return []
    st.markdown(parts.escape(page.line(report)))
    measured = ", ".join(f"{n} {name}" for name, n in report.counts.items() if n) or "nothing"
    parts.conditions([f"measured: {measured}", f"from {_time(report.began_at)} to {_time(report.finished_at)} UTC"])
    told = [one for kind in NEWS for one in report.verdicts if one.kind is kind]
    for one in told[:CARDS]:
        _card(one, standing, night)
    _table(report)
    return told


def _time(at: str) -> str:
    return at[:16].replace("T", " ") or "–"


def _card(one: Verdict, standing: Standing, night: str) -> None:
    said, colour, icon = NEWS[one.kind]
    with st.container(border=True):
        quiet = _quiet(one, standing, night)
        badges = f":{colour}-badge[{icon} {said}]" + (f" :gray-badge[{parts.escape(quiet)}]" if quiet else "")
        st.markdown(f"{badges}  \n**{parts.escape(words.series(one))}**")
        if change := words.change(one):
            st.markdown(parts.escape(change))
        facts = [
            f"since {words.when(one)}" if one.first_bad else "",
            words.confirmed(one.confirmation) if one.kind is not Kind.NO_DATA else "",
            f"suspect: {words.suspect(one)}" if one.kind is not Kind.NO_DATA else "",
            words.clean(one.reason),
        ]
        st.caption(parts.escape(" · ".join(fact for fact in facts if fact)))
        if one.reproduce:
            st.code(one.reproduce, language="sh", wrap_lines=True)
        parts.to("history", f"Nights of series {one.series.id}", series=one.series.id)


def _quiet(one: Verdict, standing: Standing, night: str) -> str:
    """Why nobody is told of it any more: acknowledged (by whom, with what note) or snoozed."""
    for alert in standing.open:
        if alert.series == one.series.id:
            note = (alert.acknowledged or {}).get("note", "")
            return ": ".join(part for part in (standing.quiet(alert, night), words.clean(str(note), 80)) if part)
    return ""


def _table(report: NightReport) -> None:
    order = [*NEWS, *(kind for kind in Kind if kind not in NEWS)]
    rows = [_row(one) for one in sorted(report.verdicts, key=lambda v: order.index(v.kind))]
    counted = Counter(one.kind for one in report.verdicts)
    quiet = ", ".join(f"{n} {kind}" for kind, n in counted.items())
    with st.expander(f"Every series of this night ({quiet or 'nothing is watched'})"):
        if rows:
            st.dataframe(rows, hide_index=True)
            parts.downloads(f"night {report.night}", rows)


def _row(one: Verdict) -> dict[str, str]:
    return {
        "verdict": str(one.kind),
        "device": one.series.device,
        "of": f"{one.series.model} {one.series.variant}",
        "figure": names.called(one.series.metric),
        "old → new": words.change(one),
        "since": one.first_bad,
        "measured again": words.confirmed(one.confirmation) if one.confirmation else "",
        "suspect": one.suspect,
        "reason": one.reason,
        "series": one.series.id,
        "simulated": "simulated" if one.simulated else "",
    }


# --- one series ---


def _chosen(found: Sequence[Watched]) -> Watched:
    """By device and figure; an address with a series alone has that one's."""
    if wanted := {one.key.id: one for one in found}.get(st.query_params.get("series", "")):
        asked.meant(device=wanted.key.device, metric=wanted.key.metric)
    devices = list(dict.fromkeys(one.key.device for one in found))
    simulated = {one.key.device for one in found if one.simulated}
    left, middle, right = st.columns([2, 2, 4])
    with left:
        device = asked.one(
            "Device", "device", devices, words=lambda name: f"{name} (simulated)" if name in simulated else name
        )
    metrics = list(dict.fromkeys(one.key.metric for one in found if one.key.device == device))
    with middle:
        metric = asked.one("Figure", "metric", metrics, words=names.called)
    of = {one.key.id: one for one in found if (one.key.device, one.key.metric) == (device, metric)}
    with right:
        chosen = asked.one("Series", "series", list(of), words=lambda name: _named(of[name]))
    return of[chosen]


def _named(one: Watched) -> str:
    key = one.key
    return f"{key.model} {key.variant} · {key.runtime} · {key.workload}"


def _series(chosen: Watched, standing: Standing) -> None:
    told = store.ask(history, chosen.key, watch_lists.rules(store.home()))
    shown = told.history
    if chosen.simulated:
        parts.simulated()
    st.markdown(parts.escape(_in_words(shown)))
    if shown.points:
        _plot(told, standing)
        _conditions(shown)
    else:
        parts.empty("It was never measured.", why="Each night that should have measured it says why it did not:")
    _news(shown)


def _in_words(shown: History) -> str:
    said = [f"Series {shown.series.id}", plural(len(shown.points), "night")]
    if shown.points:
        last = shown.points[-1]
        said.append(f"last {last.night}: {number(last.value, 4)} {shown.unit}".strip())
    said += [plural(len(shown.gaps), "night without data", "nights without data")] if shown.gaps else []
    said.append(plural(len(shown.forks), "fork") if shown.forks else "no fork")
    return " · ".join(said)


def _plot(told: Told, standing: Standing) -> None:
    shown = told.history
    acknowledged = {
        alert.verdict.first_bad
        for alert in standing.alerts.values()
        if alert.acknowledged and alert.series == shown.series.id
    }
    heading = f"{names.called(shown.series.metric)} by night"
    marks = "; ".join(f"{mark.night} {mark.said}" for mark in chart.marks(shown, acknowledged)) or "none"
    clicked = parts.plot(
        chart.figure(shown, told.launches, acknowledged),
        f"history {shown.series.id}",
        f"{heading} of {shown.series.name}: {plural(len(shown.points), 'night')}. Changes: {marks}.",
        histories.rows(shown),
        selectable=True,
    )
    st.caption(
        "Bars: lowest to highest launch of a night. Dashed: what changed around the measurement; the levels on both "
        "sides are not compared. Shaded: nights without data. Click a night to open one of its measurements."
    )
    for cell, attempt in clicked:
        night = next((night for night, one in told.launches.items() if (one.cell, one.attempt) == (cell, attempt)), "")
        parts.to("cell", f"Measurement of {night}", cell=cell, attempt=str(attempt))


def _conditions(shown: History) -> None:
    """Of the last night; the forks say when they were others."""
    last = shown.points[-1].attributes
    told = [f"{name} {last[name]}" for name in ("os", "governor", "backend", "settings") if last.get(name)]
    mains = {"True": "on mains", "False": "on battery"}.get(last.get("on_mains", ""), "")
    parts.conditions([last.get("chip", ""), last.get("build", ""), *told, mains])


def _news(shown: History) -> None:
    if not shown.verdicts:
        return
    st.markdown("**What the nights said of it**")
    rows = [
        {
            "night": one.night,
            "verdict": str(one.kind),
            "since": one.first_bad,
            "new ÷ old": share(one.ratio - 1) if one.ratio is not None else "",
            "measured again": words.confirmed(one.confirmation) if one.confirmation else "",
            "suspect": one.suspect,
            "reason": one.reason,
        }
        for one in reversed(shown.verdicts)
    ]
    st.dataframe(rows, hide_index=True)
    if again := next((one.reproduce for one in reversed(shown.verdicts) if one.reproduce), ""):
        st.caption("To measure it once more:")
        st.code(again, language="sh", wrap_lines=True)


main()
