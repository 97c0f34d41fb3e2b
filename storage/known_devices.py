"""What is known of devices beside their results: the profiles of registered ones, and of measured ones as they were.

This machine's facts are asked anew at each sweep and stand in no profile: they are read from its newest measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from quantfarm import profiles
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile
from storage.home import Home
from storage.landings import Landings
from storage.reading import Reader

NEWEST = "SELECT device, arg_max(cell, started_at), arg_max(attempt, started_at) FROM cells GROUP BY device"


@dataclass(frozen=True, slots=True)
class Known:
    """Profiles by name; `problems`: file -> why it cannot be read."""

    profiles: Mapping[str, DeviceProfile]
    problems: Mapping[str, str] = field(default_factory=dict[str, str])


def folder(home: Home) -> Path:
    """Where the profiles of registered devices lie; not made by a look."""
    return home.root / "device_profiles"


def registered(home: Home) -> Known:
    """Those of the home's own folder, which change without a new version of the results: to ask every time."""
    found, problems = dict[str, DeviceProfile](), dict[str, str]()
    for path in sorted(folder(home).glob("*.yaml")):
        try:
            one = profiles.parse({"name": path.stem} | profiles.read_yaml(path), str(path))
            found[one.name] = one
        except FarmError as error:
            problems[path.name] = str(error)
    return Known(found, problems)


def measured(reader: Reader, home: Home) -> dict[str, DeviceProfile]:
    """Each device as it was when it was measured last; one whose landed file is gone is left out."""
    landings = Landings(home)
    found = ((device, landings.get(cell, attempt)) for device, cell, attempt in reader.rows(NEWEST) if cell)
    return {device: landed.cell.profile for device, landed in found if landed}


def joined(own: Known, was: Mapping[str, DeviceProfile]) -> dict[str, DeviceProfile]:
    """By name: a profile's own facts, and where it has none those of the measurement."""
    names = {*own.profiles, *was}
    return {name: _joined(own.profiles.get(name), was.get(name)) for name in sorted(names)}


def _joined(own: DeviceProfile | None, was: DeviceProfile | None) -> DeviceProfile:
    if own is None or was is None:
        found = own or was
        assert found is not None
        return found
    usual = DeviceProfile(name=own.name)
    unset = [one.name for one in fields(own) if getattr(own, one.name) == getattr(usual, one.name)]
    return replace(own, **{name: getattr(was, name) for name in unset if name not in ("simulated", "template")})
