"""What a runtime's process holds with almost no model in it: measured once for each build on this machine, and kept.

A model of one layer and 32 words is run as any other is; what its weights, cache and activations need is taken off.
Runtimes of Hugging Face folders run the reference model, as it was published; where a format has a library of its own,
what that adds to such a process is measured too.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from agents import agent
from flows import devices, environments
from flows.fits import asking
from quantfarm import models, suites
from quantfarm.errors import FarmError
from quantfarm.memory_model import compute, contexts
from quantfarm.memory_model.parts import MIB
from quantfarm.metrics.memory import measure
from quantfarm.models import folder
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Trace, Variant, Workload, digest, metric_of
from quantfarm.runtimes import TABLE, runtime
from storage import atomic, contents
from storage.home import Home

LAUNCHES = 3
#: Of a runtime that takes many seconds to start.
LAUNCHES_SLOW = 1
#: Of the file's name: another way of measuring is another file.
WAY = 1
LIMIT_S = 120.0
#: Format of a folder -> the library that a runtime loads for it alone.
OWN_LIBRARY = {"bnb": "bitsandbytes", "compressed-tensors": "compressed_tensors"}
#: Prints by how many MiB a process that holds a model grows with a library. Linux alone says how many it holds.
GROWTH = """
import importlib, sys
from transformers import AutoModelForCausalLM
def held():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
before = held()
importlib.import_module(sys.argv[2])
print((held() - before) / 1024)
"""
#: Few tokens: what they need is a tenth of a MiB. Enough of them that a sampler has seen the process.
SIZES = {"kind": "bench", "n_prompt": 16, "n_gen": 16, "repetitions": 3, "threads": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """`mib` resident without a model, the median of `launches`; `rearranged`: types that llama.cpp keeps a second
    copy of on this machine."""

    runtime: str
    build: str
    mib: float
    launches: tuple[float, ...]
    rearranged: tuple[str, ...]
    measured_at: str


def of(home: Home, name: str, form: str = "") -> Process:
    """As it is kept, or measured now, of a runtime that reads a format. Raises FarmError where it cannot be."""
    here, under = devices.known(home)[devices.LOCAL], runtime(name)
    library = OWN_LIBRARY.get(form, "") if sys.platform == "linux" else ""
    asked = [WAY, name, under.build(), here.chip, here.platform, here.cores, *([library] if library else [])]
    path = home.folder("fits") / f"{digest(asked)}.json"
    if known := _kept(path):
        return known
    if library:
        found, more = of(home, name), _growth(here, name, library)
        found = replace(found, mib=found.mib + more, launches=tuple(one + more for one in found.launches))
    else:
        found = _measured(home, here, name)
    atomic.write_atomic(path, json.dumps(asdict(found)).encode())
    return found


def _kept(path: Path) -> Process | None:
    try:
        content = json.loads(path.read_bytes())
        return Process(**content | {key: tuple(content[key]) for key in ("launches", "rearranged")})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def reader_of(format: str) -> str:
    """The first runtime that reads a format and is installed here; empty where none is."""
    return next((name for name in TABLE if format in (one := runtime(name)).formats and one.build()), "")


def _measured(home: Home, here: DeviceProfile, name: str) -> Process:
    if "gguf" not in runtime(name).formats:
        return _of_folders(here, name)
    probe = asking.ask(home, {"kind": "probe", "out": str(home.folder("fits"))}, "probe").first("result")
    work = suites.workload(SIZES, {})
    model = Path(probe["model"])
    try:
        besides = _besides(home, model, work)
        peaks = [_peak(here, name, work, model) - besides for _ in range(LAUNCHES)]
    finally:
        model.unlink(missing_ok=True)
    return Process(
        runtime=name,
        build=runtime(name).build(),
        mib=statistics.median(peaks),
        launches=tuple(peaks),
        rearranged=tuple(probe["repacked"]),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _besides(home: Home, model: Path, work: Workload) -> float:
    """MiB of the probe's own weights, cache and activations."""
    uses = contexts.uses(work)
    said = asking.buffers(home, model, [use.context for use in uses])
    each = [
        said.buffers[use.context].kv + compute.resident(use, said.shape, "F16", said.buffers[use.context].compute)
        for use in uses
    ]
    return max(each) + model.stat().st_size / MIB + said.held


def _of_folders(here: DeviceProfile, name: str) -> Process:
    """Activations of sixteen tokens and their cache are a fraction of a MiB: only the weights are taken off."""
    work, model = suites.workload(SIZES, {}), models.REFERENCE_FOLDER
    weights = folder.described(model)["facts"]["tensor_bytes"] / MIB
    peaks = tuple(_peak(here, name, work, model) - weights for _ in range(LAUNCHES_SLOW))
    return Process(
        runtime=name,
        build=runtime(name).build(),
        mib=statistics.median(peaks),
        launches=peaks,
        rearranged=(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _growth(here: DeviceProfile, name: str, library: str) -> float:
    """MiB that a library adds to a runtime's process. Raises FarmError."""
    python, lines = environments.python(runtime(name)), list[str]()
    command = [str(python), "-P", "-c", GROWTH, str(models.REFERENCE_FOLDER), library]
    left = agent(here).run(command, on_line=lines.append, limit_s=LIMIT_S)
    try:
        return float(lines[-1])
    except (IndexError, ValueError):
        why = left.reason or left.stderr.strip()[-300:]
        raise FarmError(f"what {library} adds to {name}'s process could not be measured: {why}") from None


def _peak(here: DeviceProfile, name: str, work: Workload, model: Path) -> float:
    """MiB of one launch. Raises FarmError."""
    under = runtime(name)
    recipe = Recipe(source="probe", quantizer="as_is", quant="F16" if model.is_file() else "HF")
    kind = "gguf" if model.is_file() else "hf"
    variant = Variant(model="probe", format=kind, quant=recipe.quant, recipe=recipe)
    cell = Cell(profile=here, variant=variant, runtime=name, build=under.build(), workload=work)
    files: dict[str, str] = {key: str(path) for key, path in under.files(cell).items()}
    files |= {key: str(path) for key, path in contents.named(model, "model").items()}
    if python := environments.python(under):
        files["python"] = str(python)
    lines: list[str] = []
    left = agent(here).run(under.command(cell, files), on_line=lines.append, limit_s=LIMIT_S)
    try:
        trace = under.parse(lines)
    except ValueError:  # it was over before it said anything
        trace = Trace(events=())
    found = metric_of(measure(trace), "resident_peak") if trace.finished else None
    if found is None:
        why = trace.first("end").get("error") or left.reason or left.stderr.strip()[-300:] or "it said no memory"
        raise FarmError(f"what {name}'s process holds could not be measured: {why}")
    return found.value
