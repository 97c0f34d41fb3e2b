"""Each device: what it is, how it is and was, who works on it, what can be watched on it, and how to add one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import streamlit as st

from dashboard import asked, parts, store, words
from dashboard.charts import devices as chart
from quantfarm.errors import FarmError
from quantfarm.health import Canary, Transition
from quantfarm.nouns import DeviceProfile
from quantfarm.profiles import IMPORT
from quantfarm.report.figures import number, plural
from quantfarm.report.targets_table import figure
from storage import device_history, known_devices
from storage.devices import Registry
from storage.progress import running
from storage.reading import NoResults, Reader
from storage.wanted import device_of, waiters

#: The latest changes of state that are drawn; the table has as many.
LATEST = 400
WAYS = (
    ("This machine", "quantfarm device add local local"),
    ("Over SSH (your key or agent)", "quantfarm device add desk ssh://me@desk"),
    ("A phone by USB (adb)", "quantfarm device add pixel adb://SERIAL"),
    ("A node of a Ray cluster", "quantfarm agent start --head --name desk\nquantfarm device add desk ray://desk"),
    ("What is in reach", "quantfarm device discover"),
)


def main() -> None:
    own = known_devices.registered(store.home())
    for why in own.problems.values():
        st.warning(parts.escape(why))
    registry = Registry(store.home())
    found = known_devices.joined(own, _measured())
    names = sorted({*found, *registry.names()}, key=lambda name: (_simulated(found.get(name)), name))
    if names:
        simulated = {name for name in names if _simulated(found.get(name))}
        name = asked.one("Device", "device", names, words=lambda one: f"{one} (simulated)" if one in simulated else one)
        _device(name, found.get(name), registry)
    else:
        parts.empty("There is no device yet.", "quantfarm device add desk ssh://me@desk",
                    why="This machine is one without being registered: quantfarm sweep measures it.")  # fmt: skip
    _register(open_=not names)


def _measured() -> Mapping[str, DeviceProfile]:
    try:
        return store.ask(_of_results)
    except NoResults:
        return {}


def _of_results(reader: Reader) -> Mapping[str, DeviceProfile]:
    return known_devices.measured(reader, store.home())


def _simulated(profile: DeviceProfile | None) -> bool:
    return bool(profile and profile.simulated)


def _device(name: str, profile: DeviceProfile | None, registry: Registry) -> None:
    try:
        rows, canaries = registry.history(name), registry.canaries(name)
    except FarmError as error:  # its record is damaged: the rest is shown
        st.warning(parts.escape(str(error)))
        rows, canaries = [], []
    words.device(name, _simulated(profile))
    if _simulated(profile):
        parts.simulated()
    if profile and profile.kind == IMPORT:
        st.info("Nothing of this farm reaches it (kind: import): its results come from elsewhere.")
    _state(rows)
    left, right = st.columns(2)
    with left:
        _facts(profile)
    with right:
        _now(name, profile)
        _sensors(profile)
    _canaries(canaries)
    _states(rows)
    with st.container(horizontal=True):
        parts.to("frontier", "Its frontier", device=name)
        parts.to("history", "Its nights", device=name)


def _state(rows: Sequence[Transition]) -> None:
    if not rows:
        st.markdown(words.state("") + " Work is given to it whenever a sweep names it.")
        return
    last = rows[-1]
    said = f"since {last.at[:16].replace('T', ' ')} UTC ({words.ago(last.at)}), by {last.by}: {last.reason}"
    st.markdown(f"{words.state(str(last.to))} {parts.escape(said)}")


# --- what it is ---


def _facts(profile: DeviceProfile | None) -> None:
    st.markdown("**Profile**")
    if profile is None:
        st.caption("It has no profile: its registration did not finish, or it was retired.")
        return
    way = f"{profile.kind}://{profile.address}" if profile.address else profile.kind
    idle = profile.idle
    facts = {
        "reached by": way,
        "system": profile.os or profile.platform,
        "chip": profile.chip,
        "cores": plural(profile.cores, "physical core"),
        "memory": f"{number(profile.memory_mib / 1024)} GiB" if profile.memory_mib else "",
        "accelerators": ", ".join(profile.accelerators),
        "runtimes": ", ".join(profile.runtimes),
        **{f"build of {runtime}": str(build) for runtime, build in profile.builds},
        "at rest": f"{number(idle.temperature_c)} °C ({idle.reading})" if idle and idle.temperature_c else "",
        "at most": f"{profile.memory_budget_mib} MiB resident" if profile.memory_budget_mib else "",
        "thermal ceiling": f"{profile.limits.temperature_c:g} °C" if profile.limits.temperature_c else "",
        **{f"target {target}": _goal(target, str(goal)) for target, goal in profile.targets},
        "tags": ", ".join(profile.tags),
    }
    st.dataframe([{"fact": name, "value": value} for name, value in facts.items() if value], hide_index=True)


def _goal(target: str, goal: str) -> str:
    try:
        return figure(target.partition(":")[0], float(goal), exact=True)
    except ValueError:
        return goal


@st.fragment(run_every=5)
def _now(name: str, profile: DeviceProfile | None) -> None:
    st.markdown("**Who works on it**")
    leased = device_of(profile) if profile else name
    sweeps = [one for one in running(store.home()) if name in one.devices or (not one.devices and leased == "local")]
    for one in sweeps:
        st.markdown(parts.escape(f"Sweep {one.sweep} of {one.model}: {one.done} of {one.total} measurements."))
    for holder in waiters(store.home(), leased):
        st.markdown(parts.escape(f"Waits for it: {holder}"))
    if not sweeps:
        st.caption("No sweep of this home names it now.")
    st.caption("Who holds its lease stands on the device itself, and only its agent can read that: not known here.")


def _sensors(profile: DeviceProfile | None) -> None:
    if profile is None:
        return
    st.markdown("**What can be watched on it**")
    if profile.sensors or profile.missing:
        rows = [{"sensor": name, "there": "yes", "why not": ""} for name in profile.sensors]
        rows += [{"sensor": name, "there": "no", "why not": str(why)} for name, why in profile.missing]
        st.dataframe(rows, hide_index=True)
    else:
        st.caption("Not known: registering it asks for its sensors.")
    try:
        seen = store.ask(device_history.temperature, profile.name)
    except NoResults:
        return
    if seen is None:
        st.caption("Temperature: its last measurements have none.")
        return
    said = f"{seen.reading}: {number(seen.last_c)} °C at the end of a measurement {words.ago(seen.at)}"
    st.caption(parts.escape(f"Temperature last seen: {said}, highest in it {number(seen.highest_c)} °C."))
    parts.to("cell", "That measurement", cell=seen.cell, attempt=str(seen.attempt))


# --- how it was ---


def _canaries(found: Sequence[Canary]) -> None:
    st.markdown("**Canaries**: short measurements that say whether it is still the device it was")
    if not found:
        st.caption("None yet. quantfarm device check takes one, and every night does.")
        return
    latest = [_row(number_, one) for number_, one in enumerate(found, 1)][-device_history.KEPT :]
    last = found[-1]
    rows = [asdict(one) for one in latest]
    parts.plot(
        chart.canaries(latest),
        f"canaries of {last.device}",
        f"Speed and perplexity of {plural(len(latest), 'canary', 'canaries')}; "
        f"{sum(not one.clean for one in latest)} of them not clean.",
        rows,
    )
    if not last.clean:
        st.warning(parts.escape(f"The last one was not clean: {last.why}"))
    st.caption("Dashed: another system, driver or build, or registered anew; canaries on both sides are not compared.")
    parts.conditions([last.runtime, last.build, *(f"{k} {last.conditions[k]}" for k in ("os", "governor")
                                                  if last.conditions.get(k))])  # fmt: skip


def _row(number_: int, one: Canary) -> device_history.Canary:
    """As the plot wants it: live from its record, not as it was published."""
    return device_history.Canary(
        number=number_,
        happened_at=datetime.fromisoformat(one.at),
        series=one.series,
        runtime=one.runtime,
        build=one.build,
        clean=one.clean,
        why=one.why,
        **{name: one.figures.get(name) for name in ("bench_pp", "bench_tg", "ppl")},
    )


def _states(rows: Sequence[Transition]) -> None:
    if not rows:
        return
    st.markdown("**States**")
    latest = list(rows[-LATEST:])
    told = [
        {"since (UTC)": row.at[:19].replace("T", " "), "state": str(row.to), "by": str(row.by), "reason": row.reason}
        for row in reversed(latest)
    ]
    parts.plot(
        chart.states(latest, datetime.now(UTC)),
        f"states of {rows[-1].device}",
        f"The states of the device over time, {plural(len(latest), 'change')}; now {rows[-1].to}.",
        told,
    )
    with st.expander("Every change with its reason"):
        st.dataframe(told, hide_index=True)


def _register(*, open_: bool) -> None:
    with st.expander("How to register a device", expanded=open_):
        for way, command in WAYS:
            st.markdown(parts.escape(way))
            st.code(command, language="sh")
        st.caption(
            "Registering asks the device for its facts, sensors and runtimes, and ends with a first canary. While "
            "quantfarm up runs, Prefect's form of the deployment register-device does the same; docs/devices.md "
            "tells more."
        )


main()
