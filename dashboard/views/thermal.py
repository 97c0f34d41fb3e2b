"""Sustained load: how fast each device is once it is warm, and how it gets there."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard import asked, parts, store
from dashboard.charts import thermal as chart
from quantfarm.report.conditions import power_mode
from quantfarm.report.figures import number, plural, spread
from quantfarm.report.throttles import Throttle, in_words
from storage.loads import Launch, energy, launches, throttle
from storage.reading import Reader

#: Launches drawn one by one; more than these are compared in the table alone.
DRAWN = 8
COLUMNS = (
    "first run (tok/s)", "steady (tok/s)", "throttle ratio", "time to steady (s)", "highest (°C)", "energy (J/token)",
    "runs", "power", "remark",
)  # fmt: skip
COMMAND = "quantfarm sweep --model {} --suite sustained"


@dataclass(frozen=True, slots=True)
class Seen:
    """A launch, what its trace says (None: it cannot be read), and its energy in J/token with a remark."""

    launch: Launch
    throttle: Throttle | None
    energy: tuple[float, str] | None


def main() -> None:
    known = store.ask(launches)
    if not known:
        parts.empty(
            "Nothing was measured under sustained load yet.", COMMAND.format("reference"),
            why="It generates for some minutes without a pause, until the speed and the temperature hold still.",
        )  # fmt: skip
        return
    chosen = _chosen(known)
    if not chosen:
        parts.empty("No launch is chosen.", why="Choose at least one device and one variant above.")
        return
    seen = [store.ask(_seen, one) for one in chosen]
    if any(one.launch.simulated for one in seen):
        parts.simulated()
    told = [one.throttle for one in seen if one.throttle]
    if len(told) > 1:
        _compared(told)
    _table(seen)
    for one in seen[:DRAWN]:
        _one(one)
    if len(seen) > DRAWN:
        st.caption(f"{len(seen) - DRAWN} more are in the table: choose fewer to see them drawn.")


def _seen(reader: Reader, launch: Launch) -> Seen:
    if not launch.ok:
        return Seen(launch, None, None)
    return Seen(
        launch, throttle(store.home(), launch.cell, launch.attempt), energy(reader, launch.cell, launch.attempt)
    )


def _chosen(known: list[Launch]) -> list[Launch]:
    """Usually the model measured first in order, all that it was measured on, and the variant of most devices."""
    simulated = {one.device for one in known if one.simulated}
    left, middle, right = st.columns([2, 3, 3])
    with left:
        model = asked.one("Model", "model", list(dict.fromkeys(one.model for one in known)))
    of = [one for one in known if one.model == model]
    devices = list(dict.fromkeys(one.device for one in of))
    real = [name for name in devices if name not in simulated]
    with middle:
        on = asked.several(
            "Devices", "device", devices, (real or devices)[:4],
            lambda name: f"{name} (simulated)" if name in simulated else name,
        )  # fmt: skip
    variants = sorted({one.variant for one in of}, key=lambda name: (-sum(one.variant == name for one in of), name))
    with right:
        which = asked.several("Variants", "variant", variants, variants[:1])
    return [one for one in of if one.device in on and one.variant in which]


def _compared(told: list[Throttle]) -> None:
    whose = ", ".join(f"{one.device} {one.variant}" for one in told)
    parts.plot(
        chart.compared(told),
        f"throttling of {told[0].model}",
        f"Decode speed of each run as a share of the first run's, over time: {whose}.",
        [row for one in told for row in chart.rows(one)],
    )


def _table(seen: list[Seen]) -> None:
    rows = [_row(one) for one in seen]
    st.dataframe(rows, hide_index=True)
    parts.downloads("sustained load", rows)


def _row(one: Seen) -> dict[str, str]:
    about = {"device": one.launch.device, "variant": one.launch.variant, "build": one.launch.build}
    if one.throttle is None:
        return about | dict.fromkeys(COLUMNS, "") | {"remark": _unread(one.launch)}
    found = one.throttle.found
    verdict = found.verdict
    joule, remark = one.energy or (None, "")
    figures = (
        number(verdict.first),
        spread(verdict.rate) if verdict.rate else "not steady",
        number(verdict.ratio),
        number(found.to_steady_s, 2),
        number(_hottest(one.throttle)),
        number(joule) if joule is not None else "not measured",
        str(len(found.runs)),
        power_mode(one.throttle.conditions),
        "; ".join(part for part in (verdict.reason, remark, _simulated(one.launch)) if part),
    )
    return about | dict(zip(COLUMNS, figures, strict=True))


def _hottest(shown: Throttle) -> float | None:
    return max((c for _, c in shown.found.temperatures), default=None)


def _simulated(launch: Launch) -> str:
    return "simulated, not measured" if launch.simulated else ""


def _unread(launch: Launch) -> str:
    return launch.failure or "its trace cannot be read: quantfarm db verify says why"


def _one(one: Seen) -> None:
    launch, shown = one.launch, one.throttle
    st.subheader(parts.escape(f"{launch.device} · {launch.variant}"), anchor=False)
    if shown is None:
        parts.empty("It has no figures.", why=_unread(launch))
        parts.to("cell", "Its measurement", cell=launch.cell, attempt=str(launch.attempt))
        return
    (st.markdown if shown.found.verdict.steady else st.info)(parts.escape(in_words(shown.found)))
    parts.plot(
        chart.figure(shown),
        f"sustained {launch.model} {launch.variant} {launch.device} {launch.runtime}",
        f"Decode speed run by run of {launch.model} {launch.variant} on {launch.device}. {in_words(shown.found)}.",
        chart.rows(shown),
    )
    if shown.found.verdict.steady:
        st.caption("Shaded: steady; dashed: the median of its runs; band: its 95 % interval. Hollow: before that.")
    parts.conditions(_conditions(one, shown))
    parts.to("cell", f"This measurement of {launch.variant} on {launch.device}", cell=launch.cell,
             attempt=str(launch.attempt))  # fmt: skip


def _conditions(one: Seen, shown: Throttle) -> list[str]:
    threads = (shown.conditions.get("settings") or {}).get("threads")
    reading = shown.found.reading
    return [
        one.launch.workload,
        plural(len(shown.found.runs), "run") + " back to back",
        shown.chip,
        shown.build,
        f"{plural(threads, 'thread')}" if isinstance(threads, int) else "",
        power_mode(shown.conditions),
        "hot start" if shown.conditions.get("hot_start") else "",
        f"temperature: {reading}" if reading else "temperature unknown",
        "ambient temperature unknown",
    ]


main()
