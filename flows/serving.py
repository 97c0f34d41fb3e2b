"""The serving process: deployments registered with the server, their runs started, one process each.

Prefect's runner with what a farm needs beyond it: of the missed runs of a schedule one is run, not all; a beat file
tells whoever watches that it lives; schedules go on when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from prefect._vendor.croniter import croniter  # what the server's scheduler itself uses
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.states import Cancelled

from storage import atomic, processes

BEAT_S = 2.0
#: Runs at a time. A sweep that waits for its device takes one too.
RUNS = 32
ENDING = "the serving process was stopped; what was finished is kept, and the next `quantfarm up` offers to go on"
MISSED = "a later run of the same schedule is due as well: of those that were missed, one is run"


class Serving(Runner):
    """`beat`: the file that tells of us; `log`: where flow runs write, so that they can outlive us."""

    def __init__(self, beat: Path | None, log: Path | None) -> None:
        # Paused schedules would stay so when we are started again, and be silently never run.
        super().__init__(name="quantfarm", pause_on_shutdown=False, limit=RUNS)
        self._beat_file, self._log_file = beat, log
        self._beating: asyncio.Task[None] | None = None
        self._served: dict[str, str] = {}
        self._schedules: dict[str, list[Any]] = {}
        self._polled = 0.0

    def serve(self, deployments: Sequence[Any]) -> None:
        """Registers and serves until it is told to end."""
        for one in deployments:
            self._served[one.name] = str(self.add_deployment(one))
            self._schedules[one.name] = [made.schedule for made in one.schedules or () if made.active is not False]
        asyncio.run(self.start())

    async def __aenter__(self) -> Serving:
        await super().__aenter__()
        poller = self._scheduled_run_poller
        ask = poller._get_scheduled_flow_runs  # Prefect is pinned, and a test holds this

        async def due() -> list[FlowRun]:
            try:
                found = await ask()
            except httpx.HTTPError:  # no server, or one that is starting: its runs go on, and so do we
                return []
            self._polled = time.monotonic()
            return await self._newest(found)

        poller._get_scheduled_flow_runs = due
        resolve = poller._resolve_starter

        def starter(flow_run: FlowRun) -> Any:
            made: Any = resolve(flow_run)
            if self._log_file:
                made._command = shlex.join([sys.executable, "-P", "-m", "flows.flow_process", str(self._log_file)])
                made._stream_output = False
            return made

        poller._resolve_starter = starter
        self._beating = asyncio.create_task(self._beat(self._beat_file)) if self._beat_file else None
        return self

    def handle_sigterm(self, *_: Any) -> None:
        """Its runs are told to stop, then it ends. (Prefect's own leaves its coroutine unawaited: nothing is told.)"""
        if self._loop:
            self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        if self.started:
            await self.astop()

    async def cancel_all(self) -> None:
        await self._cancellation_manager.cancel_all(ENDING)

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._beating:
            self._beating.cancel()
        await super().__aexit__(*exc_info)

    async def _newest(self, runs: Sequence[FlowRun]) -> list[FlowRun]:
        """Of the due runs that a schedule made, the newest of each deployment; the others are cancelled."""
        kept, newest = [run for run in runs if not run.auto_scheduled], {}
        for run in sorted((run for run in runs if run.auto_scheduled), key=_when):
            if missed := newest.get(run.deployment_id):
                with contextlib.suppress(PrefectException, httpx.HTTPError):
                    await self._client.set_flow_run_state(missed.id, Cancelled(message=MISSED))
            newest[run.deployment_id] = run
        return [*kept, *newest.values()]

    async def _beat(self, file: Path) -> None:
        while True:
            body = {
                "pid": os.getpid(),
                "mark": processes.mark(),
                "at": time.monotonic(),  # the machine's, the same in every process
                "polled": self._polled,
                "deployments": self._served,
                "due_by": {name: _due_by(one) for name, one in self._schedules.items() if one},
            }
            with contextlib.suppress(OSError):
                temp = atomic.temporary(file)
                temp.write_text(json.dumps(body))
                temp.replace(file)
            await asyncio.sleep(BEAT_S)


def _when(run: FlowRun) -> float:
    at = run.next_scheduled_start_time or run.expected_start_time
    return at.timestamp() if at else 0.0


def _due_by(schedules: Sequence[Any]) -> str:
    """When the next run of these schedules is due at the latest."""
    return min(_next(one) for one in schedules).isoformat()


def _next(schedule: Any) -> datetime:
    if isinstance(schedule, CronSchedule):
        now = datetime.now(ZoneInfo(schedule.timezone or "UTC"))
        return croniter(schedule.cron, now).get_next(datetime).astimezone(UTC)
    interval = getattr(schedule, "interval", None)
    return datetime.now(UTC) + (interval or timedelta(days=366))
