"""What a person asks for: a sweep, from a YAML file, the command line or a form."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quantfarm import axes, profiles, suites
from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Scalar

#: Parameters of `common` that have an option of their own.
ON_COMMAND_LINE = ("n_chunks", "threads", "n_prompt", "n_gen", "n_depth")
#: Fields of a request that the command line has an option for, besides `model`, `axes` and `common`.
OPTIONS = (
    *("quants", "devices", "tags", "runtimes", "suite", "launches", "text", "calibration", "tasks", "tasks_dir"),
    *("n_shot", "limit", "build_on", "limit_s", "priority", "notes", "fresh"),
)
#: Of these, what says nothing of how one of its variants was measured on one device.
OF_THE_SWEEP = ("tags", "build_on", "priority", "notes")
#: Empty, or the date of a night.
NIGHT = r"^(\d{4}-\d{2}-\d{2})?$"
DEFAULT_QUANTS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")


class Sweep(BaseModel):
    """A request; what is left out has a default that the plan shows."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = Field("reference", description="reference, a hub id, a folder or a .gguf file")
    quants: tuple[str, ...] = Field((), description="quantizations; empty: the seven usual ones, or the file's own")
    devices: tuple[str, ...] = Field((), description="device names; empty (and no tags): local")
    tags: tuple[str, ...] = Field((), description="devices that carry one of these tags")
    runtimes: tuple[str, ...] = Field((), description="runtimes to measure under; empty: each device's own")
    suite: str = Field("quick", description=", ".join(suites.SUITES))
    launches: int | None = Field(None, ge=1, le=1000, description="process launches of each speed cell")
    workloads: tuple[dict[str, Scalar], ...] = Field((), description="instead of a suite: kind and parameters of each")
    common: dict[str, Scalar] = Field(
        default_factory=dict[str, Scalar], description="parameters for every workload that has them"
    )
    axes: dict[str, tuple[Scalar, ...]] = Field(
        default_factory=dict[str, tuple[Scalar, ...]],
        description="parameters of speed workloads and the values to measure each at, in every combination",
    )
    text: Path | None = Field(None, description="text file for perplexity; none: the held-out reference corpus")
    calibration: Path | None = Field(
        None, description="text that quantizers learn from; none: the training part of the reference corpus"
    )
    tasks: tuple[str, ...] = Field(
        (), description="tasks of lm-eval (arc_easy, hellaswag, mmlu, …) and reference_cloze, …; empty: the suite's"
    )
    tasks_dir: Path | None = Field(None, description="folder of task files; none: from the hub")
    n_shot: int = Field(0, ge=0, le=64, description="worked examples before each question of a task")
    limit: int | None = Field(None, ge=1, description="items of each task; a figure of fewer than all says so")
    build_on: str = Field("", description="device or tag on which variants are made; empty: this machine")
    fresh: bool = Field(False, description="measure again what is there already")
    retries: int = Field(1, ge=0, le=10, description="further attempts after a retryable failure")
    limit_s: float | None = Field(None, gt=0, description="time limit of one cell in seconds; none: by kind")
    seed: int = Field(0, description="of the random order of cells")
    notes: str = ""
    night: str = Field("", description="ISO date: measure what was not yet measured for that night", pattern=NIGHT)
    priority: int = Field(0, ge=-10, le=10, description="who measures first where two wait for a device; nightly: -5")

    @field_validator("quants", "runtimes", "tasks", mode="after")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Each named once, in the order given."""
        return tuple(dict.fromkeys(names))

    @property
    def wanted_quants(self) -> tuple[str, ...]:
        """As given, else the suite's; none: the model's usual ones."""
        return self.quants or (() if self.workloads else suites.QUANTS.get(self.suite, ()))

    @property
    def wanted_runtimes(self) -> tuple[str, ...]:
        return self.runtimes or (() if self.workloads else suites.RUNTIMES.get(self.suite, ()))

    @property
    def wanted_tasks(self) -> tuple[str, ...]:
        return self.tasks or (() if self.workloads else suites.TASKS.get(self.suite, ()))

    @property
    def wanted_launches(self) -> int:
        return self.launches or (6 if self.workloads else suites.LAUNCHES[self.suite])


def command(sweep: Sweep, quant: str, device: str) -> str:
    """The command that measures one variant on one device again, as this sweep did.

    Workloads of a sweep file cannot be said in options: it then measures the suite's.
    """
    one = {"quants": (quant,), "devices": (device,), "launches": sweep.wanted_launches, "fresh": True}
    said = {"suite": sweep.suite, **_changed(sweep), **one}
    return _command(sweep, {name: said[name] for name in said if name not in OF_THE_SWEEP})


def same(sweep: Sweep) -> str:
    """The command that asks the same again, but for what `unsaid` names: what has landed is not measured twice."""
    return _command(sweep, _changed(sweep))


def unsaid(sweep: Sweep) -> list[str]:
    """What of a request no option of the command line says."""
    fields = [name for name in _changed(sweep) if name not in (*OPTIONS, "model", "axes", "common")]
    return fields + [f"common.{name}" for name in sweep.common if name not in ON_COMMAND_LINE]


def _changed(sweep: Sweep) -> dict[str, Any]:
    """Fields that are not as they are where nobody says anything."""
    usual = Sweep.model_validate({})
    given = {name: getattr(sweep, name) for name in Sweep.model_fields}
    return {name: value for name, value in given.items() if value != getattr(usual, name)}


def _command(sweep: Sweep, said: Mapping[str, Any]) -> str:
    options = [(name, said[name]) for name in OPTIONS if name in said]
    options += [(name, sweep.common[name]) for name in ON_COMMAND_LINE if sweep.common.get(name) is not None]
    options += [("axis", f"{name}={_text(values)}") for name, values in axes.checked(sweep.axes).items()]
    words = ["quantfarm", "sweep", "--model", sweep.model]
    for name, value in options:
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, _text(value)]
    return shlex.join(words)


def _text(value: object) -> str:
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def request(content: Mapping[str, Any], where: str) -> Sweep:
    """A checked request. Raises UsageError for unknown keys, suites, workload kinds and wrong values."""
    for key in content:
        if key not in Sweep.model_fields:
            raise unknown("key", key, Sweep.model_fields, where)
    try:
        sweep = Sweep.model_validate(dict(content))
    except ValidationError as error:
        raise UsageError(f"{where}: {profiles.describe(error)}") from error
    suites.suite(sweep.suite)
    for given in sweep.workloads:
        suites.workload(given, {}, where)
        if given.get("kind") == "tasks":  # what it asks must be there before it is planned
            raise UsageError(
                f"{where}: tasks are no workloads: name them under `tasks` (with n_shot, limit, tasks_dir)"
            )
    _known_common(sweep.common, where)
    return sweep


def _known_common(common: Mapping[str, Scalar], where: str) -> None:
    known = {key for defaults in suites.DEFAULTS.values() for key in defaults}
    for key in common:
        if key not in known:
            raise unknown("key", f"common.{key}", [f"common.{k}" for k in known], where)


def beside(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A file's own paths, which are relative to its folder, made absolute."""
    found = dict(content)
    for key in ("text", "calibration", "tasks_dir"):
        if found.get(key):
            found[key] = folder / Path(str(found[key])).expanduser()
    model = str(found.get("model", ""))
    if model.startswith((".", "~")) or model.endswith(".gguf"):
        found["model"] = str((folder / Path(model).expanduser()).resolve())
    return found


def read(path: Path, overrides: Mapping[str, Any]) -> Sweep:
    """A sweep file, with what the command line gave in place of what the file says. Raises UsageError."""
    content = beside(profiles.read_yaml(path), path.parent)
    if "night" in content:  # its cells would be taken for what a night of the watch list measured
        raise UsageError(f"{path}: `night` is set by the nightly run alone: `quantfarm nightly run --night DATE`")
    both = content | dict(overrides)
    if isinstance(common := content.get("common", {}), dict):  # what else it may be is refused with the rest
        both |= {"common": {**common, **overrides.get("common", {})}}
    else:
        both |= {"common": common}
    return request(both, str(path))
