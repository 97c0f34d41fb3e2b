"""A run that ends with a message for a person: its state says it, and no traceback does."""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from quantfarm.errors import FarmError


class _Said(logging.Filter):
    """Passes over what Prefect's engine logs of a failed run whose state has said it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], (FarmError, FailedRun)))


_SAID = _Said()


def quiet() -> None:
    """For this process: states with a message are logged without the way they came."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_SAID)  # once: a logger has a filter or has it not


def failed(error: FarmError) -> State[Any]:
    """The state of a run that cannot do what it was asked to; who calls the flow as a function gets it raised."""
    quiet()
    return Failed(message=str(error), data=error)
