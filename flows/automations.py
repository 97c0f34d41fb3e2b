"""Automations of the server: what it does by itself. Made where they are missing, mended where they were changed."""

from __future__ import annotations

from typing import Any

from flows.up.api import Api

ZOMBIES = "quantfarm: runs without a heartbeat have crashed"
#: Three beats (30 s apart) missed, and 5 s for the way.
SILENT_S = 95
BEAT = "prefect.flow-run.heartbeat"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def zombies() -> dict[str, Any]:
    """A flow run that has beaten once, and then neither beats nor ends, has crashed: its process is gone."""
    return {
        "name": ZOMBIES,
        "description": "A run whose process and runner are both gone would be shown as running for ever. "
        "Kept by `quantfarm up`, which makes it again.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "after": [BEAT],
            "expect": [BEAT, *(f"prefect.flow-run.{end}" for end in ENDS)],
            "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
            "match_related": {},
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": float(SILENT_S),
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "name": None,
                "state": "CRASHED",
                "message": f"no heartbeat for {SILENT_S} s: its process is gone; what was finished is kept",
                "force": False,
            }
        ],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }


def missing(api: Api) -> str:
    """What is wrong with the automation on the server; empty where it is as it should be. Raises NoAnswer."""
    found = _found(api)
    if not found:
        return f"the automation '{ZOMBIES}' is missing"
    return "" if any(_same(one) for one in found) else f"the automation '{ZOMBIES}' is switched off or was changed"


def ensure(api: Api) -> str:
    """Makes or mends it, and takes doubles away; what was done, empty where nothing had to be. Raises NoAnswer."""
    found, done = _found(api), ""
    right = next((one for one in found if _same(one)), None)
    if right is None:
        done = "mended" if found else "made"
        right = api.ask("PUT", f"/automations/{found[0]['id']}", zombies()) if found else None
        right = found[0] if found else api.post("/automations/", zombies())
    for one in found:
        if one["id"] != right["id"]:
            api.ask("DELETE", f"/automations/{one['id']}")
            done = done or "its doubles were taken away"
    return done


def _found(api: Api) -> list[dict[str, Any]]:
    return [one for one in api.all("/automations/filter", {}) if one["name"] == ZOMBIES]


def _same(one: dict[str, Any]) -> bool:
    """Sets come back in any order, the trigger with ids of its own."""
    wanted, trigger = zombies(), dict(one.get("trigger") or {})
    if not one.get("enabled") or [action.get("state") for action in one.get("actions") or ()] != ["CRASHED"]:
        return False
    return all(_plain(trigger.get(key)) == _plain(value) for key, value in wanted["trigger"].items())


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
