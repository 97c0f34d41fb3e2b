"""Which sensors a device has: each is asked once, and one that gave no value is a fact with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quantfarm.marked import end, parts, section
from quantfarm.sensors import TABLE, Look, sensor

#: Bytes heard of one sensor.
LOOK_BYTES = 64 * 1024
#: Reasons told of a sensor that reads nothing at all.
MOST_REASONS = 3


def on(platform: str) -> tuple[str, ...]:
    """The sensors that a platform ("linux-x86_64", "android", …) can have."""
    system = platform.partition("-")[0]
    return tuple(name for name in TABLE if system in sensor(name).platforms)


def probe_command(platform: str) -> str:
    """Shell text that runs each of the platform's sensors once, each under its mark. For a shell, not an argv."""
    return "".join(section(f"sensor.{name}", sensor(name).command(), LOOK_BYTES) for name in on(platform)) + end()


def looks(lines: Iterable[str]) -> dict[str, Look]:
    """Sensor -> what it saw, from what the probe printed; marks of others are passed over."""
    found: dict[str, Look] = {}
    for part in parts(lines):
        name = part.name.removeprefix("sensor.")
        if name != part.name and name in TABLE:
            found.setdefault(name, sensor(name).parse(part.text))
    return found


def chosen(text: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """(the sensors that gave at least one value, the others with why they did not)."""
    found = looks(text.splitlines(keepends=True))
    have = tuple(name for name, look in found.items() if look.values)
    return have, {name: why(look) for name, look in found.items() if not look.values}


def why(look: Look) -> str:
    """Why a look has no value, in a line."""
    reasons = dict.fromkeys(f"{name}: {reason}" for name, reason in look.unknown.items())
    told = "; ".join(list(reasons)[:MOST_REASONS])
    more = f"; and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    return (told or "printed nothing that it reads") + more
