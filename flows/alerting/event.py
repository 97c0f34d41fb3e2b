"""Prefect's events: `quantfarm.regression` and `quantfarm.no-data`, one of each a night at most.

An automation can act on them: flows/alerting/automation.yaml is one to begin with. The night is the resource; the
series and devices are related to it. Nothing here imports Prefect before its settings are made.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from uuid import NAMESPACE_URL, uuid5

from flows.alerting.sinks import NotSent, Settings, shown, tried
from quantfarm.nightly import slack, words
from quantfarm.nightly.message import Message
from quantfarm.nightly.telling import Item
from storage.home import Home

NAMES = {"regressions": "quantfarm.regression", "silent": "quantfarm.no-data"}
TEST = "quantfarm.test-alert"
#: Prefect takes 100 related resources; some are left for what it adds itself.
RELATED = 80
#: Rows of a payload; the whole report lies in HOME/nights.
ROWS = 50


class NoServer(NotSent):
    """There is no server that could be told."""


class Event(Settings):
    kind: Literal["event"] = "event"

    def send(self, home: Home, message: Message, *, again: bool) -> str:  # noqa: ARG002
        """Posted and answered, where Prefect's own `emit_event` hands it to a thread and may lose it."""
        tried(lambda: _post(_events(message)))
        return ""


class Implied(Event):
    """There although alerts.yaml does not name it: where there is no server, nobody misses it."""

    implied: ClassVar[bool] = True


def _events(message: Message) -> list[dict[str, Any]]:
    if message.test:
        return [_event(TEST, message, ())]
    kinds = {"regressions": message.regressions, "silent": message.silent}
    return [_event(NAMES[kind], message, items) for kind, items in kinds.items() if items]


def _event(name: str, message: Message, items: tuple[Item, ...]) -> dict[str, Any]:
    """Its id is of what it tells: sent twice, the server keeps one."""
    night = message.night or "test"
    body = message.body
    rows = "regressions" if name == NAMES["regressions"] else "no_data"
    return {
        "id": str(uuid5(NAMESPACE_URL, f"{name}:{night}:{message.digest}")),
        "event": name,
        "resource": {
            "prefect.resource.id": f"quantfarm.night.{night}",
            "prefect.resource.name": f"night of {night}" if message.night else "test of the alerts",
            "quantfarm.subject": message.subject,
        },
        "related": [*_run(), *_related(items)],
        "payload": {
            "subject": message.subject,
            "text": message.text,
            "slack_text": slack.escape(f"{message.subject}\n\n{message.text}"),
            rows: body.get(rows, [])[:ROWS],
        },
    }


def _related(items: tuple[Item, ...]) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for item in items:
        key = item.verdict.series
        for ident, role, name in (
            (f"quantfarm.device.{key.device}", "device", key.device),
            (f"quantfarm.series.{key.id}", "series", key.name),
        ):
            found[ident] = {
                "prefect.resource.id": ident,
                "prefect.resource.role": role,
                "prefect.resource.name": words.clean(name),
            }
    return list(found.values())[:RELATED]


def _run() -> list[dict[str, str]]:
    """The flow run that tells it, so that its page in the UI shows the event."""
    from prefect.context import FlowRunContext  # noqa: PLC0415 - after Prefect's settings

    context = FlowRunContext.get()
    if not context or not context.flow_run:
        return []
    ident = f"prefect.flow-run.{context.flow_run.id}"
    return [{"prefect.resource.id": ident, "prefect.resource.role": "flow-run"}]


def _post(events: list[dict[str, Any]]) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - after Prefect's settings
    from prefect.context import FlowRunContext  # noqa: PLC0415
    from prefect.events.schemas.events import Event as Schema  # noqa: PLC0415

    if not FlowRunContext.get() and not os.environ.get("PREFECT_API_URL"):
        raise NoServer("no Prefect server is known here: set PREFECT_API_URL, or let the nightly run tell it")
    import httpx  # noqa: PLC0415 - Prefect's own

    at = datetime.now(UTC).isoformat()
    bodies = [Schema.model_validate({**one, "occurred": at}).model_dump(mode="json") for one in events]
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=bodies)
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        raise NotSent(f"the Prefect server answered {code}", again=code >= 500) from None
    except (httpx.HTTPError, RuntimeError) as error:
        raise NotSent(f"the Prefect server cannot be reached: {shown(error)}", again=True) from None
