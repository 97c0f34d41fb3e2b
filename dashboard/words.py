"""What several views say in the same words: states of devices, kinds of verdicts, times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import streamlit as st

from dashboard import parts
from quantfarm.health import DeviceState
from quantfarm.nightly.verdicts import Kind

#: State -> colour of its badge, and a mark, since colour never stands alone.
STATES = {
    DeviceState.READY: ("green", ":material/check_circle:"),
    DeviceState.BUSY: ("blue", ":material/pending:"),
    DeviceState.CHECKING: ("blue", ":material/troubleshoot:"),
    DeviceState.REGISTERED: ("gray", ":material/fiber_new:"),
    DeviceState.UNHEALTHY: ("orange", ":material/warning:"),
    DeviceState.QUARANTINED: ("red", ":material/block:"),
    DeviceState.RETIRED: ("gray", ":material/inventory_2:"),
}
#: What a night says of a series, worst first.
VERDICTS = {
    Kind.REGRESSION: ("red", ":material/trending_down:"),
    Kind.NO_DATA: ("orange", ":material/signal_disconnected:"),
    Kind.NOT_COMPARABLE: ("gray", ":material/call_split:"),
    Kind.NOISE: ("gray", ":material/graphic_eq:"),
    Kind.IMPROVEMENT: ("green", ":material/trending_up:"),
    Kind.UNCHANGED: ("gray", ":material/check:"),
    Kind.YOUNG: ("gray", ":material/hourglass_empty:"),
}


def state(name: str) -> str:
    """A badge; of a device without a record: not registered."""
    if name not in list(DeviceState):
        return ":gray-badge[not registered]"
    colour, mark = STATES[DeviceState(name)]
    return f":{colour}-badge[{mark} {name}]"


def verdicts(counted: Mapping[str, int]) -> str:
    """Badges of what a night said, worst first."""
    told = [(kind, counted.get(str(kind), 0)) for kind in VERDICTS]
    return " ".join(f":{VERDICTS[kind][0]}-badge[{VERDICTS[kind][1]} {n} {kind}]" for kind, n in told if n)


def ago(then: datetime | str | None) -> str:
    """`2 h ago`; of a naive time: UTC. Empty where it is not known."""
    if not then:
        return ""
    at = datetime.fromisoformat(then) if isinstance(then, str) else then
    seconds = (datetime.now(UTC) - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()
    return f"{during(max(0.0, seconds))} ago"


def during(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h`, `5 days`."""
    for unit, length, until in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / length < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def device(name: str, simulated: bool) -> None:
    """A heading."""
    mark = " :gray-badge[simulated]" if simulated else ""
    st.subheader(parts.escape(name) + mark, anchor=False)
