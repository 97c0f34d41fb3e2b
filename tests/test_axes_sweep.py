"""Axes as a user gives them: planned, refused before anything runs, measured, and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantfarm import axes
from quantfarm.report.axes_table import along, section
from storage.axes import points
from storage.home import Home
from storage.reading import Reader
from tests.running import llama_cpp, run
from tests.sweeping import counts, quantfarm

SMALL = ("--devices", "fake-laptop", "--quants", "Q8_0", "--suite", "speed", "--launches", "1", "-p", "8", "-n", "8")


def test_the_plan_shows_every_combination_and_why_one_cannot_be(home: Path) -> None:
    asked = ("plan", *SMALL, "--axis", "flash_attn=on,off", "--axis", "type_v=f16,q8_0")
    plan = json.loads(quantfarm(*asked, "--json"))
    labels = {cell["workload"] for cell in plan["cells"]}
    assert labels == {f"{one}{mark}" for one in ("bench pp8 tg8", "app p8 n8") for mark in ("", " fa-off", " v-q8_0")}
    assert {skip["workload"] for skip in plan["skips"]} == {"bench pp8 tg8 fa-off v-q8_0", "app p8 n8 fa-off v-q8_0"}
    assert all("needs flash attention" in skip["reason"] for skip in plan["skips"])
    assert "axes: flash_attn 2 × type_v 2 = 4 settings of each speed workload" in quantfarm(*asked)
    assert not home.exists()


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("n_deep=1", "did you mean n_depth"),
        ("n_depth=far", "no whole number"),
        ("type_v=q8_0", ""),
    ],
)
def test_a_mistake_in_an_axis_is_told_before_anything_runs(home: Path, axis: str, said: str) -> None:
    asked = ("plan", *SMALL, "--axis", axis)
    if said:
        assert said in quantfarm(*asked, code=2)
    else:
        assert "v-q8_0" in quantfarm(*asked)
        assert "needs flash attention" in quantfarm(*asked, "--axis", "flash_attn=off", code=2)


def test_what_the_plan_refuses_llama_cpp_refuses_too(reference: Path) -> None:
    """Else the plan would forbid what can be."""
    sizes = {"n_prompt": 8, "n_gen": 4, "n_depth": 0, "repetitions": 1}
    refused = run(llama_cpp("bench", reference, **sizes, type_v="q8_0", flash_attn="off"))
    assert (refused.end["ok"], refused.end["stage"]) == (False, "load")
    assert "flash_attn" in refused.end["error"]
    for cache_type, block in axes.CACHE_TYPES.items():
        ran = run(llama_cpp("bench", reference, **sizes, type_k=cache_type, flash_attn="off"))
        assert ran.end["ok"], (cache_type, block, ran.end)


def test_a_real_sweep_along_an_axis_gives_a_table(home: Path, prefect_server: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(
        "quants: [F16]\nlaunches: 2\ncommon: {threads: 1}\naxes: {n_depth: [0, 64]}\n"
        "workloads: [{kind: bench, n_prompt: 8, n_gen: 8, repetitions: 2}]\n"
    )
    assert counts(str(file))["ok"] == 4
    with Reader(Home(home)) as reader:
        (axis,) = along(points(reader, {}))
    assert (axis.parameter, axis.values, axis.device) == ("n_depth", (0, 64), "local")
    assert {row.metric for row in axis.rows} == {"bench_pp", "bench_tg", "resident_peak"}
    assert {len(point.values) for row in axis.rows for point in row.points.values()} == {2}
    assert "| **F16** | token generation (tok/s) |" in section(axis)
