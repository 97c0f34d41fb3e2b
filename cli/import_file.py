"""quantfarm import: what other tools measured, kept apart from what this farm measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json, print_rows
from flows import devices
from quantfarm.errors import UsageError, unknown
from quantfarm.exchange.figure import Reading
from quantfarm.exchange.importers import TABLE
from storage import import_files
from storage.home import Home
from storage.import_files import AlreadyImported, Asked, Provenance
from storage.ingest import ingest

COLUMNS = ("source", "file", "format", "tool", "version", "device", "imported_at", "imported_by")
HELP = {
    "file": "What the other tool wrote.",
    "device": "Which of your devices it was measured on.",
    "model": "Which model it is of.",
    "variant": "Which quantization it is of.",
    "format": f"What the file is, where its content does not tell: {', '.join(TABLE)}.",
    "list": "List what was imported.",
    "remove": "Forget the import whose sha256 begins so.",
    "json": "Print JSON and nothing else.",
}


def import_file(
    file: Annotated[Path | None, typer.Argument(help=HELP["file"])] = None,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "",
    model: Annotated[str, typer.Option(help=HELP["model"])] = "",
    variant: Annotated[str, typer.Option(help=HELP["variant"])] = "",
    form: Annotated[str, typer.Option("--format", help=HELP["format"])] = "",
    listed: Annotated[bool, typer.Option("--list", help=HELP["list"])] = False,
    remove: Annotated[str, typer.Option(metavar="SHA", help=HELP["remove"])] = "",
    as_json: Annotated[bool, typer.Option("--json", help=HELP["json"])] = False,
) -> None:
    """Import results of llama-bench, mlx-lm, lm-eval, MLPerf Client or optimum-benchmark, marked as imported."""
    home = Home.default()
    if sum((file is not None, listed, bool(remove))) != 1:
        raise UsageError("give a file to import, or --list, or --remove SHA")
    if file:
        _import(home, file, Asked(form, _device(home, device), model, variant), as_json)
    elif listed:
        _list(home, as_json)
    else:
        _remove(home, remove, as_json)


def _import(home: Home, file: Path, asked: Asked, as_json: bool) -> None:
    if asked.format and asked.format not in TABLE:
        raise unknown("format", asked.format, TABLE)
    try:
        provenance, reading = import_files.add(home, file.expanduser(), asked)
    except AlreadyImported as same:
        _carry(home)  # whoever imported it may have been killed before
        return _already(same, as_json)
    _carry(home)
    return _told(provenance, reading, as_json)


def _carry(home: Home) -> None:
    ingest(home, on_wait=lambda holder: _aside(f"waiting: the database is being written by {holder}"))


def _already(same: AlreadyImported, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(same.provenance), "new": False})
    else:
        _say(str(same))


def _told(provenance: Provenance, reading: Reading, as_json: bool) -> None:
    if as_json:
        said: dict[str, Any] = {"figures": len(reading.figures), "passed_over": list(reading.passed_over), "new": True}
        return print_json({**asdict(provenance), **said})
    version = f" {provenance.version}" if provenance.version else ""
    _say(f"imported {len(reading.figures)} figures of {provenance.tool}{version} ({provenance.format})")
    where = ", ".join(reading.devices) or "not said (--device)"
    _say(f"device: {where}; source {provenance.source[:12]}")
    if reading.passed_over:
        _say(f"passed over: {', '.join(reading.passed_over)}")
    return _say("They are shown by `quantfarm results --imported`, and never mixed with what was measured here.")


def _device(home: Home, name: str) -> str:
    """Raises UsageError for a device that is not known, a template, and a simulated one."""
    if not name:
        return ""
    known = devices.known(home)
    if name not in known:
        real = [profile.name for profile in known.values() if not (profile.template or profile.simulated)]
        raise UsageError(f"{unknown('device', name, real)}. One that cannot be reached has a profile of kind: import")
    if known[name].template:
        raise UsageError(f"'{name}' is a template: copy it to {devices.folder(home)} under a name of your device's own")
    if known[name].simulated:
        raise UsageError(f"'{name}' is simulated: nothing was measured on it")
    return name


def _list(home: Home, as_json: bool) -> None:
    problems: dict[str, str] = {}
    rows = [asdict(one) for one in import_files.read_all(home, import_files.sources(home), problems)]
    for why in problems.values():
        _aside(why)
    if as_json:
        return print_json(rows)
    if not rows:
        return _say("nothing was imported yet: quantfarm import FILE")
    shown = [row | {"source": row["source"][:12], "device": row["device"] or row["device_said"]} for row in rows]
    return print_rows(shown, COLUMNS)


def _remove(home: Home, start: str, as_json: bool) -> None:
    source = import_files.remove(home, start)
    _carry(home)
    if as_json:
        print_json({"removed": source})
    else:
        _say(f"removed {source}: its figures are gone, what was measured here is as it was")


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def _aside(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
