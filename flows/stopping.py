"""A person asked to stop."""

from __future__ import annotations

from quantfarm.errors import FarmError


class Stopped(FarmError):
    """The cell in hand is given up, what is finished stays."""

    exit_code = 130
