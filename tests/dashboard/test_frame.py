"""The frame around every view: it opens whatever the store is like, and says in one message what it cannot show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard import views
from quantfarm.nouns import DeviceProfile
from storage.home import Home
from storage.ingest import ingest
from tests.dashboard.showing import show, words
from tests.storing import APP, BENCH, FAILED, QUALITY, cell, landed, launches, put

HOSTILE = "<script>alert(1)</script> & **bold** $x$ ünïcødé 名前 🦙 " + "x" * 150
FILES = sorted(path.stem for path in views.FOLDER.glob("*.py") if path.stem != "__init__")


def test_the_table_and_the_folder_of_views_are_the_same() -> None:
    assert sorted(views.TABLE) == FILES


def test_every_view_is_a_question() -> None:
    assert all(view.question.endswith("?") for view in views.TABLE.values())


@pytest.mark.parametrize("view", views.TABLE)
def test_without_results_every_view_says_what_to_do(view: str, home: Path) -> None:
    said = words(show(home, view))
    assert views.TABLE[view].title in said
    assert re.search("quantfarm (sweep|device)", said)
    assert not (home / "db").exists(), "a look made something"


@pytest.mark.parametrize("view", views.TABLE)
def test_with_a_few_results_every_view_opens(view: str, home: Path) -> None:
    few(Home(home))
    said = words(show(home, view))
    assert views.TABLE[view].title in said
    assert "Everything stays on this machine" in said


@pytest.mark.parametrize("view", views.TABLE)
def test_names_are_shown_literally_and_carry_nothing_out(view: str, home: Path) -> None:
    few(Home(home), DeviceProfile(name=HOSTILE, chip=HOSTILE, cores=4))
    shown = show(home, view)
    said = words(shown)
    for code in shown.code:  # a command: shown as it is
        said = said.replace(code.value, "")
    assert "<script>" not in said, "markup of a name went through"


@pytest.mark.parametrize("view", views.TABLE)
def test_what_an_address_asks_for_in_vain_is_said_or_left(view: str, home: Path) -> None:
    few(Home(home))
    words(show(home, view, device="gone", model="gone", cell="gone", attempt="x", metric="gone", series="gone"))


@pytest.mark.parametrize("view", views.TABLE)
def test_a_store_of_failures_alone_opens(view: str, home: Path) -> None:
    for number in range(2):
        put(Home(home), landed(cell(launch=number), outcome=FAILED))
    ingest(Home(home))
    words(show(home, view))


def test_the_link_of_a_view_holds_every_choice(home: Path) -> None:
    few(Home(home))
    said = words(show(home, "frontier"))
    assert re.search(r"http\S+/frontier\?\S*device=laptop", said)


def test_a_damaged_store_is_one_message(home: Path) -> None:
    few(Home(home))
    for path in (home / "db").glob("farm-*.duckdb"):
        path.chmod(0o644)
        path.write_bytes(b"no database")
    shown = show(home, "frontier")
    assert not shown.exception
    assert "quantfarm db rebuild" in " ".join(str(one.value) for one in shown.error).replace("\\", "")


def few(home: Home, profile: DeviceProfile | None = None) -> None:
    """Three variants with speeds, memory and perplexity on a device, one of them failed once."""
    on = {"profile": profile} if profile else {}
    for quant, speed, ppl in (("F16", 20.0, 10.0), ("Q8_0", 35.0, 10.01), ("Q4_K_M", 50.0, 10.4)):
        launches(home, "bench_tg", [speed, speed * 1.01, speed * 0.99], cell(quant=quant, workload=BENCH, **on))
        for number in range(3):
            of = replace(cell(quant=quant, workload=APP, **on), launch=number)
            put(home, landed(of, figures={"decode_tps": speed + number / 10, "resident_peak": 1000 + 10 * speed}))
        put(home, landed(cell(quant=quant, workload=QUALITY, **on), figures={"ppl": ppl}))
    put(home, landed(cell(quant="Q2_K", **on), outcome=FAILED))
    ingest(home)
