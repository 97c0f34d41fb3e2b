"""quantfarm db rebuild | verify, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.home import Home
from storage.ingest import ingest, lock_path, working_path
from tests.storing import cell, landed, put
from tests.test_storage_ingest import ROOT, held

#: The group alone, with the program's own handling of errors: what other verbs import is not asked for.
RUN = """
import sys
from quantfarm.errors import FarmError
from cli.db import app
try:
    app()
except FarmError as error:
    print(f"quantfarm: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def db(farm: Home, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *given],
        cwd=ROOT,
        env={**os.environ, "QUANTFARM_HOME": str(farm.root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def farm(home: Path) -> Home:
    farm = Home(home)
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    ingest(farm)
    return farm


def test_verify_says_that_all_agree_and_exits_with_0(farm: Home) -> None:
    said = db(farm, "verify")
    assert (said.returncode, said.stderr) == (0, "")
    assert "agree" in said.stdout
    assert json.loads(db(farm, "verify", "--json").stdout) == []


def test_verify_names_what_disagrees_and_exits_with_1(farm: Home) -> None:
    put(farm, landed(cell(1)))
    said = db(farm, "verify")
    assert said.returncode == 1
    assert said.stdout == f"missing_row: {cell(1).id}.1: landed, but not in the database\n"
    as_json = db(farm, "verify", "--json")
    assert as_json.returncode == 1
    assert [one["kind"] for one in json.loads(as_json.stdout)] == ["missing_row"]


def test_rebuild_makes_it_agree_again(farm: Home) -> None:
    working_path(farm).write_bytes(b"damaged")
    assert db(farm, "verify").returncode == 1
    said = db(farm, "rebuild", "--json")
    assert (said.returncode, json.loads(said.stdout)) == (0, {"version": 2})
    assert db(farm, "verify").returncode == 0


def test_a_locked_database_is_one_message_that_names_the_holder(farm: Home) -> None:
    with held(lock_path(farm)) as other:
        said = db(farm, "rebuild", "--wait", "0.2")
    assert said.returncode == 1
    assert said.stdout == ""
    assert f"process {other.pid}" in said.stderr.splitlines()[-1]
    assert "Traceback" not in said.stderr
