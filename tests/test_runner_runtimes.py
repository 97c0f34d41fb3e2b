"""Runtimes build commands and know their own version; agents run them."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from quantfarm.errors import UsageError
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Variant, Workload
from quantfarm.runtimes import TABLE, runtime
from quantfarm.runtimes.llama_cpp import LlamaCpp, runner_file
from quantfarm.suites import DEFAULTS, workload
from tests import native


def cell(kind: str) -> Cell:
    recipe = Recipe(source="", quantizer="as_is", quant="F16")
    asked = workload({"kind": "quality" if kind == "logits" else kind, "threads": 1}, {})
    return Cell(
        profile=DeviceProfile(name="here"),
        variant=Variant(model="m", format="gguf", quant="F16", recipe=recipe),
        runtime="llama_cpp",
        build="",
        workload=Workload(kind=kind, parameters=asked.parameters),
    )


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_runtime_has_the_name_that_it_is_found_by(name: str) -> None:
    under = runtime(name)
    assert under.name == name
    assert under.formats
    assert under.workloads


@pytest.mark.parametrize("name", sorted(name for name in TABLE if not runtime(name).environment))
def test_a_runtime_s_build_names_the_version_installed(name: str) -> None:
    build = runtime(name).build()
    if name == "llama_native" and not build:
        native.lacking(f"not built: run `quantfarm toolchain build --for {native.PHONE}`")
    assert metadata.version("llama-cpp-python") in build


@pytest.mark.parametrize("kind", [*DEFAULTS, "logits"])
def test_the_runner_is_asked_everything_that_the_workload_says(kind: str) -> None:
    files = {"model": "/m.gguf", "text": "/t.txt", "base_logits": "/b.logits", "out": "/o.logits"}
    command = LlamaCpp().command(cell(kind), files)
    request = json.loads(command[-1])
    assert command[-2] == "--request"
    assert request.items() >= {**cell(kind).workload.settings, "kind": kind, "model": "/m.gguf"}.items()


def test_on_another_machine_the_paths_are_that_machine_s() -> None:
    files = {"model": "/m", "python": "/d/python", "runner": "/d/llama_cpp.py", "sampler": "/d/sampler.py"}
    command = list(LlamaCpp().command(cell("bench"), files))
    assert command[:6] == ["/d/python", "-P", "/d/sampler.py", "--hz", "10", "--"]
    assert command[6:9] == ["/d/python", "-P", "/d/llama_cpp.py"]


def test_a_runner_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match=r"no_such\.py"):
        runner_file("no_such.py")
