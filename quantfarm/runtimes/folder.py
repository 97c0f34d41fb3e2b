"""What the runtimes of Hugging Face folders share: their runner in its own environment, and what it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.nouns import Cell, DeviceProfile, Scalar, Trace
from quantfarm.quantizers import folder_of
from quantfarm.runtimes import events, serving
from quantfarm.runtimes.llama_cpp import PATHS, runner_file, sampled
from quantfarm.suites import CONTEXT
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements

RUNNERS = Path(__file__).resolve().parents[2] / "runners"
#: Parts of the runners, by name; each is pushed and loaded by its path.
SHARED = ("session", "scoring", "engine", "tokenizer", "speed", "quality", "tasks", "answering", "serving")
#: Kinds that tell of a model's quality: computed in float32, whatever the weights are stored in. The others compute
#: in the type that the model is published in.
PRECISE = frozenset({"quality", "rolling", "logits", "tasks"})


class FolderRuntime:
    """`package` is what its build is named for, `gpu` what the runner calls the device that `n_gpu_layers` means."""

    name: str
    formats: frozenset[str]
    workloads: frozenset[str]
    environment: str
    runner: Path
    package: str
    gpu: str

    def build(self) -> str:
        return environments.version_in(self.environment, requirements(self.runner), self.package)

    def files(self, cell: Cell) -> Mapping[str, Path]:
        found = {"runner": runner_file(self.runner.name), "sampler": runner_file("sampler.py")}
        found |= {f"shared/{name}": runner_file(f"shared/{name}.py") for name in SHARED}
        found |= serving.files(cell)
        if cell.workload.kind == "tasks":
            found["items"] = runner_file("task_items.py")
        if cell.workload.kind == "sustained":
            found["extension"] = runner_file("llama_cpp_sustained.py")
        if cell.variant.format == "rtn":
            found["quant_linear"] = runner_file("quant_linear.py")
        return found

    def command(self, cell: Cell, files: Mapping[str, str]) -> Sequence[str]:
        """`files`: `model/<name>` of each file of the folder, `text` and the like as of llama_cpp; on other machines
        also `python` and those of `files()`. Raises FarmError where the environment is not made."""
        files = {**{name: str(path) for name, path in self.files(cell).items()}, **files}
        python = files.get("python") or self._python()
        request = json.dumps(self.request(cell, files), ensure_ascii=True)
        watched = sampled(python, files) if cell.workload.kind != serving.KIND else []  # nothing is measured
        return [*watched, python, "-P", files["runner"], "--request", request]

    def _python(self) -> str:
        path = environments.made(self.environment, requirements(self.runner))
        if path is None:
            raise FarmError(f"the environment of {self.name} is not made: a sweep makes it")
        return str(environments.python_of(path))

    def request(self, cell: Cell, files: Mapping[str, str]) -> dict[str, object]:
        """What the runner is asked: the workload's parameters, what they mean for it, and the paths on the device."""
        settings: dict[str, Scalar] = {**CONTEXT, **_placed(cell.profile, cell.workload.settings)}
        settings.pop("canary", None)  # the farm's own
        paths = {name: files[name] for name in (*PATHS, "quant_linear") if name in files and name != "model"}
        model = folder_of(files, "model") or files["model"]
        device = self.gpu if settings["n_gpu_layers"] != 0 else "cpu"
        return {
            **settings,
            "kind": cell.workload.kind,
            "format": cell.variant.format,
            "device": device,
            "compute": self.compute(cell, device),
            **paths,
            "model": model,
            "shared": folder_of(files, "shared"),
            **serving.asked(cell, files),
        }

    def compute(self, cell: Cell, device: str) -> str:
        """What it computes in: "float32", or "model", the type that the model is published in."""
        del device
        return "float32" if cell.workload.kind in PRECISE else "model"

    def parse(self, lines: Iterable[str]) -> Trace:
        return events.parse(lines)


def _placed(profile: DeviceProfile, settings: dict[str, Scalar]) -> dict[str, Scalar]:
    """A workload that does not say where to compute (`batch`) is computed on the GPU where the device has one."""
    if "n_gpu_layers" in settings:
        return settings
    return {**settings, "n_gpu_layers": -1 if profile.accelerators else 0}
