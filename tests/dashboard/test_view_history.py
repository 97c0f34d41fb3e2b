"""The view of the nights: the last one's news, one series whole, and what there is not yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantfarm.nightly.standing import VERDICT
from quantfarm.nightly.verdicts import Kind, NightReport
from quantfarm.nouns import DeviceProfile
from storage import histories, nights
from storage.alerts import Alerts
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from tests import nights as made
from tests.alerting import regression, silence
from tests.dashboard.showing import plainly, show, words
from tests.storing import cell, launches

DESK = DeviceProfile(name="desk", kind="ssh", chip="N100", cores=4)
HOSTILE = "<b>x</b> [l](http://e.example) $y$ 名" + "z" * 150


def measured(home: Path, profile: DeviceProfile = DESK, step: float = 90.0):
    """Twelve nights that fall at the tenth, the ninth without data; the key of their series."""
    made.series(home, [100.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.0, None, step, step + 0.3, step - 0.2],
                of=made.cell(profile=profile))  # fmt: skip
    made.series(home, [50.0] * 12, of=made.cell(profile=made.fake("other")))
    ingest(Home(home))
    with Reader(Home(home)) as reader:
        return next(one.key for one in histories.known(reader) if one.key.device == profile.name)


def told(home: Path, *verdicts, night: str = "2026-11-12") -> None:
    nights.keep(
        Home(home),
        NightReport(night=night, began_at=f"{night}T02:00:00", finished_at="", counts={"ok": 3}, verdicts=verdicts),
    )
    ingest(Home(home))


def test_without_a_night_it_says_how_one_is_measured(home: Path) -> None:
    launches(Home(home), "bench_tg", [1.0], cell())
    ingest(Home(home))
    shown = show(home, "history")
    assert "No night was measured yet" in words(shown)
    assert [one.value for one in shown.code if "nightly" in one.value] == ["quantfarm nightly run"]


def test_the_last_night_tells_a_regression_first_with_all_that_is_known_of_it(home: Path) -> None:
    key = measured(home)
    told(home, silence(), regression(key, first_bad=made.night(9)))
    said = plainly(show(home, "history"))
    assert said.index("Regression") < said.index("No data")
    for part in (
        "1 regression, no data from 1 device",
        "47.20 tokens/s (46.90–47.50, n = 20) → 43.00 tokens/s (n = 3): -8.9 %",
        "since 2026-11-10 (last good 2026-11-09)",
        "10 interleaved pairs of old and new: -8.9 % (-9.5 % to -8.2 %), p = 0.0019",
        "suspect: llama-cpp-python 0.3.35 → 0.3.36",
        "quantfarm sweep --model reference --quants Q4_K_M --devices desk --suite bench --fresh",
        "no answer from attic",
    ):
        assert part in said, part


def test_what_the_night_tells_is_the_series_that_is_shown(home: Path) -> None:
    key = measured(home)
    told(home, regression(key, first_bad=made.night(9)))
    said = plainly(show(home, "history"))
    assert f"Series {key.id} · 11 nights · last 2026-11-12: 89.80 tok/s · 1 night without data · no fork" in said
    assert "Conditions: N100 · fake 1 · os Debian 13" in said
    assert "Simulated" not in said


def test_an_address_opens_the_series_that_it_names(home: Path) -> None:
    measured(home)
    with Reader(Home(home)) as reader:
        other = next(one.key for one in histories.known(reader) if one.key.device == "other")
    said = plainly(show(home, "history", series=other.id))
    assert f"Series {other.id}" in said
    assert "Simulated device" in said


def test_an_acknowledged_regression_says_by_whom_and_why(home: Path) -> None:
    key = measured(home)
    verdict = regression(key, first_bad=made.night(9))
    told(home, verdict)
    alerts = Alerts(Home(home))
    began = VERDICT.dump_python(verdict, mode="json")
    alerts.add({"kind": "night", "night": "2026-11-12", "sinks": [], "over": [], "began": [began], "goes_on": []})
    alerts.acknowledge([f"{key.id}@2026-11-12"], "fixed in 0.3.38")
    said = plainly(show(home, "history"))
    assert "acknowledged by" in said
    assert "fixed in 0.3.38" in said


def test_a_damaged_journal_of_alerts_hides_nothing(home: Path) -> None:
    key = measured(home)
    (home / "alerts").mkdir()
    (home / "alerts" / "log.jsonl").write_text("[]\n{}\n")
    said = plainly(show(home, "history"))
    assert f"Series {key.id}" in said
    assert "log.jsonl" in said


def test_names_of_the_world_are_shown_literally(home: Path) -> None:
    key = measured(home, replace(DESK, name=HOSTILE))
    told(home, replace(regression(key, first_bad=made.night(9)), reason=HOSTILE, kind=Kind.NOISE))
    said = words(show(home, "history", series=key.id))
    assert "<b>x" not in said
    assert "](http" not in said
    assert "\\<b\\>x" in said
