"""Speculative decoding as a user asks for it: the draft is another quantization, made where it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sweeping import counts, landings, quantfarm

SMALL = "{kind: speculative, n_draft: 4, n_prompt: 8, n_gen: 24, repetitions: 6%s}"


def sweep(folder: Path, quants: str = "F16", more: str = "") -> str:
    file = folder / "speculative.yaml"
    file.write_text(f"quants: [{quants}]\nlaunches: 1\ncommon: {{threads: 1}}\nworkloads: [{SMALL % more}]\n")
    return str(file)


def test_a_sweep_makes_the_draft_and_says_what_it_gains(home: Path, prefect_server: str, tmp_path: Path) -> None:
    assert counts(sweep(tmp_path))["ok"] == 1
    rows = {row["metric"]: row for row in json.loads(quantfarm("results", "--json"))}
    speed_up = rows["speed_up"]
    assert speed_up["variant"] == "F16"
    assert 0 < speed_up["low"] <= speed_up["value"] <= speed_up["high"]
    assert 0 < rows["acceptance_rate"]["value"] <= 100
    assert rows["same_text"]["value"] > 0
    assert "decode_tps" not in rows
    (landed,) = landings(home).all()
    assert landed.cell.workload.label == "speculative Q4_0 × 4"


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        ("MLX-4", "its draft MLX-4 is mlx, the model is gguf"),
        ("IQ4_XS+imatrix", "is made with a calibration text"),
    ],
)
def test_a_draft_that_cannot_be_one_is_a_skip_that_says_why(home: Path, tmp_path: Path, draft: str, said: str) -> None:
    plan = json.loads(quantfarm("plan", sweep(tmp_path, more=f", draft: {draft}"), "--json"))
    assert not plan["cells"]
    assert said in plan["skips"][0]["reason"]


def test_an_unknown_draft_is_a_mistake(home: Path, tmp_path: Path) -> None:
    assert "unknown quant 'Q4_X'" in quantfarm("plan", sweep(tmp_path, more=", draft: Q4_X"), code=2)
