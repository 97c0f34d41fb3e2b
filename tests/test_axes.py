"""Axes of a sweep: every combination is a workload of its own, and what cannot be is said before anything runs."""

from __future__ import annotations

import pytest

from quantfarm import axes, suites
from quantfarm.errors import UsageError
from quantfarm.nouns import Workload

BENCH = suites.workload({"kind": "bench"}, {})
APP = suites.workload({"kind": "app"}, {})
QUALITY = suites.workload({"kind": "quality"}, {})


def settings(works: tuple[Workload, ...], *names: str) -> list[tuple[object, ...]]:
    return [tuple(work.settings[name] for name in names) for work in works]


def test_every_combination_is_a_workload_and_nothing_else_changes() -> None:
    found = axes.expanded([BENCH], {"n_depth": [0, 4096], "threads": [1, 2]})
    assert settings(found, "n_depth", "threads") == [(0, 1), (0, 2), (4096, 1), (4096, 2)]
    for work in found:
        assert {**work.settings, "n_depth": 0, "threads": None} == BENCH.settings


def test_no_axes_leave_workloads_as_they_are() -> None:
    assert axes.expanded([BENCH, QUALITY], {}) == (BENCH, QUALITY)


def test_a_workload_without_the_parameter_is_measured_once() -> None:
    """app has no depth, and what a model answers does not depend on threads."""
    found = axes.expanded([BENCH, APP, QUALITY], {"n_depth": [0, 512]})
    assert [work.kind for work in found] == ["bench", "bench", "app", "quality"]
    assert axes.expanded([APP, QUALITY], {"threads": [1, 2]})[-1] == QUALITY


def test_a_value_given_twice_is_measured_once() -> None:
    assert settings(axes.expanded([BENCH], {"n_depth": [0, 8, 0]}), "n_depth") == [(0,), (8,)]


def test_on_and_off_are_what_yaml_makes_of_them() -> None:
    assert settings(axes.expanded([BENCH], {"flash_attn": [True, False]}), "flash_attn") == [("on",), ("off",)]


def test_one_value_need_not_be_a_list() -> None:
    assert settings(axes.expanded([BENCH], {"n_depth": 64}), "n_depth") == [(64,)]  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_deph": [1]}, "unknown axis 'n_deph': did you mean n_depth"),
        ({"n_depth": [-1]}, "axis n_depth: -1 is no whole number of at least 0"),
        ({"n_depth": ["deep"]}, "axis n_depth: 'deep' is no whole number"),
        ({"threads": [0]}, "axis threads: 0 is no whole number of at least 1"),
        ({"threads": [True]}, "axis threads: True is no whole number"),
        ({"threads": [2.5]}, "axis threads: 2.5 is no whole number"),
        ({"flash_attn": ["auto"]}, "unknown value of axis flash_attn 'auto'"),
        ({"type_k": ["q8"]}, "unknown value of axis type_k 'q8': did you mean q8_0"),
        ({"type_k": [None]}, "unknown value of axis type_k 'None'"),
        ({"n_depth": []}, "axis n_depth has no values"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, list[object]], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        axes.expanded([BENCH], wrong)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_an_axis_that_no_workload_has_is_a_mistake() -> None:
    with pytest.raises(
        UsageError, match=r"axis n_depth: no speed workload of this sweep has it \(its workloads: app\)"
    ):
        axes.expanded([APP], {"n_depth": [0]})
    with pytest.raises(UsageError, match="axis threads: no speed workload"):
        axes.expanded([QUALITY], {"threads": [1]})


def test_a_quantized_v_cache_needs_flash_attention_and_the_reason_is_said() -> None:
    with pytest.raises(UsageError, match=r"a quantized V cache \(q8_0\) needs flash attention"):
        axes.expanded([BENCH], {"type_v": ["q8_0"], "flash_attn": ["off"]})


def test_of_a_product_only_the_impossible_combination_is_an_obstacle() -> None:
    found = axes.expanded([BENCH], {"type_v": ["f16", "q8_0"], "flash_attn": ["on", "off"]})
    stopped = [work for work in found if axes.obstacle(work)]
    assert len(found) == 4
    assert settings(tuple(stopped), "type_v", "flash_attn") == [("q8_0", "off")]


def test_a_quantized_k_cache_does_without() -> None:
    (work,) = axes.expanded([BENCH], {"type_k": ["q8_0"], "flash_attn": ["off"]})
    assert axes.obstacle(work) == ""


def test_blocks_must_divide_a_head() -> None:
    (work,) = axes.expanded([BENCH], {"type_k": ["q4_0"]})
    assert axes.obstacle(work, head_dim=64) == ""
    assert (
        axes.obstacle(work, head_dim=48) == "type_k q4_0 has blocks of 32, which do not divide the model's heads of 48"
    )


def test_a_micro_batch_is_no_larger_than_the_batch() -> None:
    large, usual = axes.expanded([BENCH], {"n_batch": [256], "n_ubatch": [1024, 512]})
    assert axes.obstacle(large) == "n_ubatch 1024 is above n_batch 256: llama.cpp would use 256"
    assert axes.obstacle(usual) == ""


def test_axes_of_the_command_line() -> None:
    assert axes.read(["n_depth=0, 4096", "type_k=f16,q8_0"]) == {"n_depth": (0, 4096), "type_k": ("f16", "q8_0")}


@pytest.mark.parametrize("text", ["n_depth", "n_depth=", "n_depth=x", "depth=1"])
def test_axes_of_the_command_line_are_checked(text: str) -> None:
    with pytest.raises(UsageError):
        axes.read([text])


def test_an_axis_given_twice_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="given twice"):
        axes.read(["n_depth=0", "n_depth=1"])


def test_how_many_settings_it_makes_is_said() -> None:
    assert axes.count({"n_depth": [0, 1, 2], "threads": [1, 2]}) == (
        "n_depth 3 × threads 2 = 6 settings of each speed workload"
    )
    assert axes.count({}) == ""
