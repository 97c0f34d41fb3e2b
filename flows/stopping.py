"""A person asked to stop."""

from __future__ import annotations

from quantfarm.errors import FarmError


class Stopped(FarmError):
    """The cell in hand is given up, what is finished stays."""

    exit_code = 130


def cancelled() -> bool:
    """Whether the signal that ends this run comes from a person who cancels it, and not from whoever ends processes.

    Prefect's runner says so to the run's process before it sends the signal.
    """
    from prefect._internal.control_listener import get_intent  # noqa: PLC0415 - told nowhere else

    return get_intent() == "cancel"
