"""A farm that `quantfarm up` started, in a browser: sweep, look at the results, cancel, register a device."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator

import psutil
import pytest

from tests.browser.farm import DEPLOYMENTS, Farm, up
from tests.serving import until
from tests.sweeping import quantfarm

MISSING = [
    name
    for name, there in (
        ("the package playwright", importlib.util.find_spec("playwright")),
        ("chromium", shutil.which("chromium")),
    )
    if not there
]
# In CI nothing is skipped: what is missing there fails.
pytestmark = [
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=f"not here: {', '.join(MISSING)}"),
    pytest.mark.timeout(900),
]
SMALL = {"n_prompt": 16, "n_gen": 8, "n_chunks": 2, "threads": 1}
LONG = {"n_prompt": 64, "n_gen": 64, "threads": 1}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with up(tmp_path_factory.mktemp("up")) as farm:
        yield farm


@pytest.fixture(scope="module")
def ui(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from tests.browser.pages import Ui, browser, screenshots

    with browser() as page:
        yield Ui(page, farm.url, screenshots(tmp_path_factory.mktemp("screenshots")))


def submitted(farm: Farm, ui, deployment: str) -> str:
    """Submits the form; the run's id, once the server has it."""
    which = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
    before = {one["id"] for one in farm.api.ask("/flow_runs/filter", which)}
    ui.submit()
    new = until(lambda: {one["id"] for one in farm.api.ask("/flow_runs/filter", which)} - before, "the run", 60)
    assert len(new) == 1
    return new.pop()


def seen(ui, text: str, exact: bool = False) -> None:
    from playwright.sync_api import expect

    expect(ui.page.get_by_text(text, exact=exact).first).to_be_visible()


def test_everything_that_can_be_started_stands_ready(farm: Farm, ui) -> None:
    ui.deployments()
    for name in DEPLOYMENTS:
        seen(ui, name, exact=True)
    assert not ui.page.get_by_text("Switch to V2 UI").count(), "the second UI asks an analytics host"
    ui.shot("1-deployments")
    ui.form("sweep")
    quants = ui.choices("Quantizations")
    assert {"F16", "Q8_0", "Q4_K_M"} <= set(quants)
    assert {"local", "fake-phone"} <= set(ui.choices("Devices"))
    seen(ui, "simulated (ready): fake-laptop, fake-phone")
    ui.shot("2-form")


def test_a_sweep_is_started_from_its_form_and_shows_what_it_found(farm: Farm, ui) -> None:
    ui.form("sweep")
    ui.choose("Quantizations", "F16", "Q8_0")
    ui.choose("Devices", "local")
    ui.choose("Suite", "full")
    ui.fill("Launches", "1")
    ui.fill("Parameters of all workloads", json.dumps(SMALL))
    ui.shot("3-sweep-filled")
    run = submitted(farm, ui, "sweep")
    ended = farm.api.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]

    ui.run(run)
    seen(ui, "sweep reference × 2 quants × 1 device")
    seen(ui, "Completed")
    for tag in ("model:reference", "device:local"):
        seen(ui, tag)
    seen(ui, "cells on 1 device")  # the log
    ui.shot("4-sweep-run")
    ui.run(run, "Task Runs")
    threads = "" if psutil.cpu_count(logical=False) == 1 else " t1"  # told where it is not as many as cores
    seen(ui, f"bench local · reference Q8_0 · bench pp16 tg8{threads} · #0", exact=True)
    ui.shot("5-sweep-tasks")
    ui.run(run, "Artifacts")
    for key in ("sweep-progress", "sweep-cells", "pareto-local-reference", "recommendation-local-reference"):
        seen(ui, key)
    ui.shot("6-sweep-artifacts")
    artifacts = farm.api.artifacts(run)
    for number, key in enumerate(("pareto-local-reference", "sweep-cells", "recommendation-local-reference"), 7):
        ui.page.goto(f"{ui.url}/artifacts/artifact/{artifacts[key]['id']}")
        seen(ui, key)
        if key.startswith("pareto"):
            picture = ui.page.locator("img[src^='data:image/svg+xml']").first
            picture.wait_for()
            assert picture.evaluate("image => image.naturalWidth") > 100
        ui.page.wait_for_timeout(500)  # the picture is settled
        ui.shot(f"{number}-{key}")

    ui.page.goto(f"{ui.url}/artifacts/artifact/{artifacts['sweep-again']['id']}")
    link = ui.page.get_by_role("link", name="frontier", exact=True)
    ui.page.goto(str(link.get_attribute("href")))  # it may open another tab
    seen(ui, "Which variants are worth considering on this device?")
    seen(ui, "local", exact=True)
    ui.shot("9b-dashboard")


def test_a_sweep_that_is_cancelled_in_the_ui_frees_its_device_and_keeps_what_was_finished(farm: Farm, ui) -> None:
    ui.form("sweep")
    ui.choose("Quantizations", "F16", "Q8_0", "Q4_K_M")
    ui.choose("Devices", "local")
    ui.choose("Suite", "speed")
    ui.fill("Launches", "20")
    ui.fill("Parameters of all workloads", json.dumps(LONG))
    before = farm.landed()
    run = submitted(farm, ui, "sweep")
    until(farm.runners, "a cell that is measured")
    until(lambda: len(farm.landed()) > len(before) + 2 and farm.runners(), "finished cells")
    ui.run(run)
    seen(ui, "Running", exact=True)
    ui.shot("10-before-cancel")
    ui.cancel()
    ended = farm.api.ended(run, 60)
    assert ended["state"]["type"] == "CANCELLED", ended["state"]
    until(lambda: not farm.runners(), "the end of what measured", 30)
    seen(ui, "Cancelled", exact=True)
    ui.shot("11-cancelled")
    finished = [
        one for one in farm.landed() if one not in before and '"state":"ok"' in one.read_text().replace(" ", "")
    ]
    assert len(finished) >= 3


def test_a_device_is_registered_through_its_form_and_sweeps_can_name_it(farm: Farm, ui) -> None:
    ui.form("register-device")
    ui.fill("Name", "second")
    ui.fill("Address", "local")
    ui.fill("Seconds at rest", "0")
    ui.shot("12-register")
    run = submitted(farm, ui, "register-device")
    ended = farm.api.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    ui.run(run)
    seen(ui, "register second")
    ui.shot("13-registered")
    until(lambda: "second" in farm.api.form()["devices"]["items"]["enum"], "the device in the form", 60)
    ui.form("sweep")
    assert "second" in ui.choices("Devices")


def test_a_parameter_that_makes_no_sense_is_refused_in_words(farm: Farm, ui) -> None:
    ui.form("sweep")
    ui.choose("Quantizations", "Q8_0")
    ui.fill("Parameters of all workloads", json.dumps({"n_gem": 8}))
    run = submitted(farm, ui, "sweep")
    assert farm.api.ended(run)["state"]["type"] == "FAILED"
    ui.run(run)
    seen(ui, "did you mean common.n_gen")
    ui.shot("14-refused")


def test_a_test_alert_is_an_event_of_the_farms_own_server(farm: Farm, ui) -> None:
    from playwright.sync_api import TimeoutError

    environment = {"QUANTFARM_HOME": str(farm.home), "PREFECT_API_URL": ""}
    assert "event: sent" in quantfarm("nightly", "try-alert", "--sink", "event", **environment)
    which = {"filter": {"event": {"name": ["quantfarm.test-alert"]}}}
    until(lambda: farm.api.ask("/events/filter", which)["events"], "the event", 60)

    def shown() -> bool:
        """The page shows what was there when it was opened, and not always the latest."""
        ui.page.goto(f"{ui.url}/events")
        try:
            ui.page.get_by_text("quantfarm.test-alert").first.wait_for(timeout=20_000)
        except TimeoutError:
            return False
        return True

    until(shown, "the event on its page", 240)
    ui.shot("15-events")


def test_the_browser_asked_nobody_but_this_machine(ui) -> None:
    assert len(ui.asked) > 100
    assert ui.elsewhere() == []
    assert [one for one in ui.errors if not re.search("ResizeObserver", one)] == []
