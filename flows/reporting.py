"""BENCHMARK.md and its plots, written from the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flows import devices, measured
from flows.version import version
from quantfarm.errors import UsageError
from quantfarm.report.axes_table import along
from quantfarm.report.benchmark import benchmark_files
from quantfarm.report.speeds import Speeds
from storage import atomic
from storage.axes import points
from storage.home import Home
from storage.loads import throttles
from storage.reading import Reader
from storage.sweeps import skips


def write(home: Home, folder: Path, device: str | None = None, model: str | None = None) -> list[Path]:
    """The files written, BENCHMARK.md first. Raises UsageError for unknown names and where nothing is measured."""
    found = [one for group in measured.by_device_and_model(home, device, model) for one in group]
    if not found:
        raise UsageError("nothing has been measured yet: run quantfarm sweep")
    profiles = list(devices.known(home).values())
    files = benchmark_files(
        profiles,
        found,
        speeds=_speeds(home, {profile.name: profile.cores for profile in profiles}, device, model),
        skips=skips(home),
        commit=version(),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(folder / name, text.encode())
    return [folder / name for name in files]


def _speeds(home: Home, cores: Mapping[str, int], device: str | None, model: str | None) -> Speeds:
    with Reader(home) as reader:
        return Speeds(
            throttles=throttles(home, reader, device, model),
            axes=along(points(reader, cores, device, model)),
        )
