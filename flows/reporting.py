"""BENCHMARK.md and its plots, written from the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flows import devices, measured
from flows.version import version
from quantfarm.errors import UsageError
from quantfarm.report.benchmark import benchmark_files
from storage import atomic
from storage.home import Home
from storage.sweeps import skips


def write(home: Home, folder: Path, device: str | None = None, model: str | None = None) -> list[Path]:
    """The files written, BENCHMARK.md first. Raises UsageError for unknown names and where nothing is measured."""
    found = [one for group in measured.by_device_and_model(home, device, model) for one in group]
    if not found:
        raise UsageError("nothing has been measured yet: run quantfarm sweep")
    files = benchmark_files(
        list(devices.known(home).values()),
        found,
        skips=skips(home),
        commit=version(),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(folder / name, text.encode())
    return [folder / name for name in files]
