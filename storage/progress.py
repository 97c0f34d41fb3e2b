"""How far the sweeps are that are being carried out now, and about how long they will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from storage.home import Home
from storage.sweeps import Unfinished, landed_at, unfinished

#: Fewer cells than this say nothing about the others.
FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`left_s`: about how long it will take, s; None where too little has landed since it began."""

    sweep: str
    model: str
    devices: tuple[str, ...]
    done: int
    total: int
    began_at: str
    left_s: float | None


def running(home: Home, now: datetime | None = None) -> list[Progress]:
    """To ask every time: by the files of the sweeps, none of which is the published database's."""
    found = [one for one in unfinished(home) if one.alive]
    return [_progress(one, landed_at(home), now or datetime.now(UTC)) for one in found]


def _progress(one: Unfinished, landed: dict[str, float], now: datetime) -> Progress:
    began = datetime.fromisoformat(one.began_at)
    since = [landed[cell] for cell in one.cells if landed.get(cell, 0.0) >= began.timestamp()]
    return Progress(
        sweep=one.sweep,
        model=one.model,
        devices=tuple(str(name) for name in one.request.get("devices") or ()),
        done=one.finished,
        total=len(one.cells),
        began_at=one.began_at,
        left_s=_left(one, len(since), (now - began).total_seconds()),
    )


def _left(one: Unfinished, since: int, took_s: float) -> float | None:
    """By the pace since it began; cells that were there before say nothing of it, nor does one that was begun again."""
    if since < FEWEST or one.went_on:
        return None
    return (len(one.cells) - one.finished) * took_s / since
