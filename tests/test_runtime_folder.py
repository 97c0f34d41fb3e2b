"""The runtimes of model folders: what their runners are asked, and which interpreter they run in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from agents import Agent, Exit
from flows import presence
from quantfarm import registration
from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Scalar, Variant, Workload, parameters
from quantfarm.runtimes import runtime
from quantfarm.suites import workload
from quantfarm.toolchain import environments
from tests.running import run
from tests.test_runner_llama_cpp import failed

NAMES = ("mlx", "transformers")
FILES = {"model/config.json": "/d/1", "model/model.safetensors": "/d/2", "python": "/d/python"}


def cell(name: str, kind: str, format: str = "hf", **more: Any) -> Cell:
    settings: dict[str, Scalar] = {"kind": kind, "threads": 1, **more.pop("settings", {})}
    asked = workload({**settings, "kind": "quality"} if kind == "logits" else settings, {})
    recipe = Recipe(source="", quantizer="as_is", quant="HF")
    return Cell(
        profile=DeviceProfile(name="here", **more),
        variant=Variant(model="m", format=format, quant="HF", recipe=recipe),
        runtime=name,
        build="",
        workload=Workload(kind=kind, parameters=asked.parameters),
    )


def request_of(one: Cell, files: dict[str, str] = FILES) -> dict[str, Any]:
    return json.loads(runtime(one.runtime).command(one, files)[-1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["bench", "app", "quality", "logits", "tasks", "rolling", "sustained"])
def test_the_runner_is_asked_everything_that_the_workload_says(name: str, kind: str) -> None:
    one = cell(name, kind)
    assert kind in runtime(name).workloads
    assert request_of(one).items() >= {**one.workload.settings, "kind": kind, "format": "hf", "device": "cpu"}.items()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_given_file_by_file_with_what_the_runner_loads_by_path(name: str) -> None:
    one = cell(name, "tasks")
    files = FILES | {key: f"/d/{i}" for i, key in enumerate(runtime(name).files(one))}
    asked = request_of(one, files)
    assert asked["model"] == {"config.json": "/d/1", "model.safetensors": "/d/2"}
    assert asked["shared"]["session"] == files["shared/session"]
    assert asked["items"] == files["items"]
    command = runtime(name).command(one, files)
    assert list(command[:3]) == ["/d/python", "-P", files["sampler"]]
    assert list(command[6:9]) == ["/d/python", "-P", files["runner"]]


def test_our_own_rounding_brings_its_layer() -> None:
    assert request_of(cell("transformers", "bench", format="rtn"))["quant_linear"].endswith("quant_linear.py")
    assert "quant_linear" not in request_of(cell("transformers", "bench"))


@pytest.mark.parametrize("name", NAMES)
def test_quality_is_computed_in_float32_and_speed_as_the_model_is_published(name: str) -> None:
    compute = {kind: request_of(cell(name, kind))["compute"] for kind in ("bench", "app", "quality", "logits", "tasks")}
    assert compute == {"bench": "model", "app": "model", "quality": "float32", "logits": "float32", "tasks": "float32"}


def test_on_a_cpu_mlx_s_quantized_layers_are_never_computed_in_half_precision() -> None:
    assert request_of(cell("mlx", "bench", format="mlx"))["compute"] == "float32"
    assert request_of(cell("mlx", "bench", format="mlx", settings={"n_gpu_layers": -1}))["compute"] == "model"


@pytest.mark.parametrize(("name", "gpu"), [("mlx", "gpu"), ("transformers", "cuda")])
def test_layers_on_a_gpu_are_all_of_them_on_the_runtime_s_own_kind(name: str, gpu: str) -> None:
    assert request_of(cell(name, "bench", settings={"n_gpu_layers": -1}))["device"] == gpu


def test_a_batch_is_computed_on_the_gpu_that_the_device_has() -> None:
    assert request_of(cell("transformers", "batch"))["device"] == "cpu"
    on = request_of(cell("transformers", "batch", accelerators=("NVIDIA A10G, 23028 MiB",)))
    assert (on["device"], on["n_gpu_layers"]) == ("cuda", -1)


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_that_is_not_made_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "made", lambda *_: None)
    assert runtime(name).build() == ""
    with pytest.raises(FarmError, match=f"the environment of {name} is not made"):
        runtime(name).command(cell(name, "bench"), {"model/config.json": "/d/1"})


@pytest.mark.parametrize("name", NAMES)
def test_a_runner_whose_parts_are_not_there_says_so(name: str) -> None:
    """Under any Python: it comes before everything that it needs."""
    asked = {"kind": "bench", "model": "/m", "shared": {"session": "/nowhere/session.py"}}
    ran = run([sys.executable, "-P", str(runtime(name).runner), "--request", json.dumps(asked)])
    assert [event["event"] for event in ran.events] == ["begin", "end"]
    assert "/nowhere/session.py" in failed(ran)["error"]


# --- registration ---


@dataclass
class Device:
    """An agent of a device whose Pythons have these packages."""

    profile: DeviceProfile
    pythons: dict[str, dict[str, str]]
    asked: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], *, on_line: Callable[[str], None], **_: Any) -> Exit:
        self.asked.append(command[0])
        if command[0] in self.pythons:
            found = {name: self.pythons[command[0]].get(name, "") for name in command[3:]}
            on_line(json.dumps({"python": "3.12.1", "packages": found}))
        return Exit(code=0)


MLX = {"mlx-lm": "0.33.1", "numpy": "2.4"}
TORCH = {"torch": "2.8.0+cu128", "transformers": "5.1", "accelerate": "1.12", "compressed-tensors": "0.15"}
TORCH |= {"bitsandbytes": "0.50", "safetensors": "0.7", "numpy": "2.3"}


def mac(**options: Scalar) -> DeviceProfile:
    return DeviceProfile(name="mac", kind="ssh", platform="macos-arm64", options=parameters(options))


def found(device: Device, make: presence.Make | None = None) -> presence.Found:
    tools = {"python3": {"path": "/usr/bin/python3", "venv": True}}
    recipe = Recipe(source="", quantizer="as_is", quant="F16")
    variant = Variant(model="m", format="gguf", quant="F16", recipe=recipe)
    return presence.find(cast("Agent", device), device.profile, variant, tools, make)


def test_a_mac_with_mlx_lm_in_its_python_can_be_measured_under_mlx() -> None:
    there = found(Device(mac(), {"/usr/bin/python3": MLX}))
    assert there.builds["mlx"] == "mlx-lm 0.33.1"
    assert there.options["python_mlx"] == "/usr/bin/python3"
    assert "transformers" not in there.runtimes


def test_each_runtime_may_have_a_python_of_its_own() -> None:
    own = mac(python="/a/python", python_mlx="/b/python", python_transformers="/c/python")
    pythons = {"/a/python": {"llama-cpp-python": "0.3.36"}, "/b/python": MLX, "/c/python": TORCH}
    there = found(Device(own, pythons))
    assert there.builds["transformers"] == "transformers 5.1"  # whatever PyTorch that device has
    assert there.builds["mlx"] == "mlx-lm 0.33.1"
    assert dict(there.options) == {name: str(path) for name, path in own.options}


def test_an_environment_is_made_for_what_a_device_is_for_and_for_nothing_else() -> None:
    made: list[str] = []

    def make(under: Any, needs: registration.Needs) -> str:
        made.append(under.name)
        assert any("mlx-lm" in line for line in needs.requirements) == (under.name == "mlx")
        return "/made"

    device = Device(mac(), {"/made": MLX | {"llama-cpp-python": "0.3.36"}})
    there = found(device, make)
    assert set(made) == {"llama_cpp", "mlx"}
    assert there.options == {"python": "/made", "python_mlx": "/made"}
    lacks = {one.runtime: one.lacks for one in there.presences}
    assert "--option python_transformers=PATH" in lacks["transformers"]


def test_on_this_machine_a_runtime_s_interpreter_is_that_of_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "made", lambda *_: tmp_path)
    here = Device(DeviceProfile(name="here", kind="local"), {str(environments.python_of(tmp_path)): MLX})
    there = found(here)
    assert there.builds["mlx"] == "mlx-lm 0.33.1"
    assert "python_mlx" not in there.options  # found again whenever it is needed


def test_what_a_runner_needs_of_an_exact_version_any_version_will_do() -> None:
    needs = registration.needs(runtime("transformers").runner)
    assert needs.packages["torch"] == ""
    assert needs.packages["transformers"] == "5.0"
    assert "torch==2.13.0" in needs.requirements
