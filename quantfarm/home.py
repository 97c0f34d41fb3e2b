"""Where the farm's folder lies on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_root() -> Path:
    """QUANTFARM_HOME, else `quantfarm` in the user's data folder of this platform."""
    if given := os.environ.get("QUANTFARM_HOME"):
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "quantfarm"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "quantfarm"
