"""Putting a look together: a value is finite and physically possible, or it is unknown with the reason."""

from __future__ import annotations

import re

from quantfarm.sensors import Look

#: Unit (the end of a name) -> what a device can possibly read. Kernel and drivers say 0 for "nothing here".
LIMITS: dict[str, tuple[float, float]] = {
    "c": (-40.0, 150.0),
    "w": (0.0, 20_000.0),
    "uj": (0.0, 1e18),
    "mhz": (1.0, 50_000.0),
    "mib": (0.0, 1e9),
    "pct": (0.0, 100.0),
    "v": (0.0, 1000.0),
    "a": (0.0, 1000.0),
    "ms": (0.0, 1e15),
    "rpm": (0.0, 100_000.0),
    "flag": (0.0, 1.0),
    "level": (0.0, 10.0),
    "count": (0.0, 1e15),
    "1min": (0.0, 1e6),
}
#: Units in which a zero is a dead sensor's word, not a reading.
NEVER_ZERO = frozenset({"c", "mhz", "v"})
#: Values and reasons kept of one look.
MOST = 512
NAME_LENGTH = 48
#: What drivers and tools say where there is nothing to say.
NOTHING = frozenset({"", "n/a", "[n/a]", "[not supported]", "not supported", "none", "[unknown error]", "unknown"})

#: How shells and `timeout` say that there is no such program.
ABSENT = re.compile(r"not found|failed to run command .* No such file")

_NUMBER = re.compile(r"[+-]?[0-9]{1,24}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")


def number(text: str) -> float | None:
    """A plain decimal number and nothing else; None for all else."""
    text = text.strip(" \t")
    return float(text) if len(text) <= 48 and _NUMBER.fullmatch(text) else None


def name_of(text: str) -> str:
    """Any label as a name: lower case, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text[:200].lower()).strip("_")[:NAME_LENGTH] or "unnamed"


def shown(text: str) -> str:
    """What a device said, safe to show: printable and short."""
    return "".join(c if c.isprintable() else "?" for c in text[:60])


class Reading:
    """A look being put together."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._unknown: dict[str, str] = {}

    def value(self, name: str, value: float) -> None:
        """Keeps a value that its unit can have; the first of a name counts."""
        unit = name.rpartition("_")[2]
        low, high = LIMITS[unit]
        if unit in NEVER_ZERO and value == 0:
            self.unknown(name, "reads 0: nothing is measured there")
        elif not low <= value <= high:  # NaN too
            self.unknown(name, f"reads {value:.6g}: outside what is possible")
        elif len(self._values) < MOST:
            self._values.setdefault(name, float(value))

    def text(self, name: str, text: str | None, scale: float = 1.0, *, zero: bool = True) -> None:
        """A value from text, times `scale`. With `zero` false a reading of exactly 0 is none."""
        if text is None:
            return
        found = number(text)
        if found is None:
            said = text.strip()
            self.unknown(name, "not said" if said.lower() in NOTHING else f"no number: {shown(said)!r}")
        elif found == 0 and not zero:
            self.unknown(name, "reads 0: nothing is measured there")
        else:
            self.value(name, found * scale)

    def flag(self, name: str, on: bool) -> None:
        self.value(name, float(on))

    def state(self, name: str, said: str) -> None:
        if said.strip() and len(self._states) < MOST:
            self._states.setdefault(name, shown(said.strip()))

    def unknown(self, name: str, why: str) -> None:
        if len(self._unknown) < MOST:
            self._unknown.setdefault(name, why)

    def free(self, name: str, unit: str) -> str:
        """`name_unit`, or `name_2_unit` … where that is taken."""
        taken = self._values.keys() | self._unknown.keys()
        full, n = f"{name}_{unit}", 1
        while full in taken:
            n += 1
            full = f"{name}_{n}_{unit}"
        return full

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def look(self) -> Look:
        unknown = {name: why for name, why in self._unknown.items() if name not in self._values}
        return Look(values=self._values, states=self._states, unknown=unknown)


def nothing(name: str, text: str, why: str) -> Look:
    """A look that saw nothing, and why: what was said instead, if anything."""
    if ABSENT.search(text[:1000]):
        return Look(unknown={name: "the program is not there"})
    said = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return Look(unknown={name: f"{why}: {shown(said)!r}" if said else why})
