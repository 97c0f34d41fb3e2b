"""Where the watch list is, and what date a night has."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from quantfarm.errors import UsageError
from quantfarm.nightly import watchlist
from quantfarm.nightly.watchlist import WatchList
from storage.home import Home

ENVIRONMENT = "QUANTFARM_NIGHTLY"
NAME = "nightly.yaml"
#: The one that comes with the farm.
SHIPPED = Path(__file__).resolve().parent.parent / "sweeps" / NAME


def path(home: Home, given: str | None = None) -> Path:
    """The file given; else that which QUANTFARM_NIGHTLY names, the home's own, the one that comes with the farm.

    Raises UsageError where there is none.
    """
    if named := given or os.environ.get(ENVIRONMENT):
        return Path(named).expanduser().absolute()
    found = next((file for file in (home.root / NAME, SHIPPED) if file.exists()), None)
    if found is None:
        raise UsageError(
            f"there is no watch list: write {home.root / NAME} (see docs/nightly.md), or set {ENVIRONMENT}"
        )
    return found


def read(home: Home, given: str | None = None) -> WatchList:
    """Raises UsageError for a file that is missing, half-written or wrong."""
    return watchlist.read(path(home, given))


def tonight(watch_list: WatchList, now: datetime | None = None) -> str:
    """The ISO date that a night which begins now has: that of the schedule's time zone."""
    zone = ZoneInfo(watch_list.schedule.timezone)
    return (now.astimezone(zone) if now else datetime.now(zone)).date().isoformat()
