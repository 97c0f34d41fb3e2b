"""The sweep's form in Prefect's UI: what the farm has to choose from, at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantfarm import quantizers
from quantfarm.health import By, DeviceState
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.suites import SUITES
from storage.devices import Registry
from storage.home import Home
from tests.serving import Api, serving, until
from tests.test_sweep_flow import fake


@pytest.fixture
def api(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Api]:
    with serving(home, tmp_path / "serve.log") as api:
        yield api


def choices(form: dict[str, Any], name: str) -> list[str]:
    return form[name]["items"]["enum"]


def test_the_form_lists_what_there_is_and_follows_registrations(api: Api, home: Path) -> None:
    form = api.form()
    in_order = sorted(form, key=lambda name: form[name]["position"])
    assert in_order[:9] == [
        *("model", "quants", "devices", "tags", "runtimes", "suite", "launches", "priority", "notes"),
    ]
    assert "night" not in form
    assert choices(form, "quants") == quantizers.choices()
    assert choices(form, "runtimes") == list(RUNTIMES)
    assert form["suite"]["enum"] == list(SUITES)
    assert (form["launches"]["type"], form["launches"]["minimum"]) == ("integer", 1)
    assert "local" in choices(form, "devices")
    assert "pixel-8-pro" not in choices(form, "devices"), "a template is no device"
    assert all(part.get("description") for part in form.values())

    fake(home, "bench-phone")
    until(lambda: "bench-phone" in choices(api.form(), "devices"), "the new device", 60)
    registry = Registry(Home(home))
    registry.move("bench-phone", DeviceState.REGISTERED, "known", By.PERSON)
    registry.move("bench-phone", DeviceState.QUARANTINED, "it fell", By.PERSON)
    until(lambda: "simulated (quarantined): bench-phone" in api.form()["devices"]["description"], "its state", 60)
    registry.move("bench-phone", DeviceState.RETIRED, "gone", By.PERSON)
    until(lambda: "bench-phone" not in choices(api.form(), "devices"), "its retirement", 60)


def test_everything_that_can_be_started_stands_ready(api: Api) -> None:
    for name in ("sweep", "register-device", "check-devices", "report", "rebuild-database"):
        found = api.deployment(name)
        assert found["description"], name
        assert found["entrypoint"].startswith("flows."), "a path would load a module of another name"


def test_the_form_of_a_registration_is_for_people_too(api: Api) -> None:
    found = api.deployment("register-device")["parameter_openapi_schema"]
    form = found["properties"]
    in_order = sorted(form, key=lambda name: form[name]["position"])
    assert [form[name]["title"] for name in in_order[:3]] == ["Name", "Address", "Tags"]
    assert all(part["description"] and part["title"] != name for name, part in form.items())
    assert found["required"] == ["name", "url"]
