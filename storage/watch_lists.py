"""Where the watch list lies: the file that says what is measured every night, and how it is judged."""

from __future__ import annotations

import os
from pathlib import Path

from quantfarm.errors import FarmError, UsageError
from quantfarm.nightly import watchlist
from quantfarm.nightly.candidates import Rules
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


def rules(home: Home) -> Rules:
    """Of the watch list; the usual ones where that cannot be read, which must not hide what was measured."""
    try:
        given = read(home)
    except FarmError:
        return Rules()
    return Rules(window=given.window, magnitude=given.magnitude, alert=given.alert)
