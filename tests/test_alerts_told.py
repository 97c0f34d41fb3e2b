"""Each sink is told once: across nights, kills, failures, acknowledgements and snoozes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.alerting import tell
from flows.alerting.telling import BEFORE, FAILED, NO_SINKS, NOTHING, SENT
from quantfarm.nightly.verdicts import Kind, dump
from storage import journal
from storage.alerts import Alerts
from storage.home import Home
from tests.alerting import key, listening, regression, report, silence, unchanged
from tests.conftest import ROOT
from tests.sweeping import quantfarm

TWO_FILES = """
sinks:
  - {kind: file, name: first, path: first.jsonl}
  - {kind: file, name: second, path: second.jsonl}
events: false
"""


@pytest.fixture
def farm(home: Path) -> Home:
    home.mkdir()
    (home / "alerts.yaml").write_text(TWO_FILES)
    return Home(home)


def messages(farm: Home, name: str = "first") -> list[dict]:
    return journal.read(farm.root / f"{name}.jsonl")


def states(sent) -> list[str]:
    return [one.state for one in sent]


def night(n: int) -> str:
    return f"2026-11-{n:02}"


def test_each_sink_gets_one_message_of_a_night(farm):
    assert states(tell(farm, report(regression(), silence()))) == [SENT, SENT]
    assert len(messages(farm)) == len(messages(farm, "second")) == 1
    assert [row["id"] for row in messages(farm)[0]["regressions"]] == [key().id]


def test_a_night_that_is_told_again_is_told_to_nobody(farm):
    tell(farm, report(regression()))
    assert states(tell(farm, report(regression()))) == [BEFORE, BEFORE]
    assert len(messages(farm)) == 1


def test_what_is_still_open_is_not_repeated_night_after_night(farm):
    tell(farm, report(regression(), silence()))
    for n in range(13, 20):
        later = report(regression(night=night(n)), silence(night=night(n)), night=night(n))
        assert states(tell(farm, later)) == [NOTHING, NOTHING]
    assert len(messages(farm)) == 1


def test_what_is_new_is_told_and_what_is_known_is_counted(farm):
    tell(farm, report(regression()))
    other = regression(key(metric="ttft"), first_bad=night(13), night=night(13))
    tell(farm, report(regression(night=night(13)), other, night=night(13)))
    last = messages(farm)[-1]
    assert [row["id"] for row in last["regressions"]] == [other.series.id]
    assert last["left_out"] == "1 told before"


def test_a_first_bad_night_that_moves_a_little_is_the_same_regression(farm):
    tell(farm, report(regression(first_bad=night(10))))
    moved = regression(first_bad=night(11), new=42.8, night=night(13))
    assert states(tell(farm, report(moved, night=night(13)))) == [NOTHING, NOTHING]


def test_another_regression_of_the_same_series_is_told(farm):
    tell(farm, report(regression(first_bad=night(10))))
    tell(farm, report(regression(first_bad=night(15), new=40.0, night=night(17)), night=night(17)))
    assert len(messages(farm)) == 2


def test_a_regression_that_was_mended_and_is_back_is_told_again(farm):
    tell(farm, report(regression()))
    tell(farm, report(unchanged(night=night(13)), night=night(13)))
    assert Alerts(farm).standing().open == []
    tell(farm, report(regression(first_bad=night(10), night=night(14)), night=night(14)))
    assert len(messages(farm)) == 2


def test_a_level_that_stays_bad_is_not_back(farm):
    """After a fork the nights of the new build are compared with each other, and nothing changes."""
    tell(farm, report(regression()))
    tell(farm, report(unchanged(value=43.1), night=night(13)))
    assert len(Alerts(farm).standing().open) == 1


def test_a_device_that_comes_back_and_goes_again_is_told_again(farm):
    tell(farm, report(silence()))
    tell(farm, report(unchanged(key("attic")), night=night(13)))
    tell(farm, report(silence(night=night(14)), night=night(14)))
    assert [one["night"] for one in messages(farm)] == [night(12), night(14)]


def test_a_silent_night_does_not_end_a_regression(farm):
    tell(farm, report(regression()))
    tell(farm, report(silence(key()), night=night(13)))
    tell(farm, report(regression(night=night(14)), night=night(14)))
    assert [len(one["regressions"]) for one in messages(farm)] == [1, 0]


def test_a_sink_that_failed_hears_of_it_with_the_next_night_and_the_others_do_not(farm):
    (farm.root / "second.jsonl").mkdir()  # what cannot be written
    sent = tell(farm, report(regression()))
    assert states(sent) == [SENT, FAILED]
    assert "tried again" in sent[1].reason
    assert "second.jsonl" in Alerts(farm).standing().failed["second"]["reason"]
    assert "not told yet to second: 2026-11-12: cannot write" in quantfarm("nightly", "status")
    assert "second" in json.loads(quantfarm("nightly", "status", "--json"))["sinks_failed"]
    (farm.root / "second.jsonl").rmdir()
    # The judge of tonight may have nothing to say of it any more: it is owed all the same.
    sent = tell(farm, report(unchanged(value=43.0), night=night(13)))
    assert states(sent) == [NOTHING, SENT]
    assert messages(farm, "second")[0]["regressions"][0]["told_now"] == "first reported in the night of 2026-11-12"
    assert Alerts(farm).standing().failed == {}


def test_what_failed_to_be_told_and_is_over_says_so(farm):
    (farm.root / "second.jsonl").mkdir()
    tell(farm, report(silence()))
    (farm.root / "second.jsonl").rmdir()
    tell(farm, report(unchanged(key("attic")), night=night(13)))
    (message,) = messages(farm, "second")
    assert "first reported in the night of 2026-11-12, over since the night of 2026-11-13" in message["text"]


def test_a_sink_that_is_new_hears_of_what_is_open_tonight_and_not_of_history(farm):
    tell(farm, report(regression(), regression(key(metric="ttft"))))
    (farm.root / "alerts.yaml").write_text(TWO_FILES.replace("name: second", "name: third"))
    sent = tell(farm, report(regression(night=night(13)), night=night(13)))
    assert states(sent) == [NOTHING, SENT]
    assert [row["id"] for row in messages(farm, "second")[-1]["regressions"]] == [key().id]


# -- acknowledged and snoozed


def test_what_is_acknowledged_is_not_told_until_it_is_two_percent_worse(farm):
    tell(farm, report(regression(new=43.0)))
    quantfarm("nightly", "ack", "desk bench_tg", "--note", "we know")
    assert states(tell(farm, report(regression(new=42.3, night=night(13)), night=night(13)))) == [NOTHING, NOTHING]
    assert states(tell(farm, report(regression(new=42.1, night=night(14)), night=night(14)))) == [SENT, SENT]
    listed = json.loads(quantfarm("nightly", "alerts", "--json"))["alerts"]
    assert [one["state"] for one in listed] == ["open"]


def test_what_is_acknowledged_and_gets_worse_bit_by_bit_is_told_again(farm):
    """The judge tells a change once; that the level went on falling shows in the nights alone."""
    tell(farm, report(regression(new=43.0)))
    quantfarm("nightly", "ack", key().id)
    assert states(tell(farm, report(unchanged(value=42.3), night=night(13)))) == [NOTHING, NOTHING]
    assert states(tell(farm, report(unchanged(value=42.0), night=night(14)))) == [SENT, SENT]
    (row,) = messages(farm)[-1]["regressions"]
    assert (row["new"]["value"], row["old"]["value"], row["confirmation"]) == (42.0, 47.2, None)
    assert "acknowledged" in row["reason"]
    assert states(tell(farm, report(unchanged(value=42.0), night=night(15)))) == [NOTHING, NOTHING]


def test_what_is_acknowledged_is_left_out_and_said_to_be_so(farm):
    tell(farm, report(regression()))
    quantfarm("nightly", "ack", key().id)
    other = regression(key(metric="ttft"), first_bad=night(13), night=night(13))
    tell(farm, report(regression(night=night(13)), other, night=night(13)))
    assert "1 acknowledged by" in messages(farm)[-1]["left_out"]
    listed = json.loads(quantfarm("nightly", "alerts", "--json"))["alerts"]
    assert {one["series"]: one["state"] for one in listed} == {key().id: "acknowledged", other.series.id: "open"}
    assert "acknowledged" in quantfarm("nightly", "alerts")


def test_an_acknowledgement_ends_when_the_series_is_back(farm):
    tell(farm, report(regression()))
    quantfarm("nightly", "ack", key().id)
    tell(farm, report(replace(unchanged(), kind=Kind.IMPROVEMENT, ratio=1.09), night=night(13)))
    tell(farm, report(regression(first_bad=night(14), night=night(16)), night=night(16)))
    assert len(messages(farm)) == 2


def test_what_is_snoozed_is_told_when_the_snooze_is_over(farm):
    quantfarm("nightly", "alerts")
    (farm.root / "second.jsonl").mkdir()
    tell(farm, report(regression()))
    (farm.root / "second.jsonl").rmdir()
    quantfarm("nightly", "snooze", key().id, "--until", night(14))
    for n in (13, 14):
        assert states(tell(farm, report(regression(night=night(n)), night=night(n)))) == [NOTHING, NOTHING]
    assert states(tell(farm, report(regression(night=night(15)), night=night(15)))) == [NOTHING, SENT]


def test_a_snoozed_device_is_quiet_whatever_its_series(farm):
    tell(farm, report(silence()))
    quantfarm("nightly", "snooze", "--device", "attic", "--nights", "400", code=2)
    quantfarm("nightly", "snooze", "--device", "attic", "--until", night(20), "--note", "being moved")
    slow = regression(key("attic", "ttft"), first_bad=night(13), night=night(13))
    assert states(tell(farm, report(slow, night=night(13)))) == [NOTHING, NOTHING]
    assert "device attic is snoozed until 2026-11-20" in quantfarm("nightly", "alerts")
    assert states(tell(farm, report(replace(slow, night=night(21)), night=night(21)))) == [SENT, SENT]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ack", "zzz"), "unknown series"),
        (("snooze", "--device", "atic", "--nights", "3"), "did you mean attic"),
        (("snooze", "zzz", "--nights", "3"), "unknown series"),
        (("snooze", "--nights", "3"), "say which series"),
        (("snooze", "--device", "attic"), "--until DATE or --nights N"),
        (("snooze", "--device", "attic", "--until", "tomorrow"), "a date is YEAR-MONTH-DAY"),
        (("try-alert", "--sink", "frst"), "did you mean first"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(farm, arguments, said):
    tell(farm, report(silence()))
    before = Alerts(farm).path.read_bytes()
    assert said in quantfarm("nightly", *arguments, code=2)
    assert Alerts(farm).path.read_bytes() == before


# -- faults

TELLER = """
import sys
from pathlib import Path
from flows.alerting import tell
from quantfarm.nightly.verdicts import load
from storage.home import Home
tell(Home(Path(sys.argv[1])), load(Path(sys.argv[2]).read_bytes()))
"""


def _telling(farm: Home, told) -> subprocess.Popen[bytes]:
    file = farm.root / "report.json"
    file.write_bytes(dump(told))
    command = [sys.executable, "-c", TELLER, str(farm.root), str(file)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "QUANTFARM_TEST_HOOK": os.environ["HOOK"]})


def test_a_kill_between_two_sinks_repeats_nothing_and_loses_nothing(farm, monkeypatch):
    with listening() as heard:
        monkeypatch.setenv("HOOK", heard.url)
        (farm.root / "alerts.yaml").write_text(
            TWO_FILES.replace(
                "{kind: file, name: second, path: second.jsonl}",
                "{kind: webhook, name: hook, url_env: QUANTFARM_TEST_HOOK}",
            )
        )
        process = _telling(farm, report(regression()))
        heard.on_post = process.kill  # while the second is being told, the first is done
        assert process.wait(60) == -signal.SIGKILL
        heard.on_post = lambda: None
        assert len(messages(farm)) == len(heard.got) == 1

        assert _telling(farm, report(regression())).wait(60) == 0
        assert len(messages(farm)) == 1
        assert len(heard.got) == 2
        # Nobody can know whether the first was taken: it is sent again under the same key, and says so.
        assert heard.got[0][0]["Idempotency-Key"] == heard.got[1][0]["Idempotency-Key"]
        assert [json.loads(body)["maybe_repeated"] for _, body in heard.got] == [False, True]

        assert _telling(farm, report(regression())).wait(60) == 0
        assert len(heard.got) == 2


def test_a_file_that_was_written_before_the_kill_is_not_written_again(farm):
    tell(farm, report(regression()))
    log = Alerts(farm).path
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(row for row in rows if b'"kind": "sent"' not in row))
    assert states(tell(farm, report(regression()))) == [SENT, SENT]
    assert len(messages(farm)) == len(messages(farm, "second")) == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("alerts.yaml", "did you mean"),
        ("alerts/log.jsonl", "cannot be read"),
    ],
)
def test_no_mistake_of_a_file_fails_the_night(farm, file, said):
    path = farm.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("sink: []\n")
    (sent,) = tell(farm, report(regression()))
    assert sent.state == FAILED
    assert said in sent.line


def test_an_error_of_a_sink_itself_fails_neither_the_night_nor_the_other_sinks(farm, monkeypatch):
    from flows.alerting.file import File

    real = File.send

    def broken(self, home, message, *, again):
        if self.name == "first":
            raise RuntimeError("token=hunter2")
        return real(self, home, message, again=again)

    monkeypatch.setattr(File, "send", broken)
    sent = tell(farm, report(regression()))
    assert states(sent) == [FAILED, SENT]
    assert "hunter2" not in Alerts(farm).path.read_text()


def test_without_sinks_the_night_says_so_once(farm):
    (farm.root / "alerts.yaml").write_text("events: false\n")
    (sent,) = tell(farm, report(regression()))
    assert sent.state == NO_SINKS
    assert "alerts.yaml" in sent.reason
    assert tell(farm, report(silence(night=night(13)), night=night(13))) == []


def test_a_quiet_night_tells_nobody_anything(farm):
    assert states(tell(farm, report(unchanged()))) == [NOTHING, NOTHING]
    assert not (farm.root / "first.jsonl").exists()
