"""The documents that the farm writes of itself, from the store: all of them whole, or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from flows import devices, measured
from flows.version import version
from quantfarm.candidates import Candidate
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile
from quantfarm.report.axes_table import along
from quantfarm.report.benchmark import benchmark_files, subjects_of
from quantfarm.report.card import card_files
from quantfarm.report.speeds import Speeds
from quantfarm.report.writeup import writeup_md
from quantfarm.toolchain.machines import here
from storage import atomic
from storage.artifacts import Artifacts
from storage.axes import points
from storage.home import Home
from storage.loads import throttles
from storage.reading import Reader
from storage.sweeps import skips


class Document(StrEnum):
    BENCHMARK = "benchmark"
    CARDS = "cards"
    WRITEUP = "writeup"


#: Which files of all that can be rendered belong to a document; plots are those of the first and the last.
PLOTS = ".svg"
FIRST = {Document.BENCHMARK: "BENCHMARK.md", Document.CARDS: "model_cards", Document.WRITEUP: "WRITEUP.md"}


def write(
    home: Home,
    folder: Path,
    device: str | None = None,
    model: str | None = None,
    documents: Collection[Document] = tuple(Document),
) -> list[Path]:
    """The files written, the documents' own before their plots. Raises UsageError for unknown names, where nothing is
    measured and where a file cannot be written; FarmError when there is no room."""
    files = render(home, device, model, documents)
    atomic.write_all({folder / name: text.encode() for name, text in files.items()})
    return [folder / name for name in files]


def render(
    home: Home, device: str | None, model: str | None, documents: Collection[Document] = tuple(Document)
) -> dict[str, str]:
    """Path -> text, in the order of the documents. Raises as write, but of what can be written."""
    found = [one for group in measured.by_device_and_model(home, device, model) for one in group]
    if not found:
        raise UsageError("nothing has been measured yet: run quantfarm sweep")
    profiles = _profiles(home)
    subjects = subjects_of(profiles, found)
    commit = version()
    files: dict[str, str] = {}
    if {Document.BENCHMARK, Document.WRITEUP} & set(documents):
        files |= _of_text(home, profiles, found, subjects, commit, device, model)
    if Document.CARDS in documents:
        files |= card_files(subjects, Artifacts(home).all(), FIRST[Document.CARDS], commit)
        if not any(name.startswith(FIRST[Document.CARDS]) for name in files) and len(set(documents)) == 1:
            raise UsageError("there is no model card to write: nothing was measured on a device that is no simulation")
    ours = tuple(FIRST[one] for one in Document if one in documents)
    kept = {name: text for name, text in files.items() if name.endswith(PLOTS) or name.startswith(ours)}
    return dict(sorted(kept.items(), key=lambda item: _order(item[0])))


def _of_text(
    home: Home, profiles: Sequence[DeviceProfile], found: Sequence[Candidate], subjects: Any, commit: str,
    device: str | None, model: str | None,
) -> dict[str, str]:  # fmt: skip
    """BENCHMARK.md, WRITEUP.md and the plots of both."""
    told: dict[str, Any] = {
        "skips": skips(home),
        "speeds": _speeds(home, {profile.name: profile.cores for profile in profiles}, device, model),
        "commit": commit,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    files = benchmark_files(profiles, found, subjects=subjects, **told)
    pictures = [name for name in files if name.endswith(PLOTS)]
    return files | {"WRITEUP.md": writeup_md(subjects, profiles, pictures=pictures, **told)}


def _order(name: str) -> tuple[int, str]:
    first = [one for one in FIRST.values() if name.startswith(one)]
    return (list(FIRST.values()).index(first[0]) if first else len(FIRST), name)


def _profiles(home: Home) -> list[DeviceProfile]:
    """This machine's says which system it is, as those of registered devices do."""
    known = devices.known(home)
    own = known[devices.LOCAL]
    return list({**known, devices.LOCAL: replace(own, platform=own.platform or here())}.values())


def _speeds(home: Home, cores: Mapping[str, int], device: str | None, model: str | None) -> Speeds:
    with Reader(home) as reader:
        return Speeds(
            throttles=throttles(home, reader, device, model),
            axes=along(points(reader, cores, device, model)),
        )
