"""Suites: named sets of workloads. A sweep may name one, change its sizes, or list workloads of its own."""

from __future__ import annotations

from collections.abc import Mapping

from quantfarm.errors import unknown
from quantfarm.nouns import Scalar, Workload, parameters
from quantfarm.tasks import BUILT_IN

#: Context parameters of every speed cell, as llama-bench has them; always set, never left to a default.
CONTEXT: dict[str, Scalar] = {
    "n_batch": 2048,
    "n_ubatch": 512,
    "flash_attn": "on",
    "type_k": "f16",
    "type_v": "f16",
    "n_gpu_layers": 0,
}
#: Perplexity is defined at n_ctx = n_batch = n_ubatch = 512 (METHOD: as llama-perplexity).
QUALITY_CONTEXT: dict[str, Scalar] = CONTEXT | {"n_batch": 512, "n_ubatch": 512}

#: kind -> its parameters and their defaults; what is not listed here is not a parameter.
#: A None is filled in by the plan: threads by the device's physical cores, the text by its sha256;
#: n_chunks None means all of the text.
DEFAULTS: dict[str, dict[str, Scalar]] = {
    "bench": {"n_prompt": 512, "n_gen": 128, "n_depth": 0, "repetitions": 5, "threads": None, **CONTEXT},
    "app": {"n_prompt": 128, "n_gen": 128, "repetitions": 5, "threads": None, **CONTEXT},
    "quality": {"n_ctx": 512, "n_chunks": None, "text_sha256": None, "threads": None, **QUALITY_CONTEXT},
    "rolling": {"n_ctx": 512, "text_sha256": None, "threads": None, **QUALITY_CONTEXT},
    "tasks": {
        **{"task": None, "n_shot": 0, "limit": None, "requests_sha256": None, "n_ctx": 2048, "threads": None},
        **CONTEXT,
    },
    "sustained": {"n_prompt": 32, "n_gen": 500, "runs": 10, "more": 5, "most": 30, "threads": None, **CONTEXT},
    "speculative": {
        **{"draft": "Q4_0", "n_draft": 8, "n_prompt": 128, "n_gen": 128, "repetitions": 6, "threads": None},
        **CONTEXT,
    },
    "batch": {"batch": 1, "n_prompt": 128, "n_gen": 64, "repetitions": 3, "threads": None},
}
#: Kinds that tell of the artifact and not of the device: measured once per artifact × runtime.
QUALITY = frozenset({"quality", "rolling", "tasks"})

#: Chunks of the canary by which a device is compared with the one that judges.
CANARY_CHUNKS = 4

SUITES: dict[str, tuple[dict[str, Scalar], ...]] = {
    "quick": ({"kind": "bench"}, {"kind": "app"}, {"kind": "quality", "n_chunks": 40}),
    "speed": ({"kind": "bench"}, {"kind": "app"}),
    "quality": ({"kind": "quality"},),
    "full": ({"kind": "bench"}, {"kind": "app"}, {"kind": "quality"}),
    # With the tasks that a sweep names: see Sweep.tasks.
    "lab": ({"kind": "bench"}, {"kind": "app"}, {"kind": "quality"}, {"kind": "rolling"}),
    "sustained": ({"kind": "sustained"},),
    "five-way": (
        {"kind": "quality"},
        *({"kind": "batch", "batch": size} for size in (1, 8, 32)),
    ),
}
#: What a suite measures where the request names neither.
QUANTS = {"five-way": ("HF", "RTN", "NF4", "AWQ", "GPTQ")}
RUNTIMES = {"five-way": ("transformers",)}
TASKS = {"lab": BUILT_IN, "five-way": ("reference_cloze",)}
#: Launches by suite where the request does not say: an interval of a median needs six.
LAUNCHES = {"quick": 3, "speed": 6, "quality": 1, "full": 6, "lab": 3, "sustained": 1, "five-way": 3}


def suite(name: str) -> tuple[dict[str, Scalar], ...]:
    """Raises UsageError for an unknown name."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]


def resized(name: str, common: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], ...]:
    """A suite's workloads with the sizes that a request gives in place of the suite's. Raises UsageError."""
    return tuple({key: common.get(key, value) for key, value in one.items()} for one in suite(name))


def workload(given: Mapping[str, Scalar], common: Mapping[str, Scalar], where: str = "") -> Workload:
    """A workload with every parameter set. `common` applies where the kind has the parameter.

    Raises UsageError for an unknown kind or parameter.
    """
    kind = str(given.get("kind", ""))
    if kind not in DEFAULTS:
        raise unknown("workload kind", kind, DEFAULTS, where)
    defaults = DEFAULTS[kind]
    own = {key: value for key, value in given.items() if key != "kind"}
    for key in own:
        if key not in defaults:
            raise unknown(f"parameter of a {kind} workload", key, defaults, where)
    shared = {key: value for key, value in common.items() if key in defaults}
    return Workload(kind=kind, parameters=parameters(defaults | shared | own))
