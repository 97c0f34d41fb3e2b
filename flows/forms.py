"""The forms that Prefect's UI shows. A sweep's: what the farm has now to choose from, in the order a person thinks.

The flow keeps plain types; what the form lists is put on its deployment as a schema, and put there again when
devices are registered, so nothing has to be started anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flows import devices
from quantfarm import profiles, quantizers, suites
from quantfarm.health import DeviceState, schedulable
from quantfarm.nouns import DeviceProfile
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.sweeps import Sweep
from storage.devices import Registry
from storage.home import Home
from storage.journal import Damaged

#: Parameters of a sweep in the form's order, with their titles; what is not listed is not for people.
SWEEP = {
    "model": "Model",
    "quants": "Quantizations",
    "devices": "Devices",
    "tags": "Tags",
    "runtimes": "Runtimes",
    "suite": "Suite",
    "launches": "Launches",
    "priority": "Priority",
    "notes": "Notes",
    "fresh": "Measure again",
    "retries": "Retries",
    "limit_s": "Time limit of a cell, in seconds",
    "text": "Text for perplexity",
    "tasks": "Tasks",
    "tasks_dir": "Folder of task files",
    "n_shot": "Worked examples before each question",
    "limit": "Items of each task",
    "calibration": "Text that quantizers learn from",
    "build_on": "Make variants on",
    "axes": "Values of speed parameters",
    "common": "Parameters of all workloads",
    "workloads": "Workloads instead of a suite",
    "seed": "Seed",
    "resume": "Go on with an unfinished sweep",
}
#: Those of a registration.
REGISTER_DEVICE = {
    "name": "Name",
    "url": "Address",
    "tags": "Tags",
    "host_key": "Fingerprint of its SSH host key",
    "environment": "Make an environment",
    "options": "Settings of its agent",
    "idle_s": "Seconds at rest",
    "again": "Register again",
}
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def sweep_form(home: Home, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The flow's own schema (as Prefect makes it) with this farm's choices.

    Raises UsageError where the devices' profiles cannot be read.
    """
    found = sorted(choosable(home), key=lambda profile: profile.name)
    choices = {
        "quants": quantizers.choices(),
        "devices": [profile.name for profile in found],
        "tags": sorted({tag for profile in found for tag in profile.tags}),
        "runtimes": list(RUNTIMES),
    }
    own = Sweep.model_json_schema()["properties"]
    form = titled(schema, SWEEP)
    properties: dict[str, Any] = form["properties"]
    for name in properties:
        properties[name] |= _limits(own.get(name, {}))
        if name in choices:
            properties[name] |= {"type": "array", "items": _items(choices[name]), "uniqueItems": True}
    properties["suite"]["enum"] = list(suites.SUITES)
    properties["devices"]["description"] += f". {states(home, found)}"
    return form


def titled(schema: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """A flow's own schema with these parameters alone, in this order, under these titles."""
    properties = {
        name: {**_plain(schema["properties"][name]), "title": title, "position": position}
        for position, (name, title) in enumerate(titles.items())
    }
    required = [name for name in schema.get("required", ()) if name in titles]
    return {"title": "Parameters", "type": "object", "properties": properties, "required": required, "definitions": {}}


def choosable(home: Home) -> list[DeviceProfile]:
    """Devices that a sweep may name: no templates, none that only imports reach, none that is retired."""
    reached = (p for p in devices.known(home).values() if not p.template and p.kind != profiles.IMPORT)
    return [profile for profile in reached if _state(home, profile.name) != DeviceState.RETIRED]


def states(home: Home, found: Iterable[DeviceProfile]) -> str:
    """`ready: a, b. quarantined: c. simulated, never measured: fake-phone`: who would work now, in words."""
    by_state: dict[str, list[str]] = {}
    for profile in found:
        state = _state(home, profile.name)
        well = "ready" if schedulable(state) else str(state)  # busy is ready: its lease makes the sweep wait
        by_state.setdefault(f"simulated ({well})" if profile.simulated else well, []).append(profile.name)
    order = sorted(by_state, key=lambda state: (state != "ready", state.startswith("simulated"), state))
    return "; ".join(f"{state}: {', '.join(by_state[state])}" for state in order)


def _state(home: Home, name: str) -> DeviceState | None:
    """Of a device whose record cannot be read: unhealthy, as nothing is planned on it."""
    try:
        return Registry(home).state(name)
    except Damaged:
        return DeviceState.UNHEALTHY


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter that may be None as the type it else has: left empty it is not sent at all."""
    kept = {key: value for key, value in given.items() if key not in ("anyOf", "default")}
    if given.get("default") is not None:
        kept["default"] = given["default"]
    return {**kept, **next((one for one in given.get("anyOf", ()) if one.get("type") != "null"), {})}


def _limits(own: Mapping[str, Any]) -> dict[str, Any]:
    """The least and the most that a sweep's field may be."""
    ways = (own, *own.get("anyOf", ()))
    return {key: way[key] for way in ways for key in LIMITS if key in way}


def _items(names: list[str]) -> dict[str, Any]:
    """A multi-select of these; a free list where there are none to choose from."""
    return {"type": "string", "enum": names} if names else {"type": "string"}
