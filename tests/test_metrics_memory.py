"""Memory figures are the process's own peaks."""

from __future__ import annotations

from typing import Any

from quantfarm.metrics import memory
from quantfarm.nouns import Trace

S = 10**9


def trace(*events: dict[str, Any], ok: bool = True) -> Trace:
    return Trace(events=({"event": "begin", "t": 0, "schema": 1}, *events, {"event": "end", "t": 10**12, "ok": ok}))


def at(phase: str, hwm: float, anon: float, **more: Any) -> dict[str, Any]:
    return {"event": "memory", "t": 1, "phase": phase, "hwm_mib": hwm, "rss_anon_mib": anon, **more}


def sample(**values: float) -> dict[str, Any]:
    return {"event": "sample", "t": 2, "source": "proc", "values": values}


def figures(*events: dict[str, Any]) -> dict[str, tuple[float, str]]:
    return {m.metric: (m.value, m.remark) for m in memory.measure(trace(*events))}


def test_the_resident_peak_is_the_high_water_mark_at_the_end() -> None:
    found = figures(at("loaded", 100, 10), sample(hwm_mib=150, rss_mib=150), at("end", 160, 20))
    assert found["resident_peak"] == (160, "")


def test_the_committed_peak_is_the_largest_anonymous_memory_seen_at_any_time() -> None:
    found = figures(at("loaded", 100, 10), sample(rss_anon_mib=90), sample(rss_anon_mib=70), at("end", 160, 20))
    assert found["committed_peak"] == (90, "")


def test_without_a_runner_s_own_figures_samples_are_an_estimate() -> None:
    found = figures(*[sample(hwm_mib=150, rss_mib=150, rss_anon_mib=70)] * memory.FEWEST)
    assert found == {"resident_peak": (150, "estimated: from samples"), "committed_peak": (70, "estimated")}


def test_where_only_resident_memory_can_be_sampled_it_is_an_estimate_of_the_peak() -> None:
    seen = [sample(rss_mib=99)] * memory.FEWEST + [sample(rss_mib=101)]
    assert figures(*seen) == {"resident_peak": (101, "estimated: from samples")}


def test_a_run_seen_only_a_few_times_may_have_been_seen_before_it_had_its_memory_so_there_is_no_figure() -> None:
    assert figures(*[sample(hwm_mib=2.7, rss_mib=2.7, rss_anon_mib=1)] * (memory.FEWEST - 1)) == {}


def test_an_estimated_figure_says_so() -> None:
    found = figures(at("end", 160, 20, estimated=True))
    assert found == {"resident_peak": (160, "estimated"), "committed_peak": (20, "estimated")}


def test_what_the_driver_counts_on_a_gpu_is_added_and_said() -> None:
    found = figures(at("loaded", 100, 10, nvml_mib=900.0), at("end", 160, 20, nvml_mib=1000.0))
    assert found["resident_peak"] == (1160, "1000 MiB of it on the GPU")
    assert found["committed_peak"] == (1020, "1000 MiB of it on the GPU")


def test_nothing_known_is_no_figure() -> None:
    assert figures() == {}


def test_a_quality_run_s_memory_is_its_own_arrays_and_no_figure_of_the_model() -> None:
    for event in ("chunk", "window", "item"):
        assert figures(at("end", 160, 20), {"event": event, "t": 1}) == {}


def test_a_failed_run_has_no_figures() -> None:
    assert memory.measure(trace(at("end", 160, 20), ok=False)) == []


def test_page_faults_while_measuring_make_memory_invalid_too() -> None:
    warmup = {"event": "warmup", "t": S, "phase": "decode"}
    faults = [{**sample(majflt=n), "t": (2 + i) * S} for i, n in enumerate((0, 5000))]
    done = {"event": "decode", "t": 5 * S, "mode": "bench", "repetition": 0, "tokens": 1, "depth": 0, "seconds": 1.0}
    found = figures(warmup, *faults, done, at("end", 160, 20))
    assert all(remark.startswith("invalid:") for _, remark in found.values())
    assert len(found) == 2
