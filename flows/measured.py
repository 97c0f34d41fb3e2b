"""What has been measured, as those who decide need it: the candidates of one device and model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from quantfarm.candidates import Candidate, named
from quantfarm.errors import UsageError, unknown
from storage.candidates import candidates
from storage.home import Home
from storage.reading import Reader


def latest_model(reader: Reader, device: str) -> str:
    """The model measured last on a device. Raises UsageError when none was."""
    rows = reader.query("SELECT model FROM cells WHERE device = ? ORDER BY started_at DESC LIMIT 1", [device])
    if not rows:
        known = [row["device"] for row in reader.query("SELECT DISTINCT device FROM cells")]
        if not known:
            raise UsageError("nothing has been measured yet: run quantfarm sweep")
        raise unknown("device", device, known, "the results")
    return str(rows[0]["model"])


def of(home: Home, device: str, model: str | None) -> list[Candidate]:
    """The candidates of one device and one model, the one measured last where none is named. Raises UsageError."""
    with Reader(home) as reader:
        name = model or latest_model(reader, device)
        found = candidates(reader, device=device, model=name)
    if not found:
        raise UsageError(f"nothing of model '{name}' has been measured on {device}: run quantfarm sweep --model {name}")
    return named(found)


def by_device_and_model(home: Home, device: str | None, model: str | None) -> list[Sequence[Candidate]]:
    """All candidates, one list for each device and model."""
    with Reader(home) as reader:
        found = candidates(reader, device=device, model=model)
    found = sorted(named(found), key=lambda c: (c.device, c.model))
    return [list(group) for _, group in groupby(found, key=lambda c: (c.device, c.model))]
