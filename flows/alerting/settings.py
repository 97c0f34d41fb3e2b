"""HOME/alerts.yaml: where the message of a night goes. Addresses and passwords are names of environment variables.

sinks:
  - kind: slack
    url_env: QUANTFARM_SLACK_URL
  - kind: webhook
    url_env: QUANTFARM_WEBHOOK_URL
    secret_env: QUANTFARM_WEBHOOK_SECRET
  - kind: smtp
    host: mail.example.org
    user: farm
    password_env: QUANTFARM_MAIL_PASSWORD
    sender: farm@example.org
    to: [ann@example.org]
  - kind: file
    path: alerts/told.jsonl
events: true
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.alerting.sinks import Sink
from quantfarm import profiles, tables
from quantfarm.errors import UsageError, unknown
from storage.home import Home

#: Kind -> where it lives. One file and one line each.
SINKS: dict[str, str] = {
    "webhook": "flows.alerting.webhook:Webhook",
    "slack": "flows.alerting.slack:Slack",
    "smtp": "flows.alerting.smtp:Smtp",
    "file": "flows.alerting.file:File",
    "event": "flows.alerting.event:Event",
}
IMPLIED = "flows.alerting.event:Implied"
KEYS = ("sinks", "events")
#: How keys end that name an environment variable.
NAMES_A_VARIABLE = "_env"
#: What people write in their place. It is not shown again.
SECRETS = ("url", "password", "secret", "token")


def path(home: Home) -> Path:
    return home.root / "alerts.yaml"


def read(home: Home) -> list[Sink]:
    """The sinks of alerts.yaml, and Prefect's events unless it says `events: false`; without a file the events alone.

    Raises UsageError for a mistake, with the file and the key.
    """
    file = path(home)
    content: Mapping[str, Any] = profiles.read_yaml(file) if file.exists() else {}
    for key in content:
        if key not in KEYS:
            raise unknown("key", str(key), KEYS, str(file))
    events = content.get("events", True)
    if not isinstance(events, bool):
        raise UsageError(f"{file}: `events` is true or false")
    given = content.get("sinks") or []
    if not isinstance(given, list):
        raise UsageError(f"{file}: `sinks` is a list, each with its kind: {', '.join(SINKS)}")
    sinks = [_sink(one, f"{file}, sink {number}") for number, one in enumerate(given, 1)]
    if events and not any(one.kind == "event" for one in sinks):
        sinks.append(tables.load({"event": IMPLIED}, "event", "sink")(name="event"))
    for name, n in Counter(one.name for one in sinks).items():
        if n > 1:
            raise UsageError(f"{file}: {n} sinks are called '{name}': give each a `name` of its own")
    return sinks


def _sink(given: object, where: str) -> Any:
    if not isinstance(given, Mapping):
        raise UsageError(f"{where}: a sink has a kind: {', '.join(SINKS)}")
    kind = given.get("kind")
    if not isinstance(kind, str):
        raise UsageError(f"{where}: `kind` is missing; it is one of {', '.join(SINKS)}")
    if kind not in SINKS:
        raise unknown("kind of sink", kind, SINKS, where)
    model = tables.load(SINKS, kind, "sink")
    for key in given:
        if key not in model.model_fields:
            raise _in_the_file(where, key) if key in SECRETS else unknown("key", str(key), model.model_fields, where)
    for key, value in given.items():
        if str(key).endswith(NAMES_A_VARIABLE) and not _variable(value):
            raise UsageError(f"{where}: {key} is the name of an environment variable, not what is in it")
    try:
        return model.model_validate({**given, "name": given.get("name") or kind})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or kind}: {e['msg']}" for e in error.errors(include_url=False))
        raise UsageError(f"{where}: {told}") from None


def _in_the_file(where: str, key: object) -> UsageError:
    return UsageError(
        f"{where}: secrets are not kept in this file: put it into an environment variable and name that with {key}_env"
    )


def _variable(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isidentifier()
