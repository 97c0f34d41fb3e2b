"""Reading events: what is not an event is refused by name, whatever it is; what is, gives figures or none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm import metrics
from quantfarm.metrics.conditions import conditions
from quantfarm.nouns import Trace
from quantfarm.runtimes import TABLE, runtime
from quantfarm.runtimes.events import OPTIONAL, REQUIRED, Check, parse

BEGIN: dict[str, Any] = {"event": "begin", "t": 1, "schema": 1, "runner": "x", "versions": {}}


def lines(*events: dict[str, Any]) -> list[str]:
    return [json.dumps(event) for event in events]


def test_events_are_kept_as_they_came() -> None:
    events = [BEGIN, {"event": "progress", "t": 2, "done": 1}, {"event": "end", "t": 3, "ok": True}]
    assert list(parse(lines(*events)).events) == events


def test_a_trace_without_its_end_is_read_and_is_not_finished() -> None:
    assert not parse(lines(BEGIN)).finished


def test_a_line_after_the_end_leaves_the_trace_unfinished() -> None:
    end = {"event": "end", "t": 3, "ok": True}
    assert not parse(lines(BEGIN, end, {"event": "progress", "t": 4})).finished


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", ""),
        ("hello", ""),
        ("[", ""),
        ("[1, 2]", "no JSON object"),
        ("3", "no JSON object"),
        ('{"t": 1}', "no event"),
        ('{"event": 3, "t": 1}', "no event"),
        ('{"event": "x"}', "t is no time"),
        ('{"event": "x", "t": 1.5}', "t is no time"),
        ('{"event": "x", "t": true}', "t is no time"),
        ('{"event": "x", "t": -1}', "t is no time"),
        ('{"event": "x", "t": "1"}', "t is no time"),
        ('{"event": "x", "t": 1, "v": NaN}', "NaN"),
        ('{"event": "x", "t": 1, "v": -Infinity}', "-Infinity"),
        ('{"event": "x", "t": 1, "v": 1e999}', "too large"),
        ('{"event": "x", "t": 1, "v": 1' + "0" * 30 + "}", "too large"),
        ('{"event": "x", "t": 1, "v": 1' + "0" * 9000 + "}", ""),
        ('{"event": "x", "t": 1, "v": ' + "[" * 100_000, ""),
        ('{"event": "x", "t": 1} {"event": "x", "t": 1}', ""),
        ('{"event": "x", "t": 1, "s": "\ufffd"}', "UTF-8"),
        ('{"event": "x", "t": 1, "s": "\udc80"}', "UTF-8"),
        ('{"event": "prefill", "t": 1, "mode": "bench", "repetition": 0, "tokens": 8, "depth": 0}', "no seconds"),
        (
            '{"event": "prefill", "t": 1, "mode": "bench", "repetition": 0, "tokens": 8, "depth": 0, "seconds": 0}',
            "seconds is '0'",
        ),
        ('{"event": "decode", "t": 1, "mode": "app", "repetition": 0, "submit": 1}', "no times"),
        ('{"event": "decode", "t": 1, "mode": "app", "repetition": 0, "submit": 5, "times": [4]}', "before the prompt"),
        ('{"event": "decode", "t": 1, "mode": "app", "repetition": 0, "submit": 1, "times": [5, 4]}', "times is"),
        ('{"event": "chunk", "t": 1, "index": 0, "n": 2, "nll": [1.0]}', "1 of 2 nll"),
        ('{"event": "sample", "t": 1, "source": "proc", "values": {"rss_mib": "9"}}', "values is"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_its_number(line: str, said: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no event") as caught:
        parse([json.dumps(BEGIN), line])
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_line_longer_than_any_event_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="longer than 32 MiB"):
        parse([json.dumps(BEGIN), "x" * (33 * 2**20)])


def test_the_first_event_must_be_begin() -> None:
    with pytest.raises(ValueError, match="not 'begin'"):
        parse(lines({"event": "end", "t": 1, "ok": True}))


def test_a_newer_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="upgrade quantfarm"):
        parse(lines(BEGIN | {"schema": 2}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
#: Fields by the names that events have, so that a good many pass every check but one.
field_names = sorted({name for table in (REQUIRED, OPTIONAL) for fields in table.values() for name in fields})
likely_values = st.one_of(
    st.integers(0, 2**40),
    st.floats(min_value=1e-9, max_value=1e6),
    st.sampled_from(["bench", "app", "CPU", "proc"]),
    st.booleans(),
    st.lists(st.floats(-10, 10) | st.integers(0, 2**40), max_size=4),
    st.dictionaries(st.sampled_from(["rss_mib", "rss_anon_mib", "hwm_mib", "majflt"]), st.integers(0, 9999)),
    json_values,
)
events_alike = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(REQUIRED)) | st.text(max_size=6), "t": st.integers(0, 2**62)}
).flatmap(
    lambda head: st.dictionaries(st.sampled_from(field_names), likely_values, max_size=12).map(lambda rest: rest | head)
)


def alike(event: dict[str, Any]) -> dict[str, Any]:
    """The event with every field that its kind must have, where the fuzzer left one out."""
    kind = event["event"]
    good: dict[str, Any] = {
        **{"mode": "bench", "repetition": 0, "tokens": 8, "depth": 0, "seconds": 0.5, "ok": True, "phase": "end"},
        **{"backend": "CPU", "settings": {}, "model": {}, "source": "proc", "values": {}, "index": 0, "n": 1},
        **{"nll": [1.0], "schema": 1, "runner": "x", "versions": {}, "states": {}},
        **{"task": "quiz", "n_docs": 1, "doc": 0, "doc_hash": "h", "gold": 0, "ll": [-1.0], "greedy": [True]},
        **{"lengths": [3]},
    }
    return {name: good.get(name, some(check)) for name, check in REQUIRED.get(kind, {}).items()} | event


def some(check: Check) -> Any:
    """Anything that a field's check takes: for kinds of event that this file does not name."""
    return next((value for value in (1, 0.5, "x", True, [1], [1.0], [True], {}, {"x": 1}) if check(value)), None)


@pytest.mark.parametrize("name", sorted(TABLE))
@given(st.lists(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode(errors="surrogateescape"))))
def test_arbitrary_text_is_a_value_error_or_a_trace(name: str, text: list[str]) -> None:
    try:
        assert isinstance(runtime(name).parse(text), Trace)
    except ValueError as error:
        assert "line " in str(error)


@pytest.mark.parametrize("name", sorted(TABLE))
@given(st.lists(json_values))
def test_arbitrary_json_is_a_value_error_or_a_trace(name: str, things: list[Any]) -> None:
    try:
        assert isinstance(runtime(name).parse([json.dumps(thing) for thing in things]), Trace)
    except ValueError as error:
        assert "line " in str(error)


@settings(deadline=None)  # the first call imports the metrics
@given(st.lists(events_alike.map(alike), max_size=8), st.booleans())
def test_what_is_read_gives_finite_figures_or_none(events: list[dict[str, Any]], finished: bool) -> None:
    end = [{"event": "end", "t": 9, "ok": True}] if finished else []
    try:
        trace = parse([json.dumps(event) for event in [BEGIN, *events, *end]])
    except ValueError:
        return
    for measurement in metrics.measure(trace):
        assert math.isfinite(measurement.value)
        assert measurement.unit or measurement.metric in ("ppl", "speed_up", "throttle_ratio")  # ratios
    assert conditions(trace)["runner"]
