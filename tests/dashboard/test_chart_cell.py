"""The plot of one launch: what stands below what, and in which unit."""

from __future__ import annotations

from dashboard.charts import cell as chart
from dashboard.charts.cell import Timeline


def reading(name: str, *values: float) -> list[dict]:
    return [
        {"source": "proc", "name": name, "s": float(at), "mean": value, "least": value - 1, "most": value + 1, "n": 3}
        for at, value in enumerate(values)
    ]


def repetition(phase: str, began: float, finished: float, mode: str = "app", rate: float = 100.0) -> dict:
    return {"phase": phase, "mode": mode, "repetition": 0, "tokens": 8, "depth": 0, "seconds": finished - began,
            "began_s": began, "finished_s": finished, "tokens_per_s": rate}  # fmt: skip


TOKENS = [{"repetition": 0, "s": 0.6 + at / 10, "mean_ms": 10.0, "least_ms": 9.0, "most_ms": 14.0, "n": 4}
          for at in range(5)]  # fmt: skip
FULL = Timeline(
    readings=[*reading("rss_mib", 40, 41), *reading("cpu_c", 50, 51), *reading("cpu_mhz", 2400, 2300),
              *reading("package_0_uj", 0, 5e6, 11e6), *reading("load_1min", 1, 1)],
    repetitions=[repetition("prefill", 0.5, 0.55), repetition("decode", 0.55, 1.0)],
    tokens=TOKENS,
)  # fmt: skip


def titles(figure) -> list[str]:
    return [axis.title.text for axis in figure.select_yaxes()]


def test_panels_share_one_time_and_have_units() -> None:
    figure = chart.figure(FULL, "Q4_K_M")
    assert titles(figure) == [
        "time between tokens (ms)", "memory (MiB)", "temperature (°C)", "frequency (MHz)", "power (W)",
    ]  # fmt: skip
    axes = list(figure.select_xaxes())
    assert all(axis.matches == "x5" for axis in axes[:-1])
    assert axes[-1].title.text == "time since the first sample (s)"
    assert not chart.missing(FULL)


def test_a_counter_of_energy_is_shown_as_power() -> None:
    (line,) = chart.panels(FULL)["power"].values()
    assert [round(row["mean"], 3) for row in line] == [5.0, 6.0]


def test_repetitions_are_bands_and_the_first_token_is_marked() -> None:
    figure = chart.figure(FULL, "Q4_K_M")
    assert [(band.x0, band.x1) for band in figure.layout.shapes] == [(0.5, 0.55), (0.55, 1.0)]
    (first,) = [trace for trace in figure.data if trace.name == "first token (TTFT)"]
    assert (first.x, first.text) == ((0.55,), ("50.0 ms",))


def test_without_token_times_the_speed_of_each_repetition_is_shown() -> None:
    bench = Timeline(readings=[], repetitions=[repetition("prefill", 0, 1, "bench", 2000.0),
                                               repetition("decode", 1, 2, "bench", 20.0)], tokens=[])  # fmt: skip
    figure = chart.figure(bench, "Q4_K_M")
    assert titles(figure) == ["speed (tok/s), log"]
    assert chart.missing(bench) == ["memory", "temperature", "frequency", "power", "the time of each token"]


def test_markup_in_a_readings_name_is_shown_literally() -> None:
    figure = chart.figure(Timeline(readings=reading("<b>x</b>_c", 1, 2), repetitions=[], tokens=[]), "Q8_0")
    assert figure.data[-1].name == "&lt;b&gt;x&lt;/b&gt;_c"
