"""Quality figures are llama-perplexity's, worked by hand here; against the tool itself in test_method_checks."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantfarm.metrics import quality
from quantfarm.metrics.quality import median32, percentile32
from quantfarm.nouns import Trace, metric_of


def trace(*chunks: dict[str, Any], n_chunks: int | None = None, size: int = 0, ok: bool = True) -> Trace:
    tokens = {"event": "tokens", "t": 1, "n_chunks": len(chunks) if n_chunks is None else n_chunks, "bytes": size}
    return Trace(events=({"event": "begin", "t": 0, "schema": 1}, tokens, *chunks, {"event": "end", "t": 9, "ok": ok}))


def chunk(nll: list[float], **more: Any) -> dict[str, Any]:
    return {"event": "chunk", "t": 2, "index": 0, "n": len(nll), "nll": nll, **more}


def value(found: Trace, metric: str) -> float:
    measured = metric_of(quality.measure(found), metric)
    assert measured
    return measured.value


def test_perplexity_is_the_exponential_of_the_mean_over_all_tokens() -> None:
    assert value(trace(chunk([1.0, 2.0]), chunk([3.0, 6.0])), "ppl") == pytest.approx(math.exp(3))


def test_its_interval_is_two_standard_errors_of_the_tool_s() -> None:
    """SE = PPL · sqrt((E[x²] - E[x]²) / (n - 1)): for twelve tokens at 1 and 3, PPL · sqrt(1/11)."""
    measured = metric_of(quality.measure(trace(chunk([1.0, 3.0] * 6))), "ppl")
    assert measured and measured.low is not None and measured.high is not None
    error = math.exp(2) * math.sqrt(1 / 11)
    assert measured.low == pytest.approx(math.exp(2) - 1.96 * error)
    assert measured.high == pytest.approx(math.exp(2) + 1.96 * error)
    assert measured.n == 12


def test_its_samples_are_the_mean_nll_of_each_chunk() -> None:
    measured = metric_of(quality.measure(trace(chunk([1.0, 2.0]), chunk([3.0]))), "ppl")
    assert measured
    assert measured.samples == (1.5, 3.0)


def test_bits_per_byte_are_all_nats_in_bits_over_the_bytes() -> None:
    found = trace(chunk([math.log(2)] * 8), size=4)
    assert value(found, "bits_per_byte") == pytest.approx(2)


def test_divergence_is_reported_with_a_base_only() -> None:
    assert {m.metric for m in quality.measure(trace(chunk([1.0])))} == {"ppl"}


def test_divergence_figures() -> None:
    base = {"kld": [0.0, 0.1, 0.2, 0.5], "dp": [0.3, -0.4, 0.0, 0.0], "same_top": 3, "nll_base": [1.0] * 4}
    found = trace(chunk([1.0] * 4, **base))
    assert value(found, "kld_mean") == pytest.approx(0.2)
    assert value(found, "kld_median") == pytest.approx(0.15)
    assert value(found, "kld_max") == pytest.approx(0.5)
    assert value(found, "kld_p999") == pytest.approx(0.2 + 0.3 * (0.999 * 3 - 2))
    assert value(found, "same_top") == 75
    assert value(found, "rms_dp") == pytest.approx(100 * math.sqrt(0.25 / 4))


def test_equal_models_have_no_difference_and_no_error_in_it() -> None:
    base = {"kld": [0.0] * 20, "dp": [0.0] * 20, "same_top": 20, "nll_base": [1.0] * 20}
    measured = {m.metric: m for m in quality.measure(trace(chunk([1.0] * 20, **base)))}
    assert (measured["rms_dp"].low, measured["rms_dp"].value, measured["rms_dp"].high) == (0, 0, 0)
    assert measured["same_top"].value == 100


def test_missing_chunks_are_no_figure_of_the_whole() -> None:
    assert quality.measure(trace(chunk([1.0]), n_chunks=2)) == []


def test_a_failed_run_has_no_figures() -> None:
    assert quality.measure(trace(chunk([1.0]), ok=False)) == []


figures = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=200)


@given(figures, st.floats(0, 1))
def test_a_percentile_lies_among_its_values_and_near_numpy_s(values: list[float], fraction: float) -> None:
    x = np.asarray(values)
    found = percentile32(x, fraction)
    assert x.min() - 1e-4 <= found <= x.max() + 1e-4
    spread = float(x.max() - x.min())
    assert found == pytest.approx(float(np.quantile(x, fraction)), abs=1e-4 * (1 + spread))


@given(figures)
def test_the_median_is_the_middle_whatever_the_order(values: list[float]) -> None:
    mixed = list(values)
    random.Random(0).shuffle(mixed)
    assert median32(np.asarray(mixed)) == median32(np.asarray(values))
    assert median32(np.asarray(values)) == pytest.approx(float(np.median(values)), abs=1e-5)
