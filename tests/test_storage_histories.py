"""The series of nights as the published database has them: all by name, and one whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantfarm.nightly.candidates import Rules
from quantfarm.nightly.judge import no_data
from quantfarm.nightly.verdicts import Kind, NightReport
from storage import histories, nights, watch_lists
from storage.home import Home
from storage.ingest import ingest
from storage.reading import Reader
from tests import nights as made
from tests.alerting import key as named
from tests.alerting import regression, report

STEP = [100.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.0, None, 90.0, 90.3, 89.8, 90.1]


def key_of(home: Home):
    with Reader(home) as reader:
        (one,) = histories.known(reader)
    return one.key


def test_a_series_is_known_with_how_many_nights_it_has(tmp_path: Path) -> None:
    made.series(tmp_path, STEP)
    ingest(Home(tmp_path))
    with Reader(Home(tmp_path)) as reader:
        (one,) = histories.known(reader)
    assert (one.key.device, one.key.metric, one.nights, one.simulated) == ("desk", "bench_tg", 12, True)
    assert one.last == made.night(12)


def test_one_history_is_that_of_the_whole_farm(tmp_path: Path) -> None:
    made.series(tmp_path, STEP)
    made.series(tmp_path, [50.0] * 13, of=made.cell(profile=made.fake("attic")))
    ingest(Home(tmp_path))
    with Reader(Home(tmp_path)) as reader:
        every = nights.series(reader)
        for one in histories.known(reader):
            assert nights.series(reader, only=one.key) == {one.key: every[one.key]}
            assert histories.history(reader, one.key).history.points == tuple(every[one.key])


def test_it_has_its_gap_its_change_and_its_news(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made.series(tmp_path, STEP)
    made.series(tmp_path, [50.0] * 13, of=made.cell(profile=made.fake("attic")))
    ingest(home)
    with Reader(home) as reader:
        key = next(one.key for one in histories.known(reader) if one.key.device == "desk")
    told = replace(regression(key, first_bad=made.night(9), night=made.night(12)), simulated=True)
    nights.keep(home, NightReport(night=made.night(12), began_at="", finished_at="", verdicts=(told,)))
    ingest(home)
    with Reader(home) as reader:
        found = histories.history(reader, key, Rules()).history
    assert found.gaps == (made.night(8),)
    assert [found.points[one.index].night for one in found.changes] == [made.night(9)]
    (news,) = found.verdicts
    assert (news.kind, news.first_bad, news.confirmation) == (Kind.REGRESSION, made.night(9), told.confirmation)


def test_several_launches_of_a_night_have_their_range(tmp_path: Path) -> None:
    for number, of in enumerate(made.launches(made.cell(), 3)):
        made.put(tmp_path, of, made.night(0), {"bench_tg": 10.0 + number})
    ingest(Home(tmp_path))
    with Reader(Home(tmp_path)) as reader:
        (one,) = histories.known(reader)
        found = histories.history(reader, one.key)
    launches = found.launches[made.night(0)]
    assert (launches.low, launches.high, launches.n, launches.cell) == (10.0, 12.0, 3, made.cell().id)
    assert [point.value for point in found.history.points] == [11.0]


def test_a_series_that_was_never_measured_is_known_by_its_verdict(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made.series(tmp_path, [1.0])
    silent = named("attic")
    nights.keep(home, report(no_data("2026-11-12", silent, "no answer")))
    ingest(home)
    with Reader(home) as reader:
        found = {one.key.device: one for one in histories.known(reader)}
        assert found["attic"].nights == 0
        history = histories.history(reader, silent).history
    assert not history.points
    assert [one.reason for one in history.verdicts] == ["no answer"]


def test_rules_are_the_watch_lists_and_the_usual_ones_where_it_cannot_be_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "nightly.yaml").write_text("watches: [{quants: [Q4_K_M]}]\nwindow: 12\nalert: 0.05\n")
    assert watch_lists.rules(home) == Rules(window=12, alert=0.05)
    (tmp_path / "nightly.yaml").write_text("watches: nothing")
    assert watch_lists.rules(home) == Rules()
