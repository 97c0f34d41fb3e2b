"""What a sweep's page shows at its end: the way on, into the dashboard and back into a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import closing
from flows.artifacts import Shelf
from flows.prepare import Prepared, prepare
from flows.up import state
from quantfarm.sweeps import Sweep
from storage import processes
from storage.home import Home
from tests.test_sweep_flow import fake

URL = "http://127.0.0.1:8599"


class Kept(Shelf):
    """A shelf that nobody looks at but the test."""

    def __init__(self) -> None:
        super().__init__(None)
        self.shown: dict[str, Any] = {}

    def put(self, kind: str, name: str, data: Any, description: str = "") -> None:
        del kind, description
        self.shown[name] = data


@pytest.fixture
def prepared(home: Path) -> Prepared:
    devices = [fake(home, "phone-a"), fake(home, "phone-b")]
    asked = {"quants": ["F16"], "devices": devices, "suite": "speed", "retries": 2}
    return prepare(Home(home), Sweep.model_validate(asked))


def end_of(home: Path, prepared: Prepared) -> str:
    shelf = Kept()
    closing.end(Home(home), shelf, prepared)
    return shelf.shown["sweep-again"]


def runs(home: Path, *parts: dict[str, str], mark: str = "") -> None:
    state.write(Home(home), {"mark": mark or processes.mark(), "parts": list(parts)})


def test_where_a_dashboard_runs_each_device_has_its_views_there(home: Path, prepared: Prepared) -> None:
    runs(home, {"name": "server", "url": "http://127.0.0.1:4299"}, {"name": "dashboard", "url": URL})
    text = end_of(home, prepared)
    assert f"[dashboard]({URL}/overview)" in text
    for name in ("phone-a", "phone-b"):
        assert f"- {name}: [frontier]({URL}/frontier?device={name}&model=reference)" in text
        assert f"[nights]({URL}/history?device={name})" in text


def test_where_none_runs_nothing_leads_there(home: Path, prepared: Prepared) -> None:
    assert "dashboard" not in end_of(home, prepared)
    runs(home, {"name": "server", "url": "http://127.0.0.1:4299"})
    assert "dashboard" not in end_of(home, prepared)
    runs(home, {"name": "dashboard", "url": URL}, mark="1-0")  # of a farm that is gone
    assert "dashboard" not in end_of(home, prepared)


def test_the_command_that_asks_the_same_names_what_it_cannot_say(home: Path, prepared: Prepared) -> None:
    text = end_of(home, prepared)
    assert "quantfarm sweep --model reference --quants F16 --devices phone-a,phone-b --suite speed" in text
    assert "what no option says is left out: retries" in text
