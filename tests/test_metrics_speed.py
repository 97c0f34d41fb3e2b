"""Speed figures are METHOD's, worked by hand here."""

from __future__ import annotations

from typing import Any

import pytest

from quantfarm.metrics import speed
from quantfarm.nouns import Measurement, Trace

S = 10**9


def trace(*events: dict[str, Any], ok: bool = True) -> Trace:
    begin = {"event": "begin", "t": 0, "schema": 1}
    return Trace(events=(begin, *events, {"event": "end", "t": 10**12, "ok": ok}))


def bench(kind: str, *seconds: float, tokens: int = 100) -> list[dict[str, Any]]:
    shared = {"event": kind, "mode": "bench", "tokens": tokens, "depth": 0}
    return [{**shared, "t": 10 * S + i, "repetition": i, "seconds": s} for i, s in enumerate(seconds)]


def app(submit: int, times: list[int]) -> dict[str, Any]:
    return {"event": "decode", "t": times[-1], "mode": "app", "repetition": 0, "submit": submit, "times": times}


def only(metric: str, found: list[Measurement]) -> Measurement:
    (one,) = (m for m in found if m.metric == metric)
    return one


def test_a_rate_is_tokens_over_seconds_of_each_repetition_and_their_median() -> None:
    found = speed.measure(trace(*bench("prefill", 1.0, 2.0, 4.0)))
    pp = only("bench_pp", found)
    assert pp.samples == (100.0, 50.0, 25.0)
    assert (pp.value, pp.unit, pp.n) == (50.0, "tok/s", 3)


def test_prompt_and_generation_are_figures_apart() -> None:
    found = speed.measure(trace(*bench("prefill", 1.0), *bench("decode", 2.0)))
    assert only("bench_pp", found).value == 100
    assert only("bench_tg", found).value == 50


def test_decoding_is_counted_from_the_first_token_to_the_last() -> None:
    """Five tokens in 2 s after the first: four intervals."""
    found = speed.measure(trace(app(0, [3 * S, 3 * S + S // 2, 4 * S, 4 * S + S // 2, 5 * S])))
    assert only("decode_tps", found).value == 2.0
    assert only("ttft", found).value == 3.0
    assert only("ttft", found).unit == "s"


def test_one_token_has_a_first_but_no_rate() -> None:
    found = speed.measure(trace(app(0, [S])))
    assert [m.metric for m in found] == ["ttft"]


def test_bench_and_app_are_never_mixed() -> None:
    prefill = {"event": "prefill", "t": 1, "mode": "app", "repetition": 0, "tokens": 9, "depth": 0, "seconds": 1.0}
    assert {m.metric for m in speed.measure(trace(prefill, app(0, [S, 2 * S])))} == {"ttft", "decode_tps"}


def test_repetitions_that_disagree_are_remarked_on() -> None:
    """x = 10, 8, 12: median 10, MAD 2, so 1.4826 · 2 / 10 = 30 %."""
    seconds = [100 / x for x in (10, 8, 12)]
    assert only("bench_tg", speed.measure(trace(*bench("decode", *seconds)))).remark == "spread 30 % over 3 repetitions"


def test_repetitions_that_agree_need_no_remark() -> None:
    assert only("bench_tg", speed.measure(trace(*bench("decode", 1.0, 1.01, 0.99)))).remark == ""


def loaded(seconds: float) -> dict[str, Any]:
    return {"event": "loaded", "t": 1, "seconds": seconds, "backend": "CPU", "settings": {}, "model": {}}


def test_load_time_is_the_runner_s_own() -> None:
    assert only("load_time", speed.measure(trace(loaded(1.25), *bench("decode", 1.0)))).value == 1.25


@pytest.mark.parametrize("ok", [False])
def test_a_failed_run_has_no_figures(ok: bool) -> None:
    assert speed.measure(trace(*bench("decode", 1.0), ok=ok)) == []


def test_a_run_that_timed_nothing_has_no_figures() -> None:
    assert speed.measure(trace(loaded(1.0))) == []


def sample(t: int, majflt: int) -> dict[str, Any]:
    return {"event": "sample", "t": t, "source": "proc", "values": {"majflt": majflt}}


def faulted(*counts: int) -> str:
    """The remark on a run that measured for nine seconds, given the fault counts that were sampled in it."""
    warmup = {"event": "warmup", "t": S, "phase": "decode"}
    samples = [sample(2 * S + i, count) for i, count in enumerate(counts)]
    return only("bench_tg", speed.measure(trace(sample(0, 0), warmup, *samples, *bench("decode", 1.0)))).remark


def test_page_faults_before_the_warm_up_is_over_are_the_reading_of_the_model() -> None:
    assert faulted(900, 900) == ""


def test_a_few_page_faults_while_measuring_are_told() -> None:
    assert faulted(900, 901) == "1 major page fault while measuring"


def test_many_page_faults_while_measuring_make_a_speed_invalid() -> None:
    """At a millisecond each, 91 of them are more than a hundredth of nine seconds."""
    assert faulted(900, 991) == "invalid: 91 major page faults while measuring"
