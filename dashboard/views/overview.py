"""Each device with what it should run, how it is, what last night said of it, and whether its targets are met."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from dashboard import deciding, parts, store, words
from quantfarm.candidates import Candidate
from quantfarm.decide import Checked, Recommendation, Verdict, check
from quantfarm.decide.wishes import MIN_QUALITY
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile
from quantfarm.report import conditions
from quantfarm.report.figures import number, plural, probability, share
from quantfarm.report.targets_table import figure
from quantfarm.statistics.resample import MEMORY, SPEED
from quantfarm.statistics.summary import Summary
from storage import known_devices
from storage.imports import imported
from storage.overview import Device, Night, overview, states
from storage.progress import Progress, running
from storage.reading import Reader

#: Verdict -> colour of its badge, and how it is called.
TARGETS = {
    Verdict.MISS: ("red", "missed"),
    Verdict.PASS: ("green", "met"),
    Verdict.NOT_MEASURED: ("gray", "not measured"),
}
SWEEP = "quantfarm sweep --model {} --devices {} --suite quick"


def main() -> None:
    _running()
    found = store.ask(overview)
    own = known_devices.registered(store.home())
    for why in own.problems.values():
        st.warning(parts.escape(why))
    profiles = known_devices.joined(own, store.ask(_measured))
    if found.night:
        _night(found.night)
    now = states(store.home())
    for one in sorted(found.devices, key=lambda d: (d.simulated, not d.ok, d.device)):
        _device(one, now[one.device].to if one.device in now else one.state, profiles.get(one.device))
    _imported({one.device for one in found.devices})


def _measured(reader: Reader) -> dict[str, DeviceProfile]:
    return known_devices.measured(reader, store.home())


# --- what goes on now ---


@st.fragment(run_every=2)
def _running() -> None:
    for one in running(store.home()):
        with st.container(border=True):
            where = f" on {', '.join(one.devices)}" if one.devices else ""
            st.markdown(f"**{parts.escape(f'Measuring {one.model}{where}')}**")
            st.progress(min(1.0, one.done / one.total) if one.total else 0.0, parts.escape(_progress(one)))


def _progress(one: Progress) -> str:
    left = f"about {words.during(one.left_s)} left" if one.left_s is not None else "time left not known yet"
    done = f"{one.done} of {plural(one.total, 'measurement')}"
    return f"{done} · {left} · begun {words.ago(one.began_at)} · sweep {one.sweep}"


def _night(night: Night) -> None:
    with st.container(border=True):
        ended = f", ended {night.finished_at:%H:%M} UTC" if night.finished_at else ""
        st.markdown(f"**{parts.escape(f'Last night, {night.night}{ended}')}**  \n{words.verdicts(night.verdicts)}")
        measured = ", ".join(f"{n} {name}" for name, n in night.counts.items() if n)
        st.caption(parts.escape(f"Cells: {measured or 'nothing was measured'}"))
        parts.to("history", "What changed", night=night.night)


# --- one device ---


def _device(one: Device, state: str, profile: DeviceProfile | None) -> None:
    with st.container(border=True):
        left, right = st.columns([2, 5])
        with left:
            words.device(one.device, one.simulated)
            _health(one, state)
        with right:
            if one.simulated:
                parts.simulated()
            elif not one.ok:
                _nothing(one)
            else:
                _default(one)
        if profile and not one.simulated:
            _targets(one, profile)
        _links(one)


def _health(one: Device, state: str) -> None:
    said = [words.state(state)] + ([words.verdicts(one.verdicts)] if one.verdicts else [])
    st.markdown(" ".join(said))
    if state in ("unhealthy", "quarantined"):
        st.caption(parts.escape(one.state_reason))
    counted = plural(one.ok, "made-up run" if one.simulated else "measurement")
    facts = [
        one.chip,
        f"last {words.ago(one.measured_at)}" if one.measured_at else "never measured",
        f"{counted}, {one.failed} failed" if one.failed else counted,
        _canary(one),
    ]
    st.caption(parts.escape(" · ".join(fact for fact in facts if fact)))


def _canary(one: Device) -> str:
    if one.canary_at is None:
        return ""
    return f"canary {'clean' if one.canary_clean else 'not clean'} {words.ago(one.canary_at)}"


def _nothing(one: Device) -> None:
    failed = f" {plural(one.failed, 'measurement')} failed." if one.failed else ""
    st.markdown(parts.escape(f"Nothing was measured on it yet.{failed}"))
    st.code(SWEEP.format("reference", one.device), language="sh", wrap_lines=True)


def _default(one: Device) -> None:
    made = deciding.default(one.device, one.model, "", None, MIN_QUALITY, 0.0)
    if made.chosen is None:
        st.markdown(f"**{parts.escape(f'No default for {one.model}')}**  \n{parts.escape(made.reason)}")
        return
    st.markdown(f"#### Run ★ {parts.escape(made.chosen.name)} of {parts.escape(one.model)}")
    _numbers(made, made.chosen)
    st.markdown(parts.escape(made.reason))
    for remark in made.remarks:
        st.caption(parts.escape(remark))
    parts.conditions(conditions.in_short([made.chosen], one.chip))
    _others(one)


def _numbers(made: Recommendation, chosen: Candidate) -> None:
    speed, memory = chosen.figures[SPEED], chosen.figures[MEMORY]
    certain = "" if made.certain else "too few launches to be sure"
    shown = (
        ("decode speed (tok/s)", number(speed.value), _interval(speed)),
        ("memory (MiB)", number(memory.value), _interval(memory)),
        ("perplexity", share(1 / made.quality - 1) if made.quality else "not told", "against the unquantized model"),
        ("P(not beaten)", probability(made.probability) if made.probability is not None else "–", certain),
    )
    for place, (name, value, more) in zip(st.columns(4), shown, strict=True):
        with place:
            st.metric(name, value)
            st.caption(parts.escape(more))


def _interval(one: Summary) -> str:
    launches = plural(one.n, "launch", "launches")
    if one.low is None or one.high is None:
        return f"{launches}, no interval"
    return f"{number(one.low)}–{number(one.high)}, {launches}"


def _others(one: Device) -> None:
    """Models beside the one measured last."""
    others = [known.model for known in deciding.known() if known.device == one.device and known.model != one.model]
    for model in others[:4]:
        parts.to("frontier", f"Also measured: {model}", device=one.device, model=model)


def _targets(one: Device, profile: DeviceProfile) -> None:
    if not profile.targets:
        return
    everyone = deciding.of_device(one.device, one.model) if one.ok else []
    try:
        found = check(profile, everyone)
    except FarmError as error:
        st.warning(parts.escape(str(error)))
        return
    counted = Counter(target.verdict for target in found)
    badges = " ".join(f":{colour}-badge[{counted[v]} {said}]" for v, (colour, said) in TARGETS.items() if counted[v])
    st.markdown(f"Targets {badges}")
    told = [target for target in found if target.verdict is not Verdict.NOT_MEASURED]
    for target in sorted(told, key=lambda t: t.verdict is Verdict.PASS):
        st.caption(parts.escape(_target(target)))


def _target(one: Checked) -> str:
    metric, _, _ = one.target.partition(":")
    sign = "≥" if one.at_least else "≤"
    goal, found = figure(metric, one.goal, exact=True), figure(metric, one.value)
    return f"{one.target} {sign} {goal}: {TARGETS[one.verdict][1]}, {found} ({one.variant})"


def _links(one: Device) -> None:
    with st.container(horizontal=True):
        if one.ok:
            parts.to("frontier", "Why: its frontier", device=one.device, model=one.model)
        parts.to("history", "Its nights", device=one.device)
        parts.to("devices", "The device", device=one.device)


# --- from elsewhere ---


def _imported(own: set[str]) -> None:
    counted: Counter[str] = Counter()
    tools: dict[str, set[str]] = {}
    for row in store.ask(imported):
        name = row["device"] or "device not said"
        if name not in own:
            counted[name] += 1
            tools.setdefault(name, set()).add(row["tool"])
    if not counted:
        return
    st.subheader("Imported only", anchor=False)
    st.caption("From elsewhere, not measured by this farm: such figures are never mixed with its own.")
    for name, n in counted.most_common():
        told = f"{name}: {plural(n, 'figure')} by {', '.join(sorted(tools[name]))}"
        st.markdown(f":gray-badge[imported] {parts.escape(told)}")


main()
