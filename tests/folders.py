"""Running the runners of model folders, in the environments that they declare."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from quantfarm.runtimes import runtime
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from tests.running import CONTEXT, ROOT, Ran, run

#: The reference model as it is published.
MODEL = ROOT / "reference_model" / "model"
SHARED = ROOT / "runners" / "shared"


@functools.cache
def python(name: str) -> Path:
    """The interpreter of a runtime's environment, which is made the first time (minutes)."""
    under = runtime(name)
    return environments.python_of(environments.environment(under.environment, requirements(under.runner)))


def files(folder: Path) -> dict[str, str]:
    """A model's folder as a device has it: its files by their names, wherever they lie."""
    return {path.name: str(path) for path in sorted(folder.iterdir())}


def command(name: str, kind: str, model: object = MODEL, /, **parameters: Any) -> list[str]:
    """The command of a runtime for a request. A parameter of ... is left out."""
    request: dict[str, Any] = {**CONTEXT, "device": "cpu", "compute": "model", "kind": kind}
    request["model"] = files(model) if isinstance(model, Path) and model.is_dir() else model
    request |= {key: str(value) if isinstance(value, Path) else value for key, value in parameters.items()}
    request = {key: value for key, value in request.items() if value is not ...}
    return [str(python(name)), "-P", str(runtime(name).runner), "--request", json.dumps(request, default=str)]


def ran(name: str, kind: str, model: object = MODEL, /, **parameters: Any) -> Ran:
    return run(command(name, kind, model, **parameters))


def good(name: str, kind: str, model: object = MODEL, /, **parameters: Any) -> Ran:
    done = ran(name, kind, model, **parameters)
    assert done.end["ok"], (done.end, done.stderr[-2000:])
    return done


def changed(folder: Path, out: Path, **config: Any) -> Path:
    """A copy of a model's folder by links, its config.json with these values."""
    out.mkdir()
    for path in folder.iterdir():
        if path.name != "config.json":
            (out / path.name).symlink_to(path)
    (out / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | config))
    return out
