"""What a sweep's run is called in Prefect's UI, and the tags it is found by."""

from __future__ import annotations

import logging

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


def tags(prepared: Prepared) -> list[str]:
    devices = sorted({cell.profile.name for cell in prepared.plan.cells})
    named = [f"device:{one}" for one in devices] if len(devices) <= DEVICES else [f"{len(devices)} devices"]
    return [f"model:{prepared.source.name}", *named]


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def put(prepared: Prepared) -> None:
    """On the run in hand; a run that cannot be called so is called as it began."""
    context = FlowRunContext.get()
    if not context or not context.flow_run:
        return
    run = context.flow_run
    try:
        with get_client(sync_client=True) as client:
            both = sorted({*run.tags, *tags(prepared)})
            client.update_flow_run(run.id, name=name(prepared), tags=both)
    except Exception as error:
        log.info("the run keeps its first name: %s", str(error) or repr(error))
