"""Rates of several prompts at once, and the memory of the run that they are from."""

from __future__ import annotations

from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.nouns import Trace

MEMORY: dict[str, Any] = {"event": "memory", "phase": "end", "hwm_mib": 300.0, "rss_anon_mib": 200.0}


def trace(*events: dict[str, Any], ok: bool = True) -> Trace:
    return Trace(events=(*events, {"event": "end", "ok": ok}))


def batch(seconds: float, tokens: int = 504, size: int = 8) -> dict[str, Any]:
    return {"event": "batch", "batch": size, "tokens": tokens, "seconds": seconds, "repetition": 0}


def measured(found: Trace) -> dict[str, float]:
    return {m.metric: m.value for m in metrics.measure(found)}


def test_the_rate_is_that_of_all_prompts_and_the_median_of_the_repetitions() -> None:
    found = measured(trace(batch(2.0), batch(4.0), batch(2.1), MEMORY))
    assert found["batch8_tps"] == 240.0
    assert found["batch8_resident_peak"] == 300.0


def test_each_size_is_a_figure_of_its_own() -> None:
    assert measured(trace(batch(1.0, 63, 1)))["batch1_tps"] == 63.0
    assert "batch8_tps" not in measured(trace(batch(1.0, 63, 1)))


def test_memory_on_cuda_is_what_torch_and_the_driver_say() -> None:
    found = measured(trace(batch(2.0), MEMORY | {"cuda_allocated_peak_mib": 812.5, "nvml_mib": 1300.0}))
    assert (found["batch8_cuda_peak"], found["batch8_nvml"]) == (812.5, 1300.0)
    assert "batch8_cuda_peak" not in measured(trace(batch(2.0), MEMORY))


def test_a_spread_is_told() -> None:
    figures = {m.metric: m for m in metrics.measure(trace(batch(2.0), batch(4.0), batch(1.0), MEMORY))}
    assert "spread" in figures["batch8_tps"].remark
    assert figures["batch8_tps"].samples == (252.0, 126.0, 504.0)


def test_speed_and_memory_of_weights_that_were_unpacked_for_good_say_so() -> None:
    """AWQ and GPTQ under transformers: what is measured is no 4-bit kernel."""
    loaded = {"event": "loaded", "t": 0, "seconds": 1.0, "settings": {"weights": "unpacked at loading"}}
    bench = {"event": "decode", "t": 1, "mode": "bench", "tokens": 8, "depth": 0, "repetition": 0, "seconds": 1.0}
    of_batch = {m.metric: m.remark for m in metrics.measure(trace(loaded, batch(2.0), MEMORY))}
    of_bench = {m.metric: m.remark for m in metrics.measure(trace(loaded, bench, MEMORY))}
    told = [of_batch["batch8_tps"], of_batch["batch8_resident_peak"], of_bench["bench_tg"], of_bench["resident_peak"]]
    assert all("of weights unpacked at loading" in remark for remark in told)
    stored = {**loaded, "settings": {"weights": "as stored"}}
    assert not [m.remark for m in metrics.measure(trace(stored, bench, MEMORY)) if "unpacked" in m.remark]


@pytest.mark.parametrize("found", [trace(batch(2.0), ok=False), trace(MEMORY)])
def test_an_unfinished_run_and_another_kind_have_none(found: Trace) -> None:
    assert not [name for name in measured(found) if name.startswith("batch")]
