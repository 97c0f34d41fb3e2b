"""What a bisection is asked for: a device that is this machine, and a series that got worse with an upgrade."""

from __future__ import annotations

import json
from pathlib import Path

from quantfarm.nightly.series import SeriesKey, key_of
from quantfarm.nightly.verdicts import Kind, Level, NightReport, Verdict
from quantfarm.nouns import Cell, DeviceProfile
from quantfarm.profiles import load
from storage import nights
from storage.home import Home
from storage.ingest import ingest
from tests import releases
from tests.nights import night, put


def desk(home: Path, version: str, python: Path | str) -> DeviceProfile:
    """This machine as a registered device that has this release."""
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    build = f"{releases.PACKAGE} {version}"
    body = {"kind": "local", "chip": "test", "cores": 2, "memory_mib": 4096, "builds": {"llama_cpp": build}}
    (folder / "desk.yaml").write_text(json.dumps({**body, "options": {"python": str(python)}}))  # JSON is YAML
    return load([folder])["desk"]


def regressed(
    home: Path, old: Cell, new: Cell, ratio: float = 0.5, changed: dict[str, tuple[str, str]] | None = None
) -> SeriesKey:
    """Two nights of a series, the second of them slower, and the report of the second."""
    key, changed = key_of(new, "bench_tg"), changed or {}
    for number, (cell, value) in enumerate(((old, 1000.0), (new, 1000.0 * ratio))):
        put(home, cell, night(number), {"bench_tg": value}, attempt=90 + number)
    verdict = Verdict(
        series=key,
        kind=Kind.REGRESSION,
        reason="it is worse",
        night=night(1),
        old=Level(value=1000.0, unit="tok/s", cell=old.id, build=old.build),
        new=Level(value=1000.0 * ratio, unit="tok/s", cell=new.id, build=new.build),
        ratio=ratio,
        first_bad=night(1),
        changed=changed,
        suspect="; ".join(f"{name} {was} → {now}" for name, (was, now) in changed.items()),
    )
    at = f"{night(1)}T03:00:00+00:00"
    nights.keep(Home(home), NightReport(night=night(1), began_at=at, finished_at=at, verdicts=(verdict,)))
    ingest(Home(home))
    return key


def upgraded(home: Path, good: str, bad: str, python: Path | str) -> str:
    """The id of a series that got worse with an upgrade of `desk` from good to bad."""
    profile = desk(home, bad, python)
    old, new = (releases.cell(Home(home), profile, version) for version in (good, bad))
    return regressed(home, old, new, changed={"build": (old.build, new.build)}).id
