"""Conditions are what the trace says, and no more."""

from __future__ import annotations

from quantfarm.metrics.conditions import conditions
from quantfarm.nouns import Trace

BEGIN = {"event": "begin", "t": 0, "runner": "r", "versions": {"python": "3.11.7", "x": "1"}, "system": "here"}
LOADED = {"event": "loaded", "t": 1, "backend": "CPU", "settings": {"threads": 1}, "model": {"n_vocab": 9}}
TOKENS = {"event": "tokens", "t": 2, "text_sha256": "aa", "token_sha256": "bb", "n_chunks": 3, "bytes": 7}


def test_versions_backend_settings_and_text_are_told() -> None:
    assert conditions(Trace(events=(BEGIN, LOADED, TOKENS))) == {
        "runner": "r",
        "versions": {"python": "3.11.7", "x": "1"},
        "python": "3.11.7",
        "system": "here",
        "backend": "CPU",
        "settings": {"threads": 1},
        "model": {"n_vocab": 9},
        "text_sha256": "aa",
        "token_sha256": "bb",
        "n_chunks": 3,
        "bytes": 7,
    }


def test_what_a_trace_does_not_say_is_left_out() -> None:
    assert conditions(Trace(events=(BEGIN,))).keys() == {"runner", "versions", "python", "system"}
    assert conditions(Trace(events=())) == {}
