"""All sensors of a device from one shell beside a run, and its lines as events of the trace.

The shell text is for dash, bash, busybox and mksh with toybox. It ends when its stdin closes, when nobody reads
it any more, and when the shell that was started is killed: it never outlives who started it by more than a tick.
Each look is stamped with the device's own clock before it is taken; a tick's looks are bounded in size together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantfarm.marked import WORD, parts
from quantfarm.sensors import TABLE, Look, sensor

#: Bytes of one tick, all sensors together.
TICK_BYTES = 128 * 1024
#: Clocks of the stamps: seconds of /proc/uptime (CLOCK_BOOTTIME, to 10 ms), or of the wall clock (whole seconds).
UPTIME, WALL = "u", "w"
STAMP = re.compile(rf"(?P<clock>[{UPTIME}{WALL}]) (?P<seconds>[0-9]{{1,12}}(?:\.[0-9]{{1,9}})?)")
#: A whole second of the wall clock is over by half on average.
HALF_SECOND = 0.5


def script(names: Iterable[str], every_s: float = 1.0) -> str:
    """Shell text that prints the sensors' looks every `every_s` seconds until its stdin closes; for a shell, `sh -c`.

    Raises UsageError for a sensor that there is not, ValueError for an interval that is none.
    """
    if not 0.05 <= every_s <= 3600:
        raise ValueError(f"a look every {every_s} s: from 0.05 to 3600 can be had")
    looks = "\n".join(f"mark {name}; {{ {sensor(name).command()}\n}} 2>&1" for name in names)
    return SCRIPT.format(looks=looks, limit=TICK_BYTES, word=WORD, sleep=f"{every_s:g}")


# Which of its processes ends it, and how: the loop runs in the background and this shell only reads its stdin to
# the end (`read` with a time limit is not in dash). Killed, this shell takes nothing with it, so the loop looks
# whether it is still there (in a subshell `$$` is the parent's). The loop's stdin is empty and its `sleep` holds
# nobody's pipe: who waits for the output's end does not wait for it. It is killed outright: mksh's own `sleep`
# heeds no other signal.
SCRIPT = """\
export LC_ALL=C
renice -n 10 -p $$ >/dev/null 2>&1
if [ -r /proc/uptime ]; then
now() {{ read -r seconds rest </proc/uptime; clock=u; }}
else
now() {{ seconds=$(date +%s); clock=w; }}
fi
mark() {{ now; echo "{word} $1 $clock $seconds"; }}
tick() {{
:
{looks}
}}
loop() {{
while kill -0 $$ 2>/dev/null; do
tick | head -c {limit}
mark . || exit
sleep {sleep} >/dev/null 2>&1
done
}}
loop </dev/null &
loop=$!
trap 'kill -9 $loop 2>/dev/null' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
while read -r line; do :; done
"""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A look and when it was begun: `seconds` of the device's `clock` ("u": since boot, "w": wall)."""

    clock: str
    seconds: float
    sensor: str
    look: Look


def read(lines: Iterable[str]) -> Iterator[Stamped]:
    """The looks among lines, each as soon as the next one's mark ends it; what is no look of ours is passed over."""
    for part in parts(lines):
        stamp = STAMP.fullmatch(part.stamp)
        if stamp and part.name in TABLE:
            yield Stamped(stamp["clock"], float(stamp["seconds"]), part.name, sensor(part.name).parse(part.text))


def to_events(stamped: Iterable[Stamped], begin: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`sample` and `state` events with `t` on the clock of the run that `begin` began (docs/events.md).

    `begin["clocks"]` says what the other clocks read at its own `t`; without them nothing can be placed: no events.
    """
    events: list[dict[str, Any]] = []
    before: dict[str, Mapping[str, str]] = {}
    for one in stamped:
        t = placed(one, begin)
        if t is None:
            continue
        if one.look.values:
            values = {name: round(value, 6) for name, value in one.look.values.items()}
            events.append({"event": "sample", "t": t, "source": one.sensor, "values": values})
        if one.look.states and before.get(one.sensor) != one.look.states:
            before[one.sensor] = one.look.states
            events.append({"event": "state", "t": t, "source": one.sensor, "states": dict(one.look.states)})
    return events


def placed(one: Stamped, begin: Mapping[str, Any]) -> int | None:
    """When a look was, in ns of the run's monotonic clock; None where that cannot be said."""
    clocks, t = begin.get("clocks"), begin.get("t")
    if not isinstance(clocks, Mapping) or not isinstance(t, int):
        return None
    then: Any = clocks.get("boottime_ns" if one.clock == UPTIME else "wall_ns")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(then, int) or isinstance(then, bool):
        return None
    seconds = one.seconds + (HALF_SECOND if one.clock == WALL and one.seconds == int(one.seconds) else 0.0)
    whole = int(seconds)  # apart: a wall clock's nanoseconds are more than a float can count
    at = t + whole * 10**9 + round((seconds - whole) * 1e9) - then
    return at if at >= 0 else None
