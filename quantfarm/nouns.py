"""The nouns of the farm: frozen, typed, and free of every tool that handles them.

Ids are hashes of what a thing *is* (canonical JSON, sha256, first 16 hex digits), so the
same question has the same id for ever, on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from quantfarm.marks import marks

#: A JSON scalar: what a parameter of a recipe or workload may be.
Scalar = str | int | float | bool | None
#: Parameters as sorted pairs: hashable, and equal when the same whatever the order given.
Parameters = tuple[tuple[str, Scalar], ...]


def parameters(given: Mapping[str, Scalar] | None = None, /, **named: Scalar) -> Parameters:
    """Sorted pairs of all given parameters; `None` values are kept (they mean "the default")."""
    return tuple(sorted({**(given or {}), **named}.items()))


def digest(thing: object) -> str:
    """16 hex digits of the sha256 of a thing's canonical JSON."""
    text = json.dumps(thing, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a device must not exceed. Memory in MiB, temperature in °C; None: not limited."""

    memory_mib: int | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What a device's sensors read at rest: what its start gate compares with (METHOD §4)."""

    temperature_c: float | None = None
    reading: str = ""  # the name of the reading that the temperature is of, e.g. "x86_pkg_temp_c"
    power_w: float | None = None
    measured_at: str = ""  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A fencing token: which holding of a device's lease this is.

    `count` grows by one with each holding; tokens are compared within a `lineage` alone
    (a device that lost its lease file begins a new one).
    """

    lineage: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """Facts about a device; what can be done with it is an agent's business.

    `simulated` devices (agent kind "fake") and `template` profiles are never shown as measured.
    """

    name: str
    kind: str = "local"  # a name in the agents' table
    address: str = ""
    platform: str = ""  # system-architecture: linux-x86_64, linux-arm64, android-arm64, macos-arm64, …
    os: str = ""
    chip: str = ""
    cores: int = 1  # physical
    memory_mib: int = 0
    accelerators: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    missing: Parameters = ()  # sensor -> why it cannot be read here
    runtimes: tuple[str, ...] = ()
    builds: Parameters = ()  # runtime -> the build that the device has: "llama-cpp-python 0.3.36"
    idle: Idle | None = None
    limits: Limits = field(default_factory=Limits)
    targets: Parameters = ()
    tags: tuple[str, ...] = ()
    simulated: bool = False
    template: bool = False
    options: Parameters = ()  # the agent's own, e.g. a fake's script

    @property
    def memory_budget_mib(self) -> int:
        """The most a run may hold resident: the limit where there is one, else 90 % of memory."""
        return self.limits.memory_mib or int(self.memory_mib * 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an artifact is made; its id is known before the artifact exists.

    `source` is the sha256 of a file, of a folder's listing of files, or `hub:ORG/NAME@COMMIT`.
    `quantizer` is a name in the quantizers' table, `as_is` for a file used unchanged.
    """

    source: str
    quantizer: str
    quant: str  # F16, Q8_0, Q4_K_M, …
    tool: str = ""  # e.g. "llama-cpp-python 0.3.36"
    options: Parameters = ()

    @property
    def id(self) -> str:
        return digest(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A made (or given) file in the store, and what it is in fact rather than by name."""

    sha256: str
    size: int  # bytes
    recipe: Recipe
    bits_per_weight: float = 0.0  # 8 × bytes of tensors / number of weights
    types: Mapping[str, int] = field(default_factory=dict[str, int])  # tensor type -> number of tensors
    fallbacks: tuple[str, ...] = ()  # "blk.0.ffn_down.weight: Q4_K wanted, Q5_0 used"
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])  # architecture, n_params, n_vocab, n_ctx_train, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model in one quantization: what a user chooses between."""

    model: str  # "reference", "Qwen/Qwen2.5-3B", "stories260K"
    format: str  # "gguf", "mlx", …
    quant: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """The quantization with its options, e.g. `Q4_K_M` or `Q4_K_M+imatrix`; what it was made with by hash alone
        (options that end in `_sha256`) is the recipe's business."""
        shown = [(key, value) for key, value in self.recipe.options if value and not key.endswith("_sha256")]
        marks = [f"+{key}" if value is True else f"+{key}={value}" for key, value in shown]
        return self.quant + "".join(marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a cell asks: a kind and every parameter that changes the answer.

    Kinds: `bench` (llama-bench's pp/tg), `app` (TTFT and decode as a person feels them), `sustained`,
    `speculative`, `batch`; `quality` (perplexity and KL divergence), `rolling` (bits per byte), `tasks`.
    docs/events.md lists their parameters.
    """

    kind: str
    parameters: Parameters = ()

    @property
    def settings(self) -> dict[str, Scalar]:
        return dict(self.parameters)

    @property
    def label(self) -> str:
        """Short and readable: `bench pp512 tg128`, `app p128 n64`, `quality 40×512`; with what is not usual in its
        context: `bench pp512 tg128 fa-off`."""
        s = self.settings
        kind = "canary" if s.get("canary") else self.kind
        if kind not in LABELS:
            return kind
        shown = {key: "all" if value is None else value for key, value in s.items()}
        depth = f" d{s['n_depth']}" if s.get("n_depth") else ""
        few = f", first {s['limit']}" if s.get("limit") else ""
        return LABELS[kind].format(**shown) + depth + few + marks(self.kind, s)


#: Kind of workload -> its label, of its parameters.
LABELS = {
    "bench": "bench pp{n_prompt} tg{n_gen}",
    "app": "app p{n_prompt} n{n_gen}",
    "quality": "quality {n_chunks}×{n_ctx}",
    "canary": "canary {n_chunks}×{n_ctx}",  # a quality cell that is only compared
    "tasks": "{task} {n_shot}-shot",
    "sustained": "sustained n{n_gen} × {runs}",
    "speculative": "speculative {draft} × {n_draft}",
    "batch": "batch {batch} p{n_prompt} n{n_gen}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement to be made: profile × variant × runtime × workload × launch number."""

    profile: DeviceProfile
    variant: Variant
    runtime: str  # a name in the runtimes' table
    build: str  # the runtime's version: a new build is a new question
    workload: Workload
    launch: int = 0

    @property
    def question(self) -> dict[str, Any]:
        """All that the id is the hash of. A device is its name, chip and cores."""
        return {
            "device": [self.profile.name, self.profile.chip, self.profile.cores],
            "model": self.variant.model,
            "recipe": asdict(self.variant.recipe),
            "runtime": [self.runtime, self.build],
            "workload": [self.workload.kind, self.workload.parameters],
            "launch": self.launch,
        }

    @property
    def id(self) -> str:
        return digest(self.question)

    @property
    def series(self) -> str:
        """The id without the launch: launches of one series are replicates of each other."""
        return digest(self.question | {"launch": None})

    @property
    def asked(self) -> str:
        """The workload's label, and ` t4` where it has not as many threads as the device has cores."""
        threads = marks(self.workload.kind, {"threads": self.workload.settings.get("threads")}, self.profile.cores)
        return self.workload.label + threads

    @property
    def label(self) -> str:
        return f"{self.profile.name} · {self.variant.model} {self.variant.name} · {self.asked} · #{self.launch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A cell that was not planned, and why ("needs 5.1 GiB, the device has 3.2")."""

    device: str
    variant: str
    runtime: str
    workload: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    cells: tuple[Cell, ...]
    skips: tuple[Skip, ...] = ()


class State(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a cell ended. `stage` is where it failed: push, start, load, run, parse, land."""

    state: State
    stage: str = ""
    reason: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure of one launch. `samples` are its repetitions (or chunks) in order, in `unit`.

    `low`, `high`: the 95 % interval where the launch alone gives one (perplexity), else None.
    `remark`: what a reader must know ("estimated", "spread 23 % over 5 repetitions").
    """

    metric: str
    value: float
    unit: str
    n: int = 1
    low: float | None = None
    high: float | None = None
    samples: tuple[float, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Time-stamped events of one run as the device wrote them: the raw truth."""

    events: tuple[Mapping[str, Any], ...]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event.get("event") == kind]

    def first(self, kind: str) -> Mapping[str, Any]:
        """The first event of a kind, or an empty mapping."""
        nothing: Mapping[str, Any] = {}
        return next((event for event in self.events if event.get("event") == kind), nothing)

    @property
    def finished(self) -> bool:
        """Whether the run reached its own end mark without an error: exit statuses are not trusted."""
        return bool(self.events) and self.events[-1].get("event") == "end" and self.events[-1].get("ok") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A cell that has been run: what lands as an immutable file, beside its trace."""

    cell: Cell
    attempt: int  # 1, 2, …: a fresh measurement or a retry is a new attempt
    outcome: Outcome
    measurements: tuple[Measurement, ...] = ()
    artifact: Artifact | None = None
    conditions: Mapping[str, Any] = field(
        default_factory=dict[str, Any]
    )  # OS, versions, settings in effect, commit, load
    started_at: str = ""  # ISO 8601, UTC, the controller's clock
    seconds: float = 0.0
    sweep: str = ""
    night: str = ""  # ISO date of the night that it was measured for; empty: a person asked


def metric_of(measurements: Sequence[Measurement], metric: str) -> Measurement | None:
    """The measurement of a metric by name, or None."""
    return next((m for m in measurements if m.metric == metric), None)
