"""The commands that a sweep offers to type: they ask what it asked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import request
from quantfarm import sweeps
from quantfarm.sweeps import Sweep

#: A value for every field that has an option.
SAID: dict[str, Any] = {
    "model": "/models/a b.gguf",
    "quants": ("F16", "Q4_K_M+imatrix"),
    "devices": ("desk", "phone"),
    "tags": ("lab", "phones"),
    "runtimes": ("llama_cpp", "llama_bench"),
    "suite": "full",
    "launches": 3,
    "text": Path("/texts/my text.txt"),
    "calibration": Path("/texts/learn.txt"),
    "tasks": ("arc_easy", "mmlu"),
    "tasks_dir": Path("/tasks"),
    "n_shot": 5,
    "limit": 100,
    "build_on": "desk",
    "limit_s": 90.5,
    "priority": -2,
    "notes": "it's for Ann; $HOME",
    "fresh": True,
    "axes": {"n_depth": (0, 4096), "flash_attn": ("on", "off")},
    "common": {"n_chunks": 4, "threads": 1, "n_prompt": 64, "n_gen": 32, "n_depth": 0},
}
UNSAID: dict[str, Any] = {
    "workloads": ({"kind": "bench", "n_prompt": 64, "n_gen": 16},),
    "retries": 3,
    "seed": 7,
    "night": "2026-11-30",
}


def understood(command: str) -> Sweep:
    """What the command line makes of a command."""
    asked: list[Sweep] = []
    app = typer.Typer()
    app.command()(request.command(lambda sweep, _: asked.append(sweep)))
    words = shlex.split(command)
    assert words[:2] == ["quantfarm", "sweep"]
    done = CliRunner().invoke(app, words[2:])
    assert done.exit_code == 0, done.output
    return asked[0]


def test_what_asks_the_same_says_every_field_that_has_an_option() -> None:
    asked = Sweep.model_validate(SAID)
    assert set(SAID) | set(UNSAID) == set(Sweep.model_fields), "a new field is said, or told as one that is not"
    assert understood(sweeps.same(asked)) == asked
    assert sweeps.unsaid(asked) == []


@pytest.mark.parametrize("name", [name for name in SAID if name != "model"])
def test_each_field_alone_is_said(name: str) -> None:
    asked = Sweep.model_validate({name: SAID[name]})
    assert understood(sweeps.same(asked)) == asked


def test_what_nobody_asked_for_is_not_said() -> None:
    assert sweeps.same(Sweep.model_validate({})) == "quantfarm sweep --model reference"


def test_what_no_option_says_is_named() -> None:
    asked = Sweep.model_validate({**UNSAID, "common": {"n_batch": 256, "n_gen": 8}})
    assert sweeps.unsaid(asked) == ["workloads", "retries", "seed", "night", "common.n_batch"]
    assert understood(sweeps.same(asked)) == Sweep.model_validate({"common": {"n_gen": 8}})


def test_what_measures_one_variant_on_one_device_again_says_how_it_was_measured() -> None:
    again = understood(sweeps.command(Sweep.model_validate({**SAID, "fresh": False}), "Q4_K_M+imatrix", "phone"))
    one = {"quants": ("Q4_K_M+imatrix",), "devices": ("phone",), "fresh": True}
    of_the_sweep = {"tags": (), "build_on": "", "priority": 0, "notes": ""}
    assert again == Sweep.model_validate({**SAID, **one, **of_the_sweep})


def test_the_launches_of_a_suite_are_said_where_one_variant_is_measured_again() -> None:
    again = understood(sweeps.command(Sweep.model_validate({"suite": "full"}), "Q8_0", "local"))
    assert (again.suite, again.launches) == ("full", Sweep.model_validate({"suite": "full"}).wanted_launches)
