"""Axes of a sweep: parameters that take several values each. Every combination is a workload of its own.

Only speed is spread over axes: what a model answers is a property of the artifact and the runtime.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Scalar, Workload, parameters

Axes = Mapping[str, Sequence[Scalar]]

#: Kinds of workload that time something.
SPEED = frozenset({"bench", "app", "sustained", "speculative", "batch"})
#: ggml's types that a KV cache can have -> values in a block (1: not quantized).
CACHE_TYPES = {
    **dict.fromkeys(("f32", "f16"), 1),
    **dict.fromkeys(("q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl"), 32),
}
ON_OFF = ("on", "off")
#: llama.cpp bounds a micro-batch by the batch: one that nobody set is no mistake.
USUAL_MICRO_BATCH = 512


def _whole(least: int) -> Callable[[str, Scalar, str], Scalar]:
    def check(name: str, value: Scalar, where: str) -> Scalar:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{_at(where)}axis {name}: {value!r} is no whole number of at least {least}")
        return value

    return check


def _choice(known: Sequence[str]) -> Callable[[str, Scalar, str], Scalar]:
    def check(name: str, value: Scalar, where: str) -> Scalar:
        value = ON_OFF[not value] if isinstance(value, bool) and known is ON_OFF else value  # YAML reads on as true
        if value not in known:
            raise unknown(f"value of axis {name}", str(value), known, where)
        return value

    return check


#: parameter -> what a value of it must be; gives the value as a workload has it.
PARAMETERS: Mapping[str, Callable[[str, Scalar, str], Scalar]] = {
    "n_depth": _whole(0),
    "n_batch": _whole(1),
    "n_ubatch": _whole(1),
    "threads": _whole(1),
    "flash_attn": _choice(ON_OFF),
    "type_k": _choice(tuple(CACHE_TYPES)),
    "type_v": _choice(tuple(CACHE_TYPES)),
    "n_gpu_layers": _whole(-1),
}


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def checked(axes: Axes, where: str = "") -> dict[str, tuple[Scalar, ...]]:
    """The axes with each value once, as workloads have it. Raises UsageError for an unknown parameter or value."""
    return {name: _values(name, values, where) for name, values in axes.items()}


def _values(name: str, values: object, where: str) -> tuple[Scalar, ...]:
    if name not in PARAMETERS:
        raise unknown("axis", name, PARAMETERS, where)
    given = cast("Sequence[Any]", values) if isinstance(values, list | tuple) else cast("tuple[Any]", (values,))
    if not given:
        raise UsageError(f"{_at(where)}axis {name} has no values")
    return tuple(dict.fromkeys(PARAMETERS[name](name, value, where) for value in given))


def read(texts: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    """Axes of the command line: `n_depth=0,4096`, `flash_attn=on,off`. Raises UsageError."""
    found: dict[str, tuple[Scalar, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"--axis {text}: an axis is PARAMETER=VALUE,VALUE, e.g. n_depth=0,4096")
        if name in found:
            raise UsageError(f"--axis {name} is given twice: give all its values in one")
        given = [_scalar(value.strip()) for value in values.split(",") if value.strip()]
        found |= checked({name.strip(): given}, "--axis")
    return found


def _scalar(text: str) -> Scalar:
    try:
        return int(text)
    except ValueError:
        return text


def expanded(workloads: Sequence[Workload], axes: Axes) -> tuple[Workload, ...]:
    """Each speed workload once for every combination of the axes that it has a parameter for; others as they are.

    A combination that cannot be is among them: `obstacle` says why, and the plan skips it with that reason.
    Raises UsageError for an unknown axis or value, for axes that no workload has, and where not one combination
    of a workload can be.
    """
    axes = checked(axes)
    taken = {name for work in workloads if work.kind in SPEED for name in work.settings}
    for name in axes:
        if name not in taken:
            kinds = ", ".join(sorted({work.kind for work in workloads})) or "none"
            raise UsageError(f"axis {name}: no speed workload of this sweep has it (its workloads: {kinds})")
    found = [one for work in workloads for one in _spread(work, axes)]
    return tuple(dict.fromkeys(found))


def _spread(work: Workload, axes: Axes) -> list[Workload]:
    own = {name: values for name, values in axes.items() if name in work.settings and work.kind in SPEED}
    if not own:
        return [work]
    combinations = (dict(zip(own, values, strict=True)) for values in itertools.product(*own.values()))
    spread = [Workload(kind=work.kind, parameters=parameters(work.settings, **one)) for one in combinations]
    reasons = [obstacle(one) for one in spread]
    if all(reasons):
        raise UsageError(f"{work.label}: {reasons[0]}")
    return spread


def obstacle(work: Workload, head_dim: int = 0) -> str:
    """Why llama.cpp cannot run a workload with these parameters; empty when it can. `head_dim` 0: not known."""
    settings = work.settings
    if _block(settings.get("type_v")) > 1 and settings.get("flash_attn") == "off":
        return (
            f"a quantized V cache ({settings['type_v']}) needs flash attention: without it llama.cpp keeps V "
            f"transposed, where a block's values do not lie together. Give flash_attn on, or type_v f16"
        )
    for name in ("type_k", "type_v"):
        block = _block(settings.get(name))
        if head_dim and block > 1 and head_dim % block:
            return f"{name} {settings[name]} has blocks of {block}, which do not divide the model's heads of {head_dim}"
    batch, micro = settings.get("n_batch"), settings.get("n_ubatch")
    if isinstance(batch, int) and isinstance(micro, int) and micro > batch and micro != USUAL_MICRO_BATCH:
        return f"n_ubatch {micro} is above n_batch {batch}: llama.cpp would use {batch}"
    return ""


def _block(cache_type: Scalar) -> int:
    return CACHE_TYPES.get(str(cache_type), 1)


def count(axes: Axes) -> str:
    """How many settings that makes: `n_depth 3 × threads 2 = 6 settings of each speed workload`; empty for none."""
    if not axes:
        return ""
    sizes = {name: len(values) for name, values in checked(axes).items()}
    product = " × ".join(f"{name} {size}" for name, size in sizes.items())
    return f"{product} = {math.prod(sizes.values())} settings of each speed workload"
