"""What a run shows in Prefect's UI. For people to look at: results stay in files, and no failure to show one
ever harms a run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext

log = logging.getLogger("quantfarm.flows")

#: An artifact is a row of the server's database and is sent whole to the browser.
LARGEST = 1_000_000
PAUSE_S = 30.0
NOT_A_KEY = re.compile(r"[^a-z0-9]+")


def key(*parts: str) -> str:
    """Of lowercase letters, numbers and dashes, as Prefect asks."""
    return NOT_A_KEY.sub("-", "-".join(parts).lower()).strip("-")


def run_id() -> UUID | None:
    """Of the flow run in hand; None outside of one."""
    if (flow := FlowRunContext.get()) and flow.flow_run:
        return flow.flow_run.id
    task = TaskRunContext.get()
    return task.task_run.flow_run_id if task else None


class Shelf:
    """The artifacts of one run. After a failure nothing is tried for a while: the server is away."""

    def __init__(self, run: UUID | None) -> None:
        self.run = run
        self._ids: dict[str, UUID] = {}
        self._not_before = 0.0

    def put(self, kind: str, name: str, data: Any, description: str = "") -> None:
        """Makes it, or changes the one of that name."""
        if self.run is None or time.monotonic() < self._not_before:
            return
        try:
            with get_client(sync_client=True) as client:
                self._put(client, kind, name, data, description)
        except Exception as error:
            self._not_before = time.monotonic() + PAUSE_S
            log.info("no artifact %s: %s", name, str(error) or repr(error))

    def _put(self, client: SyncPrefectClient, kind: str, name: str, data: Any, description: str) -> None:
        if known := self._ids.get(name):
            client.update_artifact(known, ArtifactUpdate(data=data, description=description))
            return
        made = client.create_artifact(
            ArtifactCreate(key=key(name), type=kind, data=data, description=description, flow_run_id=self.run)
        )
        self._ids[name] = made.id

    def markdown(self, name: str, text: str, description: str = "") -> None:
        if len(text) > LARGEST:
            text = f"{text[:LARGEST]}\n\n*Cut off here: {len(text) - LARGEST:,} more characters.*"
        self.put("markdown", name, text, description)

    def table(self, name: str, rows: list[dict[str, Any]], description: str = "") -> None:
        self.put("table", name, json.dumps(rows, ensure_ascii=False), description)

    def progress(self, name: str, percent: float, description: str = "") -> None:
        self.put("progress", name, percent, description)

    def svg(self, name: str, text: str, description: str = "") -> None:
        """A drawing inside the artifact itself: no file is served."""
        data = base64.b64encode(text.encode()).decode()
        if len(data) <= LARGEST:
            self.put("image", name, f"data:image/svg+xml;base64,{data}", description)


def markdown(name: str, text: str, description: str = "") -> None:
    """One for the run in hand."""
    with contextlib.suppress(Exception):
        Shelf(run_id()).markdown(name, text, description)
