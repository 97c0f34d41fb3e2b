"""The dashboard in a browser: the ways of the people who use it, and every view in light and dark, wide and narrow.

Who decides what a device should run; who comes in the morning and looks what changed; who keeps the devices; who
doubts a figure. Results are real: a small sweep of the reference model. What takes many nights or devices is made up,
and says so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard import views
from quantfarm import links
from storage.home import Home
from tests.made_up import store
from tests.sweeping import quantfarm, start

MISSING = [
    name
    for name, there in (
        ("the package playwright", importlib.util.find_spec("playwright")),
        ("the package axe-playwright-python", importlib.util.find_spec("axe_playwright_python")),
        ("chromium", shutil.which("chromium")),
    )
    if not there
]
# In CI nothing is skipped: what is missing there fails.
pytestmark = [
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=f"not here: {', '.join(MISSING)}"),
    pytest.mark.timeout(900),
]
SWEEP = {
    "model": "reference",
    "quants": ["F16", "Q8_0", "Q4_K_M"],
    "suite": "quick",
    "launches": 1,
    "common": {"n_prompt": 16, "n_gen": 16, "n_chunks": 2, "threads": 1},
}


def sweep_file(folder: Path, **other: Any) -> str:
    path = folder / "sweep.yaml"
    path.write_text(json.dumps({**SWEEP, **other}))  # JSON is YAML
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the results of one real sweep."""
    folder = tmp_path_factory.mktemp("dashboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTFARM_HOME", str(folder / "home"))
        patch.setenv("QUANTFARM_LEASES", str(folder / "leases"))
        patch.delenv("PREFECT_API_URL", raising=False)
        quantfarm("sweep", sweep_file(folder), "--json")
        yield folder


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    from tests.browser.dash import dashboard

    with dashboard(place / "home", place / "dashboard.log") as address:
        yield address


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard of a made-up store: many devices, nights with changes, sustained launches."""
    from tests.browser.dash import dashboard

    folder = tmp_path_factory.mktemp("made-up")
    home = store(folder, devices=5, nights=40)
    with dashboard(home.root, folder / "dashboard.log") as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from tests.browser.dash import chromium

    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.browser.pages import screenshots

    return screenshots(tmp_path_factory.mktemp("screenshots"))


@pytest.fixture
def dash(chromium: Any, url: str, shots: Path) -> Iterator[Any]:
    from tests.browser.dash import window

    with window(chromium, url, shots) as opened:
        yield opened
        assert opened.elsewhere() == [], "it asked somebody outside of this machine"
        assert opened.faults() == []


def seen(dash: Any, text: str | re.Pattern[str]) -> None:
    from playwright.sync_api import expect

    expect(dash.main.get_by_text(text).first).to_be_visible()


# --- who decides


def test_who_decides_finds_the_default_sees_why_and_takes_its_card_along(dash: Any) -> None:
    dash.open("")
    seen(dash, "local")
    dash.whole("dashboard-1-overview")
    dash.follow("Why: its frontier")
    seen(dash, "Which variants are worth considering on this device?")
    seen(dash, "★")
    seen(dash, re.compile("Conditions: local"))
    dash.whole("dashboard-2-frontier")
    card = dash.saved(dash.page.get_by_role("button", name=re.compile("^Model card of")))
    text = card.read_text()
    assert text.startswith("---\n")
    assert "library_name: gguf" in text
    rows = dash.downloaded("CSV")
    assert "decode" in rows.read_text()
    dash.follow(re.compile("^Follow .* to its measurement"))
    seen(dash, "What happened in this measurement?")
    seen(dash, "time to first token")
    dash.whole("dashboard-3-cell")


def test_a_budget_moves_the_recommendation_and_stands_in_the_link(dash: Any) -> None:
    dash.open("frontier")
    seen(dash, "★")
    dash.page.get_by_role("slider").first.press("Home")
    dash.settled()
    seen(dash, "Nothing to recommend.")
    dash.page.get_by_role("button", name="Link to this view").click()
    link = str(dash.page.get_by_test_id("stCode").last.inner_text()).strip()
    assert "device=local" in link
    dash.page.goto(link)
    dash.settled()
    seen(dash, "Nothing to recommend.")


def test_who_wavers_between_two_compares_them(dash: Any) -> None:
    dash.open("compare?device=local&model=reference")
    seen(dash, re.compile("undecided|better|worse"))
    dash.whole("dashboard-4-compare")


def test_the_winner_can_be_talked_to_and_leaves_the_device_free(dash: Any, place: Path) -> None:
    dash.open("playground?device=local&model=reference&variant=Q4_K_M&max_tokens=24&temperature=0")
    dash.page.get_by_role("button", name="Start", exact=True).click()
    seen(dash, "of reference answers on local")
    dash.say("def add(a, b):")
    seen(dash, re.compile(r"Q4_K_M on local: first text after .* 24 tokens"))
    dash.whole("dashboard-5-playground")
    written = dash.downloaded("Markdown").read_text()
    assert "def add(a, b):" in written
    first = dash.page.get_by_test_id("stChatMessage").last.inner_text().split("\nQ4_K_M on local")[0]
    dash.page.get_by_role("button", name="Write the answer anew").click()
    dash.settled()
    seen(dash, re.compile(r"Q4_K_M on local: first text after .* 24 tokens"))
    again = dash.page.get_by_test_id("stChatMessage").last.inner_text().split("\nQ4_K_M on local")[0]
    assert again == first, "greedy is greedy"
    dash.page.get_by_role("button", name="Edit").first.click()
    dash.page.get_by_label("Say it otherwise").fill("import os")
    dash.page.get_by_role("button", name="Send again").click()
    told = dash.page.get_by_test_id("stChatMessage").first
    told.get_by_text("import os", exact=True).wait_for()
    seen(dash, re.compile(r"Q4_K_M on local: first text after .* 24 tokens"))
    dash.main.get_by_role("button", name="Stop", exact=True).click()
    seen(dash, "Nothing answers on local yet")
    assert list((place / "home" / "conversations").glob("*.json"))
    assert not [line for line in quantfarm("device", "list").splitlines() if "busy" in line]


def test_two_are_judged_without_knowing_which_is_which(dash: Any, place: Path) -> None:
    dash.open("playground?device=local&model=reference&variant=Q4_K_M&other=Q8_0&pair=true&max_tokens=16")
    dash.page.get_by_role("button", name="Start", exact=True).click()
    seen(dash, "of reference answers on local")
    dash.say("import os")
    seen(dash, "Give the marks and see who is who")
    main = dash.main.inner_text()
    answers = main[main.index("One") :]
    assert "on local" not in answers and "tok/s" not in answers, "who is who is to be seen"
    dash.page.get_by_label("Your name, for the marks").fill("Ada")
    dash.page.get_by_label("Your name, for the marks").press("Enter")
    dash.settled()
    for group, mark in zip(dash.page.get_by_role("radiogroup").all()[-2:], ("4", "4"), strict=True):
        group.get_by_role("radio", name=mark, exact=True).click()
        dash.settled()
    dash.page.get_by_role("button", name="Give the marks and see who is who").click()
    seen(dash, "Q4_K_M on local")
    seen(dash, "Q8_0 on local")
    dash.whole("dashboard-6-blind")
    assert "Ada" in (place / "home" / "ratings" / "ratings.jsonl").read_text()
    dash.main.get_by_role("button", name="Stop", exact=True).click()
    seen(dash, "Nothing answers on local yet")


# --- who doubts


def test_who_doubts_a_figure_takes_its_raw_trace_along(dash: Any) -> None:
    dash.open("cell?device=local&model=reference")
    trace = dash.saved(dash.page.get_by_role("button", name=re.compile("^Raw trace")))
    lines = trace.read_text().splitlines()
    assert '"begin"' in lines[0]
    assert '"end"' in lines[-1]
    seen(dash, "Measure it again")


def test_an_address_that_leads_nowhere_says_so(dash: Any) -> None:
    dash.open("cell?cell=0123456789abcdef&attempt=1")
    seen(dash, "0123456789abcdef")
    dash.open("frontier?device=gone")
    seen(dash, re.compile("gone is not among what was measured"))


# --- who keeps the devices


def test_who_keeps_the_devices_learns_how_to_add_one(dash: Any) -> None:
    dash.open("")
    dash.go("Devices")
    dash.main.get_by_text("How to register a device").click()
    seen(dash, re.compile("quantfarm device add desk ssh"))
    seen(dash, "local")


# --- while a sweep goes on


def test_a_sweep_is_not_disturbed_and_its_results_are_offered(dash: Any, place: Path) -> None:
    dash.open("overview")
    sweep = start("sweep", sweep_file(place, quants=["Q5_K_M", "Q6_K"]), "--json")
    try:
        for name in ("Frontier", "Quality", "Cell", "Overview"):
            dash.go(name)
        out, err = sweep.communicate(timeout=300)
    finally:
        if sweep.poll() is None:
            sweep.kill()
            sweep.communicate()
    assert sweep.returncode == 0, err + out
    dash.page.get_by_role("button", name="There are newer results: show them").click()
    dash.settled()
    dash.go("Frontier")
    seen(dash, re.compile("Q5_K_M|Q6_K"))


# --- every view


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", views.TABLE)
def test_every_view_is_accessible_and_asks_nobody_outside(
    view: str, theme: str, chromium: Any, many: str, shots: Path
) -> None:
    from tests.browser.dash import window

    with window(chromium, many, shots, theme=theme) as dash:
        dash.open(view)
        dash.whole(f"view-{view}-{theme}")
        assert dash.findings() == []
        assert dash.elsewhere() == []
        assert dash.faults() == []


@pytest.mark.parametrize("view", views.TABLE)
def test_every_view_fits_a_phone(view: str, chromium: Any, many: str, shots: Path) -> None:
    from tests.browser.dash import window

    with window(chromium, many, shots, width=390) as dash:
        dash.open(view)
        dash.whole(f"view-{view}-phone")
        assert dash.sideways() == 0, "the page scrolls sideways"


def test_who_comes_in_the_morning_sees_what_changed(chromium: Any, many: str, shots: Path) -> None:
    from tests.browser.dash import window

    with window(chromium, many, shots) as dash:
        dash.open("overview")
        seen(dash, re.compile("regress|improve|no data|unchanged", re.IGNORECASE))
        dash.go("History")
        seen(dash, re.compile("night", re.IGNORECASE))
        dash.whole("dashboard-7-history")
        assert dash.faults() == []


def test_simulated_devices_are_never_recommended(chromium: Any, many: str, shots: Path) -> None:
    from tests.browser.dash import window

    with window(chromium, many, shots) as dash:
        [name] = [one.split()[0] for one in dash.devices() if "-sim" in one]
        dash.page.goto(links.view(many, "frontier", device=name))
        dash.settled()
        seen(dash, "Simulated device.")
        assert not dash.page.get_by_text("★").count()


def test_an_empty_home_opens_and_says_what_to_do(chromium: Any, shots: Path, tmp_path: Path) -> None:
    from tests.browser.dash import dashboard, window

    with dashboard(tmp_path / "home", tmp_path / "log") as address, window(chromium, address, shots) as dash:
        dash.open("")
        seen(dash, "Nothing has been measured yet.")
        dash.whole("dashboard-8-empty")
        assert not Home(tmp_path / "home").root.joinpath("db").exists()
