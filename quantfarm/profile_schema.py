"""The JSON Schema of device profiles, and the table of their keys for docs/devices.md, made from DeviceProfile.

`python -m quantfarm.profile_schema` writes both; a test holds them up to date. Editors check profiles with the
schema (`# yaml-language-server: $schema=schema.json`); `quantfarm.profiles` needs no schema to do so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from quantfarm import profiles
from quantfarm.nouns import DeviceProfile
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.sensors import TABLE as SENSORS

FILE = profiles.SHIPPED / "schema.json"
DOCS = profiles.SHIPPED.parent / "docs" / "devices.md"
BEGIN, END = "<!-- keys: written by python -m quantfarm.profile_schema -->", "<!-- end of keys -->"

Schema = dict[str, Any]

#: What may stand behind a name in a mapping that is free otherwise.
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}

#: What each key means, for editors and for docs/devices.md.
MEANING: dict[str, str] = {
    "name": "what sweeps call it; the file's name where it is left out",
    "kind": f"how it is reached: local, ssh, adb, ray, fake; `{profiles.IMPORT}`: not from here",
    "address": "what the agent needs to reach it: user@host[:port], a serial, a Ray node's name",
    "platform": "system and architecture: which programs run on it (linux-x86_64, android-arm64, macos-arm64, …)",
    "os": "operating system, as it names itself",
    "chip": "processor, as it names itself; part of a result's identity",
    "cores": "physical cores; as many threads are used where a sweep says nothing",
    "memory_mib": "main memory, MiB",
    "accelerators": "GPUs that a runtime could use",
    "sensors": "what can be watched on it while it measures",
    "missing": "sensors that it could have and has not, each with the reason",
    "runtimes": "what it can run models with; empty: llama_cpp",
    "builds": "the build of each runtime that it has",
    "idle": "what its sensors read at rest; where it starts a measurement from",
    "idle.temperature_c": "temperature at rest, °C",
    "idle.reading": "which reading that is, e.g. x86_pkg_temp_c",
    "idle.power_w": "power at rest, W",
    "idle.measured_at": "when, UTC",
    "limits": "what must not be exceeded",
    "limits.memory_mib": "the most that a run may hold resident, MiB; 90 % of memory where it is left out",
    "limits.temperature_c": "its thermal ceiling, °C",
    "targets": 'goals, `METRIC:VARIANT` (or `METRIC`, met by any variant): a number, ">= 12", "<= 0.5", ">= 12 for 3B"',
    "tags": "names of groups that a sweep can ask for",
    "simulated": "its figures are made up (kind fake), and are marked so wherever they are shown",
    "template": "to copy from: never measured on, never shown as measured",
    "options": "the agent's own: an SSH key's file, a Ray cluster's head, a fake's script",
}
#: Words that editors offer; others are allowed, a device may have what this version does not know.
OFFERED: dict[str, list[str]] = {
    "kind": ["local", "ssh", "adb", "ray", "fake", profiles.IMPORT],
    "sensors": sorted(SENSORS),
    "runtimes": sorted(RUNTIMES),
    "platform": ["linux-x86_64", "linux-arm64", "android-arm64", "android-x86_64", "macos-arm64", "ios-arm64"],
}


def schema() -> Schema:
    """JSON Schema (2020-12) of a profile file: every key known, nothing required."""
    made = TypeAdapter(DeviceProfile).json_schema()
    parts = cast("dict[str, Schema]", made.pop("$defs"))
    made.pop("required", None)
    properties = cast("dict[str, Schema]", made["properties"])
    for key in properties:
        properties[key] = _property(key, properties[key], parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "quantfarm device profile",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(key: str, given: Schema, parts: dict[str, Schema]) -> Schema:
    if key in profiles.NESTED:
        given = _nested(key, parts[profiles.NESTED[key].__name__])
    elif key in profiles.PAIRS:
        given = {"type": "object", "additionalProperties": SCALAR}
    return _described(key, given)


def _nested(key: str, part: Schema) -> Schema:
    inner = cast("dict[str, Schema]", part["properties"])
    described = {name: _described(f"{key}.{name}", one) for name, one in inner.items()}
    return {"type": ["object", "null"], "properties": described, "additionalProperties": False}


def _described(key: str, given: Schema) -> Schema:
    """With its meaning, without pydantic's titles; with the words that editors offer."""
    kept = {name: value for name, value in given.items() if name not in ("title", "description")}
    offered = OFFERED.get(key)
    if offered and kept["type"] == "array":
        kept["items"] = {"anyOf": [{"enum": offered}, {"type": "string"}]}
    elif offered:
        kept = {"anyOf": [{"enum": offered}, {"type": "string"}], "default": kept["default"]}
    return {"description": MEANING[key], **kept}


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def table() -> str:
    """The keys and what they mean, as Markdown."""
    rows = [f"| `{key}` | {meaning} |" for key, meaning in MEANING.items()]
    return "\n".join(["| key | meaning |", "|---|---|", *rows])


def documented(docs: str) -> str:
    """docs/devices.md with the table as it should be. Raises ValueError where its place is not there."""
    before, begin, rest = docs.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the keys: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def write(schema_file: Path = FILE, docs: Path = DOCS) -> None:
    schema_file.write_text(text(), "utf-8")
    docs.write_text(documented(docs.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
    sys.stdout.write(f"{FILE}\n{DOCS}\n")
