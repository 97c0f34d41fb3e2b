"""Imported files as they came, and what is known of each: immutable, like everything that lands.

HOME/imports/<sha256>        the file's own bytes
HOME/imports/<sha256>.json   its provenance; with it the import is whole
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from quantfarm.errors import FarmError, UsageError
from quantfarm.exchange import importers
from quantfarm.exchange.figure import Reading
from storage import atomic
from storage.home import Home

SCHEMA = 1
#: A file of results larger than this is none of these tools'.
MOST = 256 * 2**20
BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # PowerShell's redirection writes it


class AlreadyImported(FarmError):
    """These bytes were imported before; what is there stays."""

    def __init__(self, provenance: Provenance) -> None:
        self.provenance = provenance
        super().__init__(
            f"imported already, as {provenance.file}{_of(provenance)} on {provenance.imported_at[:10]}: nothing was "
            f"changed. To import it otherwise: quantfarm import --remove {provenance.source[:12]}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a file comes from. `device`, `model`, `variant`: what whoever imported it said; empty: what the file says.

    `imported_at` is ISO 8601, UTC.
    """

    source: str  # sha256
    size: int
    file: str
    format: str
    tool: str
    version: str
    device_said: str
    device: str
    model: str
    variant: str
    imported_at: str
    imported_by: str


_PROVENANCE = TypeAdapter(Provenance)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody says of a file that they import; empty: the file says it."""

    format: str = ""
    device: str = ""
    model: str = ""
    variant: str = ""


def folder(home: Home) -> Path:
    """Not made by a look."""
    return home.root / "imports"


def add(home: Home, path: Path, asked: Asked) -> tuple[Provenance, Reading]:
    """Reads a file and keeps it. Raises UsageError where it cannot be read as results (nothing is kept then),
    AlreadyImported, and NoRoom."""
    data = _bytes(path)
    source = hashlib.sha256(data).hexdigest()
    if known := find(home, source):
        raise AlreadyImported(known)
    name, said = _read(data, str(path), asked.format)
    reading = _named(said, str(path), asked)
    provenance = Provenance(
        source=source,
        size=len(data),
        file=path.name,
        format=name,
        tool=said.tool,
        version=said.version,
        device_said=", ".join(said.devices),
        device=asked.device,
        model=asked.model,
        variant=asked.variant,
        imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        imported_by=_login(),
    )
    _land(home, provenance, data)
    return provenance, reading


def _land(home: Home, provenance: Provenance, data: bytes) -> None:
    home.folder("imports")
    atomic.write_atomic(_path(home, provenance.source), data)  # over what a killed import left
    _path(home, provenance.source).chmod(0o444)
    text = json.dumps({"schema": SCHEMA, **asdict(provenance)}, indent=1, ensure_ascii=False) + "\n"
    try:
        atomic.write_once(_about(home, provenance.source), text.encode("utf-8", "surrogateescape"))
    except FileExistsError:
        raise AlreadyImported(about(home, provenance.source)) from None


def reading(home: Home, provenance: Provenance) -> Reading:
    """The figures of an imported file, read again. Raises FarmError where it is not as it was imported."""
    path = _path(home, provenance.source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FarmError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != provenance.source:
        raise FarmError(f"{path} is not as it was imported: its content has changed")
    said = Asked(provenance.format, provenance.device, provenance.model, provenance.variant)
    return _named(_read(data, provenance.file, provenance.format)[1], provenance.file, said)


def sources(home: Home) -> list[str]:
    """The sha256 of every whole import."""
    return sorted(path.stem for path in folder(home).glob("[0-9a-f]*.json"))


def read_all(home: Home, names: Iterable[str], problems: dict[str, str]) -> Iterator[Provenance]:
    """Those that can be read; the others go into `problems`: file name -> why."""
    for source in names:
        try:
            yield about(home, source)
        except FarmError as error:
            problems[_about(home, source).name] = str(error)


def about(home: Home, source: str) -> Provenance:
    """Raises FarmError where it cannot be read."""
    path = _about(home, source)
    try:
        said = json.loads(path.read_bytes())
        if said.pop("schema") > SCHEMA:
            raise ValueError("written by a newer quantfarm: upgrade")
        provenance = _PROVENANCE.validate_python(said)
        if provenance.source != source:
            raise ValueError(f"it speaks of {provenance.source}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FarmError(f"{path} does not say where an import comes from: {' '.join(str(error).split())}") from error
    return provenance


def about_sha256(home: Home, source: str) -> str:
    return hashlib.sha256(_about(home, source).read_bytes()).hexdigest()


def find(home: Home, source: str) -> Provenance | None:
    return about(home, source) if _about(home, source).exists() else None


def remove(home: Home, start: str) -> str:
    """Forgets an import, by the first digits of its sha256; which one it was. Raises UsageError unless it is one."""
    known = sources(home)
    found = [source for source in known if len(start) >= 6 and source.startswith(start.lower())]
    if len(found) != 1:
        what = f"begins {len(found)} imports: give more digits" if found else "is no import (at least 6 digits)"
        raise UsageError(f"'{start}' {what}. Known: {', '.join(one[:12] for one in known) or 'none'}")
    _about(home, found[0]).unlink()
    _path(home, found[0]).unlink(missing_ok=True)
    atomic.fsync_folder(folder(home))
    return found[0]


def strays(home: Home) -> list[str]:
    """Names of files without a provenance: of an import or a removal that was killed."""
    names = {path.name for path in folder(home).glob("[0-9a-f]*") if path.suffix != ".json"}
    return sorted(names - set(sources(home)))


def _read(data: bytes, where: str, form: str) -> tuple[str, Reading]:
    text = _text(data, where)
    name = form or importers.recognise(text, where)
    return name, importers.read(text, name, where)


def _named(said: Reading, where: str, asked: Asked) -> Reading:
    return importers.named(said, where, model=asked.model, variant=asked.variant, device=asked.device)


def _bytes(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > MOST:
            raise UsageError(f"{path} is of {size / 2**20:.0f} MiB: no file of results is that large")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _text(data: bytes, where: str) -> str:
    encoding = BOMS.get(data[:2], "utf-8-sig")
    try:
        return data.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where}, line {line}: no text in UTF-8: {error.reason} at byte {error.start}") from error


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return ""


def _of(provenance: Provenance) -> str:
    said = [f"{what} {value}" for what in ("device", "model") if (value := getattr(provenance, what))]
    return f" ({', '.join(said)})" if said else ""


def _path(home: Home, source: str) -> Path:
    return folder(home) / source


def _about(home: Home, source: str) -> Path:
    return folder(home) / f"{source}.json"
