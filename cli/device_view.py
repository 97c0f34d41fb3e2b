"""How devices are shown: a table of all, a page of one, and what came of a registration or a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import devices
from flows.checks import Checked, figure
from flows.discover import Discovered
from flows.register import Registered
from flows.register import describe as facts_of
from quantfarm.errors import unknown
from quantfarm.health import Canary, DeviceState
from quantfarm.nouns import DeviceProfile
from storage.devices import Registry
from storage.home import Home

STYLES = {"ready": "green", "busy": "green", "unhealthy": "red", "quarantined": "red", "retired": "dim"}
#: Rows of a device's record that a page shows.
LATEST = 8
UNREGISTERED = "not registered"


def rows(home: Home, *, every: bool = False) -> list[dict[str, Any]]:
    """One for each device: those with a profile, and those whose registration did not finish."""
    registry = Registry(home)
    known = {name: one for name, one in devices.known(home).items() if not one.template}
    found = [_row(registry, name, known.get(name)) for name in sorted({*known, *registry.names()})]
    return [row for row in found if every or row["state"] != DeviceState.RETIRED]


def _row(registry: Registry, name: str, profile: DeviceProfile | None) -> dict[str, Any]:
    last = registry.last(name)
    canaries = registry.canaries(name)
    return {
        "device": name,
        "state": str(last.to) if last else UNREGISTERED,
        "since": last.at if last else None,
        "reason": last.reason if last else "",
        "way": _way(profile) if profile else None,
        "chip": profile.chip if profile else None,
        "cores": profile.cores if profile else None,
        "memory_mib": profile.memory_mib if profile else None,
        "runtimes": list(profile.runtimes) if profile else [],
        "tags": list(profile.tags) if profile else [],
        "simulated": bool(profile and profile.simulated),
        "canary": _canary(canaries[-1]) if canaries else None,
    }


def _way(profile: DeviceProfile) -> str:
    return f"{profile.kind}://{profile.address}" if profile.address else profile.kind


def _canary(canary: Canary) -> dict[str, Any]:
    return {"at": canary.at, "clean": canary.clean, "why": canary.why, **canary.figures}


#: What a narrow terminal shows, and what there is more room for.
COLUMNS = ("device", "state", "way", "canary", "tags")
WIDE = ("device", "state", "since (UTC)", "way", "chip", "runtimes", "canary", "tags")
WIDE_FROM = 120


def table(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """One line for each device; the rest of what is known is `show`'s."""
    columns = WIDE if console.width >= WIDE_FROM else COLUMNS
    made = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in found:
        made.add_row(*(_cell(row, column) for column in columns))
    console.print(made)
    for row in found:
        if row["state"] in ("unhealthy", "quarantined"):
            _line(console, f"{row['device']} is {row['state']}: {row['reason']}", "yellow")


def _cell(row: Mapping[str, Any], column: str) -> str | Text:
    speed = (row["canary"] or {}).get("bench_tg")
    chip, simulated = row["chip"] or "", " (simulated)" if row["simulated"] else ""
    cells: dict[str, str | Text] = {
        "device": row["device"],
        "state": Text(row["state"], style=STYLES.get(row["state"], "")),
        "since (UTC)": (row["since"] or "")[:16].replace("T", " "),
        "way": row["way"] or "no profile",
        "chip": chip if "simulated" in chip else chip + simulated,
        "runtimes": ", ".join(row["runtimes"]),
        "canary": f"{figure(speed)} tok/s" if speed else "",
        "tags": ", ".join(row["tags"]),
    }
    return cells[column]


def about(home: Home, name: str) -> dict[str, Any]:
    """Raises UsageError for a device without profile and record."""
    registry, known = Registry(home), devices.known(home)
    profile = known.get(name)
    if profile is None and registry.last(name) is None:
        raise unknown("device", name, {*(one.name for one in known.values() if not one.template), *registry.names()})
    return {
        **_row(registry, name, profile),
        "profile": asdict(profile) if profile else None,
        "facts": facts_of(profile) if profile else "",
        "transitions": [asdict(row) for row in registry.history(name)],
        "canaries": [asdict(canary) for canary in registry.canaries(name)],
    }


def page(one: Mapping[str, Any], console: Console) -> None:
    console.print(Text.assemble((one["device"], "bold"), "  ", (one["state"], STYLES.get(one["state"], ""))))
    _line(console, f"{one['way']}: {one['facts']}" if one["way"] else "no profile: its registration did not finish")
    profile = one["profile"] or {}
    for name, build in profile.get("builds", ()):
        _line(console, f"  {name}: {build}")
    for name, why in profile.get("missing", ()):
        _line(console, f"  no {name}: {why}", "dim")
    if one["transitions"]:
        made = Table("since (UTC)", "state", "by", "reason", box=None, header_style="bold", pad_edge=False)
        for row in one["transitions"][-LATEST:]:
            state = Text(str(row["to"]), style=STYLES.get(row["to"], ""))
            made.add_row(row["at"][:19].replace("T", " "), state, str(row["by"]), Text(row["reason"]))
        console.print("", made)
    if one["canaries"]:
        made = Table("canary (UTC)", "pp", "tg", "ppl", "", box=None, header_style="bold", pad_edge=False)
        for row in one["canaries"][-LATEST:]:
            shown = (
                figure(row["figures"][key]) if key in row["figures"] else "–" for key in ("bench_pp", "bench_tg", "ppl")
            )
            made.add_row(row["at"][:19].replace("T", " "), *shown, Text("clean" if row["clean"] else row["why"]))
        console.print("", made)


def told(done: Registered) -> dict[str, Any]:
    return {
        "device": done.profile.name,
        "profile": str(done.path),
        "runtimes": list(done.profile.runtimes),
        "readiness": list(done.lines),
        "warnings": list(done.warnings),
        "canary": done.proof,
    }


def registered(done: Registered, console: Console) -> None:
    _line(console, f"{done.profile.name} is registered: {done.path}")
    for number, line in enumerate(done.lines):
        _line(console, line, "bold" if number == 0 else "dim")


def checked(done: Sequence[Checked], console: Console) -> None:
    if not done:
        _line(console, "no device is registered: `quantfarm device add NAME URL`")
    for one in done:
        _line(console, f"{one.device} is {one.state}: {one.text}", STYLES.get(one.state, ""))


def discovered(found: Discovered, console: Console) -> None:
    for one in found.seen:
        _line(console, f"{one.url}  {one.what}{f'  ({one.state})' if one.state else ''}", "yellow" if one.state else "")
        if not one.state:
            _line(console, f"    quantfarm device add {one.suggested} {one.url}", "dim")
    if not found.seen:
        _line(console, "nothing that is not registered already")
    for note in found.notes:
        _line(console, note, "dim")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
