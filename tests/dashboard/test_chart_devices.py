"""The plots of a device: its canaries and its states."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard import theme
from dashboard.charts import devices as chart
from quantfarm.health import By, DeviceState, Transition
from storage.device_history import Canary


def canary(number: int, clean: bool = True, series: str = "a", ppl: float | None = 73.3) -> Canary:
    return Canary(
        number=number, happened_at=datetime(2026, 11, number), series=series, runtime="llama_cpp", build="<i>b1</i>",
        clean=clean, why="", bench_pp=2000.0, bench_tg=300.0, ppl=ppl,
    )  # fmt: skip


def test_speed_and_perplexity_stand_below_each_other_with_units() -> None:
    figure = chart.canaries([canary(1), canary(2, clean=False)])
    assert [axis.title.text for axis in figure.select_yaxes()] == ["token generation (tok/s)", "perplexity"]
    clean, bad = figure.data[:2]
    assert (clean.marker.symbol, bad.marker.symbol, bad.marker.color) == ("circle", "x", theme.BAD)
    assert "<i>" not in clean.text[0]


def test_where_a_device_has_no_perplexity_there_is_no_panel_for_it() -> None:
    figure = chart.canaries([canary(1, ppl=None)])
    assert [axis.title.text for axis in figure.select_yaxes()] == ["token generation (tok/s)"]


def test_another_series_begins_at_a_dashed_line() -> None:
    figure = chart.canaries([canary(1), canary(3, series="b")])
    assert {line.x0 for line in figure.layout.shapes} == {"2026-11-02T00:00:00"}


def test_a_state_lasts_until_the_next() -> None:
    rows = [
        Transition(device="d", before=None, to=DeviceState.REGISTERED, reason="added", by=By.PERSON,
                   at="2026-11-01T00:00:00+00:00"),
        Transition(device="d", before=DeviceState.REGISTERED, to=DeviceState.QUARANTINED, reason="<b>hot</b>",
                   by=By.PERSON, at="2026-11-03T00:00:00+00:00"),
    ]  # fmt: skip
    figure = chart.states(rows, datetime(2026, 11, 5, tzinfo=UTC))
    found = {trace.name: (trace.x[0][:10], trace.x[1][:10]) for trace in figure.data}
    assert found == {"registered": ("2026-11-01", "2026-11-03"), "quarantined": ("2026-11-03", "2026-11-05")}
    assert "<b>" not in figure.data[0].text[0]
    assert list(figure.layout.yaxis.categoryarray) == ["quarantined", "registered"]
