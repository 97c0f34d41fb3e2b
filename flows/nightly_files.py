"""Where the watch list is, and what date a night has."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from quantfarm.nightly.watchlist import WatchList
from storage.watch_lists import ENVIRONMENT, NAME, SHIPPED, path, read

__all__ = ["ENVIRONMENT", "NAME", "SHIPPED", "path", "read", "tonight"]


def tonight(watch_list: WatchList, now: datetime | None = None) -> str:
    """The ISO date that a night which begins now has: that of the schedule's time zone."""
    zone = ZoneInfo(watch_list.schedule.timezone)
    return (now.astimezone(zone) if now else datetime.now(zone)).date().isoformat()
