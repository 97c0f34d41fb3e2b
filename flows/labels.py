"""What a run is called in Prefect's UI, and the tags it is found by: models and devices."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from flows.prepare import Prepared

log = logging.getLogger("quantfarm.flows")

#: More devices than this are one tag that counts them.
DEVICES = 30


def name(prepared: Prepared) -> str:
    """`sweep llama-3.2-3b × 5 quants × 3 devices`, as planned."""
    cells = prepared.plan.cells
    quants, devices = {cell.variant for cell in cells}, {cell.profile.name for cell in cells}
    return f"sweep {prepared.source.name} × {count(len(quants), 'quant')} × {count(len(devices), 'device')}"


def tags(models: Iterable[str], devices: Iterable[str]) -> list[str]:
    named = sorted(set(devices))
    of_devices = [f"device:{one}" for one in named] if len(named) <= DEVICES else [f"{len(named)} devices"]
    return [*(f"model:{one}" for one in sorted(set(models))), *of_devices]


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def put(prepared: Prepared) -> None:
    """On the sweep's run in hand: its name and its tags."""
    devices = (cell.profile.name for cell in prepared.plan.cells)
    _update(tags([prepared.source.name], devices), name=name(prepared))


def tag(models: Iterable[str] = (), devices: Iterable[str] = ()) -> None:
    """On the run in hand, whatever it is of."""
    _update(tags(models, devices))


def _update(more: list[str], name: str | None = None) -> None:
    """A run that cannot be called so is called as it began."""
    context = FlowRunContext.get()
    if not context or not context.flow_run:
        return
    run = context.flow_run
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, name=name, tags=sorted({*run.tags, *more}))
    except Exception as error:
        log.info("the run keeps its first name and tags: %s", str(error) or repr(error))
