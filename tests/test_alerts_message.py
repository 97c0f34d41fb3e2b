"""The message of a night says what a person needs, and no name of a model or a device can do anything in it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from quantfarm.nightly import slack
from quantfarm.nightly.message import compose, trial
from quantfarm.nightly.telling import Item, Links
from quantfarm.nightly.verdicts import Kind, Level
from tests.alerting import key, regression, report, silence, unchanged

LINKS = Links(run="http://127.0.0.1:4200/runs/flow-run/1", dashboard="http://127.0.0.1:8501")


def told(*verdicts, **more):
    message = compose(report(*verdicts), LINKS, **more)
    assert message is not None
    return message


def test_a_night_without_regression_or_silence_has_no_message():
    assert compose(report(unchanged(), replace(unchanged(key("b")), kind=Kind.IMPROVEMENT, ratio=1.1)), LINKS) is None


def test_a_regression_is_told_with_all_that_a_person_needs_to_judge_it():
    text = told(regression()).text
    for part in (
        "desk: token generation (bench_tg) of reference Q4_K_M, llama_cpp, bench pp512 tg128",
        "47.20 tokens/s (46.90–47.50, n = 20) → 43.00 tokens/s (n = 3): -8.9 %",
        "2026-11-10 (last good 2026-11-09)",
        "llama-cpp-python 0.3.35 → 0.3.36",
        "10 interleaved pairs of old and new: -8.9 % (-9.5 % to -8.2 %), p = 0.0019",
        "quantfarm sweep --model reference --quants Q4_K_M --devices desk --suite bench --fresh",
        f"quantfarm nightly bisect {key().id}",
        f"quantfarm nightly history {key().id}",
        LINKS.run,
        f"{LINKS.dashboard}/history?series={key().id}",
    ):
        assert part in text


def test_the_subject_names_a_lone_regression_and_counts_several():
    assert told(regression()).subject == "[quantfarm] 2026-11-12: desk bench_tg of reference Q4_K_M -8.9 %"
    two = told(regression(), regression(key(metric="ttft")), silence())
    assert two.subject == "[quantfarm] 2026-11-12: 2 regressions, no data from 1 device"


def test_bisection_is_offered_only_where_the_build_is_the_suspect():
    same = regression()
    assert same.old and same.new
    same = replace(same, new=replace(same.new, build=same.old.build), changed={}, suspect="")
    text = told(same).text
    assert "bisect" not in text
    assert "nothing that is recorded changed" in text


def test_silent_devices_have_one_paragraph_each_with_each_reason_once():
    message = told(silence(), silence(key("attic", "ttft")), silence(key("cellar"), reason="disk full"))
    assert message.text.count("No data from attic (2 series): no answer from attic; last heard of") == 1
    assert message.text.count("No data from cellar (1 series): disk full") == 1
    assert [row["device"] for row in message.body["no_data"]] == ["attic", "cellar"]


def test_simulated_devices_are_marked_everywhere():
    message = told(replace(regression(), simulated=True), replace(silence(), simulated=True))
    assert message.text.count("[simulated, not measured]") == 2
    assert message.subject.endswith("(simulated, not measured)")
    assert json.dumps(slack.payload(message)).count("simulated, not measured") >= 3
    assert message.body["regressions"][0]["simulated"] is True


def test_improvements_are_a_line_and_what_is_left_out_is_said():
    better = replace(unchanged(key("b")), kind=Kind.IMPROVEMENT, ratio=1.041)
    text = told(regression(), better, left_out="2 told before").text
    assert "Better: b: token generation (bench_tg)" in text
    assert "+4.1 %" in text
    assert "Not told again: 2 told before." in text


NASTY = "<!channel> <http://evil|x> & `rm` *b*\r\nBcc: all@example.org\u202e\x1b[31m"


def test_names_are_data_in_slack():
    bad = regression(replace(key(), model=NASTY))
    payload = slack.payload(told(replace(bad, reason=NASTY, suspect=NASTY, reproduce=NASTY)))
    said = json.dumps(payload, ensure_ascii=False)
    assert "<!channel>" not in said
    assert "<http://evil" not in said
    assert "&lt;!channel&gt; &lt;http://evil|x&gt; &amp;" in said
    # Three links of our own, and no other pointed bracket.
    assert said.count("<") == said.count(">") == 3
    # A name in code does not end the code.
    section = payload["blocks"][1]["text"]["text"]
    plain = "&lt;!channel&gt; &lt;http://evil|x&gt; &amp; 'rm' *b* Bcc: all@example.org [31m"
    assert f"measure it again: `{plain}`" in section


def test_names_break_no_line_and_carry_no_control_characters():
    message = told(regression(replace(key(), model=NASTY, device="de\nsk")))
    assert "\n" not in message.subject
    assert "\r" not in message.text
    for character in ("\x1b", "\u202e"):
        assert character not in message.text
        assert character not in json.dumps(message.body, ensure_ascii=False)


def test_lengths_are_bounded():
    many = [regression(replace(key(f"desk{n}"), model="m" * 5000)) for n in range(300)]
    quiet = [silence(key(f"attic{n}"), reason="r" * 5000) for n in range(300)]
    message = told(*many, *quiet)
    assert len(message.subject) <= 140
    assert len(message.text) < 60_000
    assert "And 280 more: quantfarm nightly alerts" in message.text
    blocks = slack.payload(message, repeated=True)["blocks"]
    assert len(blocks) <= slack.BLOCKS
    assert all(len(one["text"]["text"]) <= slack.SECTION for one in blocks)
    assert len(message.body["regressions"]) == 200
    assert len(json.dumps(message.body)) < 1_500_000


def test_the_body_for_programs_is_plain_json():
    odd = regression()
    odd = replace(odd, new=Level(value=math.nan, unit="tok/s", build="b"), ratio=math.inf)
    body = told(odd).body
    row = json.loads(json.dumps(body, allow_nan=False))["regressions"][0]
    assert row["new"]["value"] is None
    assert row["ratio"] is None
    assert row["id"] == key().id
    assert row["bisect"] == f"quantfarm nightly bisect {key().id}"
    assert row["series"]["device"] == "desk"
    assert row["link"] == f"{LINKS.dashboard}/history?series={key().id}"


def test_the_same_news_of_the_same_night_has_the_same_digest():
    one = told(regression())
    assert one.digest == told(regression(new=43.2)).digest
    assert one.digest != told(regression(), silence()).digest
    late = compose(report(night="2026-11-13"), LINKS, [Item(verdict=regression(), remark="late")])
    assert late is not None
    assert late.digest != one.digest
    assert "late" in late.text


def test_a_test_message_says_that_it_is_one():
    message = trial("ann at desk")
    assert "TEST" in message.subject
    assert "Nothing regressed" in message.text
    assert message.body["kind"] == "test"
    assert "TEST" in slack.payload(message)["text"]


@pytest.mark.parametrize("longest", range(1, 30))
def test_cutting_leaves_no_half_of_an_escaped_character(longest):
    cut = slack.cut("a&amp;b&lt;c&gt;d &amp; and more", longest + 8)
    assert len(cut) <= longest + 8
    assert all(part.startswith(("&amp;", "&lt;", "&gt;")) for part in _entities(cut))


def _entities(text: str) -> list[str]:
    return [text[i:] for i, c in enumerate(text) if c == "&"]
