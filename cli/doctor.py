"""quantfarm doctor: is everything here that a sweep needs, and what to do where it is not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.output import print_json
from flows import devices
from quantfarm.errors import FarmError
from storage.home import Home
from storage.reading import Reader

#: Versions that are known to lose data or to fail silently (docs/decisions); each with the range that works.
PINS = {"duckdb": ((1, 5, 6), (2,)), "prefect": ((3, 8), (3, 9)), "sqlalchemy": ((2, 0), (2, 1))}
NEEDED_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` None: not needed for everything, but worth knowing."""

    what: str
    ok: bool | None
    text: str


def _compiler() -> Finding:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return Finding("compiler", found is not None, found or "none: install gcc or clang (llama.cpp is built)")


def _llama() -> Finding:
    try:
        return Finding("llama.cpp", True, f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}")
    except importlib.metadata.PackageNotFoundError:
        return Finding("llama.cpp", False, "llama-cpp-python is not installed: run `make setup`")


def _tools() -> Finding:
    from quantfarm import toolchain  # noqa: PLC0415 - needs llama-cpp-python

    try:
        return Finding("toolchain", True, str(toolchain.tool("llama-bench").parent))
    except FarmError as error:
        return Finding("toolchain", None, str(error))


def _pins() -> Iterator[Finding]:
    for name, (low, high) in PINS.items():
        version = importlib.metadata.version(name)
        number = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
        good = low <= number < high
        wanted = f"needs at least {'.'.join(map(str, low))} and below {'.'.join(map(str, high))}"
        yield Finding(name, good, version if good else f"{version}: {wanted}; run `make setup`")


def _home(home: Home) -> Iterator[Finding]:
    try:
        probe = home.folder() / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
        yield Finding("home", True, str(home.root))
    except (OSError, FarmError) as error:
        yield Finding("home", False, f"{home.root} cannot be written: {error}")
        return
    free = shutil.disk_usage(home.root).free / 2**30
    yield Finding("disk", free >= NEEDED_GIB, f"{free:.1f} GiB free")


def _results(home: Home) -> Finding:
    try:
        with Reader(home) as reader:
            return Finding("results", True, f"database version {reader.version}")
    except FarmError as error:
        return Finding("results", None, str(error))


def _reference() -> Finding:
    folder = Path(__file__).resolve().parent.parent / "reference_model"
    file = folder / "reference-F16.gguf"
    if not file.exists():
        return Finding("reference model", False, f"{file} is missing: is this checkout whole?")
    return Finding("reference model", True, f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}…")


def _local(home: Home) -> Finding:
    here = devices.known(home)[devices.LOCAL]
    text = f"{here.chip}, {here.cores} cores, {here.memory_mib / 1024:.1f} GiB, {here.os}"
    return Finding("this machine", True, text)


def findings(home: Home) -> list[Finding]:
    one_by_one: list[Callable[[], Finding]] = [_compiler, _llama, _tools, _reference]
    return [
        Finding("python", True, platform.python_version()),
        *(check() for check in one_by_one),
        *_pins(),
        *_home(home),
        _local(home),
        _results(home),
    ]


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False) -> None:
    """Check this machine and this installation; exit code 1 when something is missing that a sweep needs."""
    found = findings(Home.default())
    if as_json:
        print_json([{"what": f.what, "ok": f.ok, "text": f.text} for f in found])
    else:
        console = Console(soft_wrap=True)
        for finding in found:
            mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]·[/]"}[finding.ok]
            console.print(f"{mark} [bold]{finding.what}[/]  ", end="")
            console.print(finding.text, markup=False, highlight=False)
    if any(finding.ok is False for finding in found):
        raise typer.Exit(1)
