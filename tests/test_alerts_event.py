"""A regression as an event of a real Prefect server, and the automation template acting on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from flows.alerting import tell
from quantfarm.nightly.verdicts import dump
from storage.home import Home
from tests.alerting import Listener, key, listening, regression, report, silence, unchanged
from tests.conftest import ROOT
from tests.sweeping import quantfarm

TEMPLATE = ROOT / "flows" / "alerting" / "automation.yaml"
BLOCK = """
import sys
from prefect.blocks.webhook import Webhook
print(Webhook(url=sys.argv[1], allow_private_urls=True).save("quantfarm-alerts", overwrite=True))
"""
TELLER = """
import sys
from pathlib import Path
from prefect import flow
from flows.alerting import tell
from quantfarm.nightly.verdicts import load
from storage.home import Home

@flow
def night():
    return [one.line for one in tell(Home(Path(sys.argv[1])), load(Path(sys.argv[2]).read_bytes()))]

print("\\n".join(night()))
"""


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def api(path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the tests' own server
        os.environ["PREFECT_API_URL"] + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def events(name: str, beside: Collection[str] = ()) -> list[dict[str, Any]]:
    """Of a name; without those that other tests left on the server."""
    found = api("/events/filter", {"filter": {"event": {"name": [name]}}})["events"]
    return [one for one in found if one["id"] not in beside]


def left_there() -> set[str]:
    return {one["id"] for name in ("quantfarm.regression", "quantfarm.no-data") for one in events(name)}


def until(something: Any, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := something()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def automated(tmp_path: Path, heard: Listener) -> str:
    """The template as a user applies it: the block's id put in, `prefect automation create --from-file`."""
    block = run(sys.executable, "-c", BLOCK, heard.url)
    filled = tmp_path / "automation.yaml"
    text = TEMPLATE.read_text()
    assert "THE-ID-OF-YOUR-WEBHOOK-BLOCK" in text
    filled.write_text(text.replace("THE-ID-OF-YOUR-WEBHOOK-BLOCK", block))
    return run(sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(filled))


@pytest.mark.timeout(600)
def test_a_night_is_an_event_that_an_automation_acts_on(home, prefect_server, tmp_path):
    home.mkdir()
    told = report(regression(), silence())
    (tmp_path / "report.json").write_bytes(dump(told))
    others = left_there()
    with listening() as heard:
        assert "quantfarm alerts" in automated(tmp_path, heard)
        said = run(sys.executable, "-c", TELLER, str(home), str(tmp_path / "report.json"))
        assert "event: sent" in said
        assert "no sinks" in said

        # The server has both events, with what they are about.
        (slower,) = until(lambda: events("quantfarm.regression", others))
        assert slower["resource"]["prefect.resource.id"] == "quantfarm.night.2026-11-12"
        related = {one["prefect.resource.id"] for one in slower["related"]}
        assert {f"quantfarm.series.{key().id}", "quantfarm.device.desk"} <= related
        assert any(one.startswith("prefect.flow-run.") for one in related)
        assert slower["payload"]["regressions"][0]["first_bad"] == "2026-11-10"
        (silent,) = until(lambda: events("quantfarm.no-data", others))
        assert silent["payload"]["no_data"][0]["device"] == "attic"

        # The automation called the webhook with the message, once for each.
        until(lambda: len(heard.got) >= 2)
        bodies = [json.loads(body)["text"] for _, body in heard.got]
        assert len(bodies) == 2
        assert all("desk: token generation (bench_tg) of reference Q4_K_M" in text for text in bodies)

        # Told again, it is no news.
        assert "told before" in run(sys.executable, "-c", TELLER, str(home), str(tmp_path / "report.json"))

        # A test goes the same way.
        assert json.loads(quantfarm("nightly", "try-alert", "--sink", "event", "--json"))[0]["state"] == "sent"
        assert until(lambda: len(heard.got) >= 3)
        assert "TEST" in json.loads(heard.got[2][1])["text"]


def test_without_a_server_the_event_is_told_to_nobody_and_says_so(home, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home.mkdir()
    assert "no Prefect server is known here" in quantfarm("nightly", "try-alert", code=1)


def test_where_others_are_told_a_server_that_is_not_there_is_no_failure(home, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home.mkdir()
    alerts = home / "alerts.yaml"
    alerts.write_text("sinks:\n  - {kind: file, path: told.jsonl}\n")
    rows = json.loads(quantfarm("nightly", "try-alert", "--json"))
    assert [(row["sink"], row["state"]) for row in rows] == [("file", "sent"), ("event", "not tried")]
    quantfarm("nightly", "try-alert", "--sink", "event", code=1)
    alerts.write_text(alerts.read_text() + "  - {kind: event}\n")  # now somebody asked for it
    assert "event: failed: no Prefect server" in quantfarm("nightly", "try-alert", code=1)


def test_a_sink_that_nobody_asked_for_and_that_has_nothing_to_tell_is_silent(home):
    home.mkdir()
    assert tell(Home(home), report(unchanged())) == []
    (home / "alerts.yaml").write_text("sinks:\n  - {kind: event}\n")
    assert [one.state for one in tell(Home(home), report(unchanged(), night="2026-11-13"))] == ["nothing to tell"]


def test_a_server_that_is_gone_fails_nothing(home, monkeypatch):
    home.mkdir()
    out = quantfarm("nightly", "try-alert", code=1, PREFECT_API_URL="http://127.0.0.1:1/api")
    assert "cannot be reached" in out
    assert Home(home).root.exists()
