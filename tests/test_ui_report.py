"""The report and the database made anew, from Prefect's UI: what is written, what the run shows, how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.home import Home
from storage.ingest import ingest, working_path
from storage.reading import current
from tests.serving import Api, serving, until
from tests.storing import cell, landed, put
from tests.sweeping import quantfarm


@pytest.fixture
def api(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Api]:
    with serving(home, tmp_path / "serve.log") as api:
        yield api


def measured(home: Path, quant: str) -> None:
    put(Home(home), landed(cell(quant=quant), figures={"bench_tg": 40.0}))


def ended(api: Api, name: str, **parameters: Any) -> tuple[dict[str, Any], list[str]]:
    """The run's state, with its name, and its log, which never has a traceback in it."""
    run = api.start(name, **parameters)
    over = api.ended(run)
    state = over["state"]
    until(lambda: any(state["type"].lower() in line.lower() for line in api.logs(run)), "the log's end", 60)
    log = api.logs(run)
    assert not [line for line in log if "Traceback" in line], log
    return {**state, "run": run, "called": over["name"]}, log


@pytest.mark.timeout(900)
def test_a_farm_without_results_says_so_and_with_them_writes_its_report_and_its_database(api: Api, home: Path) -> None:
    state, log = ended(api, "report")
    assert (state["type"], state["message"]) == ("FAILED", f"no results yet in {home}: run `quantfarm sweep`")
    assert any(state["message"] in line for line in log)
    assert not list((home / "report").glob("**/*"))

    state, _ = ended(api, "rebuild-database")  # an empty one is one
    assert state["type"] == "COMPLETED", state["message"]
    assert state["called"] == "rebuild the database"
    state, _ = ended(api, "report")
    assert state["type"] == "FAILED"
    assert "nothing has been measured yet" in state["message"]
    assert not list((home / "report").glob("**/*"))

    for quant in ("Q4_K_M", "Q8_0"):
        measured(home, quant)
    state, _ = ended(api, "rebuild-database")
    assert state["type"] == "COMPLETED"
    assert "made anew from the landed files: version" in state["message"]
    assert len(json.loads(quantfarm("results", "--json"))) == 2
    state, _ = ended(api, "report")
    assert state["type"] == "COMPLETED", state["message"]
    written = home / "report" / "BENCHMARK.md"
    text = written.read_text()
    assert "Q4_K_M" in text and "Q8_0" in text
    assert state["message"].startswith(f"wrote {written} and ")
    shown = api.artifacts(state["run"])["benchmark"]
    assert (shown["type"], shown["data"], shown["description"]) == ("markdown", text, str(written))

    state, log = ended(api, "report", device="lapto")
    assert (state["type"], state["called"]) == ("FAILED", "report on lapto")
    assert written.read_text() == text


@pytest.mark.timeout(600)
def test_a_database_that_is_damaged_is_made_anew_and_a_landed_file_that_is_damaged_costs_itself_alone(
    api: Api, home: Path
) -> None:
    for quant in ("Q4_K_M", "Q8_0"):
        measured(home, quant)
    ingest(Home(home))
    before = current(Home(home))
    working_path(Home(home)).write_bytes(b"no database")
    state, _ = ended(api, "rebuild-database")
    assert state["type"] == "COMPLETED", state["message"]
    assert current(Home(home)) != before, "nothing was published"
    assert len(json.loads(quantfarm("results", "--json"))) == 2
    damaged = sorted((home / "cells").glob("*.json"))[0]
    damaged.chmod(0o644)
    damaged.write_bytes(b"{")
    state, _ = ended(api, "rebuild-database")
    assert state["type"] == "COMPLETED", state["message"]
    assert len(json.loads(quantfarm("results", "--json"))) == 1
