"""Heat and energy of a run, from its sensors' looks: only where they cover what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from quantfarm import metrics
from quantfarm.metrics import energy, faults, memory, thermal
from quantfarm.metrics.windows import Window, windows
from quantfarm.nouns import Measurement, Trace, metric_of
from quantfarm.sensors import pick

S = 10**9
Event = dict[str, Any]


def trace(*events: Event, backend: str = "CPU", ok: bool = True) -> Trace:
    begin = {"event": "begin", "t": 10 * S, "schema": 1}
    loaded = {"event": "loaded", "t": 11 * S, "backend": backend, "settings": {}, "model": {}}
    return Trace(events=(begin, loaded, *events, {"event": "end", "t": 900 * S, "ok": ok}))


def bench(repetition: int, began: float, seconds: float, tokens: int = 100, phase: str = "decode") -> Event:
    times = {"t": 800 * S, "seconds": seconds, "until": round((began + seconds) * S)}
    return {"event": phase, "mode": "bench", "repetition": repetition, "tokens": tokens, "depth": 0, **times}


def look(t: float, source: str = "hwmon", **values: float) -> Event:
    return {"event": "sample", "t": round(t * S), "source": source, "values": values}


def every_second(name: str, value: float | Any, began: int = 0, until: int = 100, **more: float) -> list[Event]:
    return [look(t, **{name: value(t) if callable(value) else value}, **more) for t in range(began, until)]


def one(found: list[Measurement], metric: str) -> Measurement:
    measurement = metric_of(found, metric)
    assert measurement
    return measurement


# ------------------------------------------------------------------ when a repetition was


def test_windows_of_bench_and_app() -> None:
    app: Event = {"event": "decode", "t": 90 * S, "mode": "app", "repetition": 0, "submit": 40 * S}
    app["times"] = [45 * S, 46 * S, 48 * S]
    prompt: Event = {"event": "prefill", "t": 90 * S, "mode": "app", "repetition": 0, "tokens": 64, "seconds": 5.0}
    found = trace(bench(1, 30, 2), bench(0, 20, 2), app, prompt, bench(0, 15, 1, phase="prefill"))
    assert windows(found, "decode") == [
        Window("decode", 20 * S, 22 * S, 100),
        Window("decode", 30 * S, 32 * S, 100),
        Window("decode", 45 * S, 48 * S, 2),
    ]
    assert windows(found, "prefill") == [
        Window("prefill", 15 * S, 16 * S, 100),
        Window("prefill", 40 * S, 45 * S, 64),
    ]


def test_a_tool_that_does_not_say_when_has_no_windows() -> None:
    silent = {name: value for name, value in bench(0, 20, 2).items() if name != "until"}
    assert windows(trace(silent), "decode") == []
    assert thermal.measure(trace(silent, *every_second("cpu_c", 50))) == []
    assert metric_of(energy.measure(trace(silent, *every_second("system_w", 5))), "energy_per_token") is None


# ------------------------------------------------------------------ heat


def test_temperature_at_the_start_and_its_greatest_while_measuring() -> None:
    heat = [look(19, x86_pkg_temp_c=40), look(25, x86_pkg_temp_c=71), look(29, x86_pkg_temp_c=68)]
    found = thermal.measure(trace(bench(0, 20, 10), *heat, look(31, x86_pkg_temp_c=99), look(2, x86_pkg_temp_c=90)))
    assert one(found, "temperature_start").value == 40
    hottest = one(found, "temperature_max")
    assert (hottest.value, hottest.unit, hottest.samples) == (71, "°C", (71, 68))
    assert hottest.remark == "reading: x86_pkg_temp_c"


def test_the_gpu_s_temperature_counts_where_the_gpu_works() -> None:
    looks = [look(21, x86_pkg_temp_c=40), look(22, source="nvidia_smi", gpu0_c=70)]
    for backend, hottest in (("CPU", 40), ("CUDA0", 70), ("Metal", 70)):
        found = thermal.measure(trace(bench(0, 20, 10), *looks, backend=backend))
        assert one(found, "temperature_max").value == hottest


def test_an_old_reading_is_not_the_temperature_at_the_start() -> None:
    found = thermal.measure(trace(bench(0, 20, 10), look(14, cpu_c=40), look(26, cpu_c=60)))
    assert [m.metric for m in found] == ["temperature_max"]


def test_throttling_is_the_share_of_looks_in_which_the_device_says_so() -> None:
    hot = [look(20 + t, source="vcgencmd", throttled_flag=float(t >= 3), throttled_since_boot_flag=1) for t in range(4)]
    found = one(thermal.measure(trace(bench(0, 20, 10), *hot)), "throttled")
    assert (found.value, found.unit, found.samples) == (25, "%", (0, 0, 0, 100))
    assert found.remark == "said by throttled_flag"


def test_a_hot_sensor_under_a_global_status_of_0_is_throttling() -> None:
    phone = [look(25, source="android_thermal", thermal_status_level=0, sensor_status_level=3)]
    found = one(thermal.measure(trace(bench(0, 20, 10), *phone)), "throttled")
    assert (found.value, found.remark) == (100, "said by sensor_status_level")


def test_a_clock_limit_that_falls_is_told() -> None:
    limits = [look(20 + t, source="cpufreq", policy4_limit_mhz=2367 - 200 * t) for t in range(3)]
    status = [look(20 + t, source="android_thermal", sensor_status_level=0) for t in range(3)]
    found = one(thermal.measure(trace(bench(0, 20, 10), *limits, *status)), "throttled")
    assert (found.value, found.remark) == (0, "policy4_limit_mhz lowered from 2367 to 1967")


def test_the_sampler_s_own_samples_are_no_sensors_and_the_other_way_round() -> None:
    """What the process used is memory's and the faults'; what the device read is heat's and energy's."""
    own = [look(20 + t, source="proc", rss_mib=5, hwm_mib=6, majflt=0, cpu_c=50) for t in range(9)]
    assert thermal.measure(trace(bench(0, 20, 10), *own)) == []
    sensors = every_second("system_w", 5, mem_used_mib=9000.0)
    assert memory.measure(trace(bench(0, 20, 10), *sensors)) == []
    assert faults.remark(trace({"event": "warmup", "t": 12 * S}, bench(0, 20, 10), *sensors)) == ""


# ------------------------------------------------------------------ energy


def test_energy_per_token_is_power_over_decode_by_tokens() -> None:
    """5 W at rest, 5 + 10 W in decode from 20 to 30 s: 150 J for 100 tokens, rest included."""
    found = energy.measure(trace(bench(0, 20, 10), *every_second("system_w", lambda t: 15 if 19 <= t <= 31 else 5)))
    per_token = one(found, "energy_per_token")
    assert per_token.value == pytest.approx(1.5)
    assert (per_token.unit, per_token.n, per_token.remark) == ("J/token", 1, "reading: system_w")
    assert one(found, "idle_power").value == pytest.approx(5)


def test_a_counter_s_difference_is_the_energy_and_its_wrap_is_counted() -> None:
    span = 1000e6  # µJ: at 20 W it wraps each 50 s

    def counter(t: int) -> float:
        return (20e6 * t) % span

    looks = every_second("package_0_uj", counter, package_0_range_uj=span)
    found = one(energy.measure(trace(bench(0, 45, 10), *looks)), "energy_per_token")
    assert found.value == pytest.approx(20 * 10 / 100)
    assert found.remark == "reading: package_0_uj"


def test_a_counter_that_goes_back_without_a_known_end_is_no_energy() -> None:
    looks = every_second("package_0_uj", lambda t: 20e6 * (t % 50))
    assert metric_of(energy.measure(trace(bench(0, 45, 10), *looks)), "energy_per_token") is None
    looks = every_second("package_0_uj", lambda t: 20e6 * t if t < 50 else 0, package_0_range_uj=262e15)
    assert metric_of(energy.measure(trace(bench(0, 45, 10), *looks)), "energy_per_token") is None


def test_each_repetition_is_one_value() -> None:
    looks = every_second("system_w", lambda t: 10 if t < 40 else 20)
    found = one(energy.measure(trace(bench(0, 20, 10), bench(1, 45, 10), *looks)), "energy_per_token")
    assert found.samples == pytest.approx((1.0, 2.0))
    assert found.value == pytest.approx(1.5)


def test_repetitions_too_short_for_a_look_a_second_count_together_if_back_to_back() -> None:
    short = [bench(n, 20 + 1.01 * n, 1.0) for n in range(10)]
    found = one(energy.measure(trace(*short, *every_second("system_w", 8))), "energy_per_token")
    assert found.value == pytest.approx(8 * (9 * 1.01 + 1) / 1000)
    assert found.remark == "reading: system_w; over 10 repetitions together"
    apart = [bench(n, 20 + 2 * n, 1.0) for n in range(10)]
    assert metric_of(energy.measure(trace(*apart, *every_second("system_w", 8))), "energy_per_token") is None


def test_samples_that_do_not_cover_the_time_are_no_energy() -> None:
    power = every_second("system_w", 8)
    for kept in (power[22:], power[:28], power[:23] + power[26:]):
        assert metric_of(energy.measure(trace(bench(0, 20, 10), *kept)), "energy_per_token") is None
    assert metric_of(energy.measure(trace(bench(0, 20, 10), *power[18:32])), "energy_per_token")
    assert metric_of(energy.measure(trace(bench(0, 20.2, 1.5), *power)), "energy_per_token") is None  # two samples


def test_the_gpu_s_power_counts_where_the_gpu_works_and_the_whole_device_s_before_both() -> None:
    both = [look(t, source="nvidia_smi", gpu0_w=200, package_0_uj=20e6 * t) for t in range(60)]
    cpu = one(energy.measure(trace(bench(0, 20, 10), *both)), "energy_per_token")
    gpu = one(energy.measure(trace(bench(0, 20, 10), *both, backend="CUDA0")), "energy_per_token")
    assert (cpu.remark, gpu.remark) == ("reading: package_0_uj", "reading: gpu0_w")
    phone = every_second("battery_w", 4, gpu0_w=1.0)
    assert one(energy.measure(trace(bench(0, 20, 10), *phone, backend="Vulkan0")), "energy_per_token").value == 0.4


def test_idle_power_is_that_before_the_run_began_and_never_taken_off() -> None:
    late = every_second("system_w", 8, began=12)
    found = energy.measure(trace(bench(0, 20, 10), *late))
    assert [m.metric for m in found] == ["energy_per_token"]


def test_a_failed_run_and_one_without_sensors_have_neither() -> None:
    looks = every_second("system_w", 8, cpu_c=50.0)
    failed = trace(bench(0, 20, 10), *looks, ok=False)
    assert thermal.measure(failed) == energy.measure(failed) == []
    bare = trace(bench(0, 20, 10))
    assert thermal.measure(bare) == energy.measure(bare) == []


def test_both_are_among_the_metrics_of_a_trace() -> None:
    found = metrics.measure(trace(bench(0, 20, 10), *every_second("system_w", 8, cpu_c=50.0)))
    assert {"bench_tg", "temperature_max", "energy_per_token", "idle_power"} <= {m.metric for m in found}


# ------------------------------------------------------------------ which reading stands for the device


@pytest.mark.parametrize(
    ("readings", "on_gpu", "picked"),
    [
        ("nvme_composite_c k10temp_tctl_c k10temp_tccd1_c", False, "k10temp_tctl_c"),
        ("coretemp_package_id_0_c coretemp_core_0_c acpitz_c", False, "coretemp_package_id_0_c"),
        ("cpu0_gold_usr_c skin_fps_therm_monitor_c battery_maxfg_c gpu0_usr_c", False, "skin_fps_therm_monitor_c"),
        ("cpu0_gold_usr_c gpu0_usr_c", True, "gpu0_usr_c"),
        ("gpu0_c x86_pkg_temp_c", True, "gpu0_c"),
        ("gpu0_c x86_pkg_temp_c", False, "x86_pkg_temp_c"),
        ("cpu_c tj_c soc0_c gpu_c", False, "tj_c"),
        ("soc_c", False, "soc_c"),
        ("iwlwifi_1_c nvme_composite_c", False, "iwlwifi_1_c"),
        ("cpu_mhz mem_total_mib", False, ""),
    ],
)
def test_the_reading_that_stands_for_a_device(readings: str, on_gpu: bool, picked: str) -> None:
    assert pick.temperature(dict.fromkeys(readings.split(), 30.0), on_gpu=on_gpu) == picked
