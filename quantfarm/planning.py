"""From a request, devices and a model to a plan: every cell and every skip with its reason. Touches nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantfarm import fits, suites
from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Cell, DeviceProfile, Plan, Recipe, Skip, Variant, Workload
from quantfarm.quantizers import quantizer
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.runtimes import Runtime, runtime
from quantfarm.sweeps import DEFAULT_QUANTS, Sweep

#: The quantization that quality is compared to.
BASE = "F16"
#: Quantizations of a source that others can be made from.
UNQUANTIZED = frozenset({"F32", "F16", "BF16"})
#: Of a device that does not say which it has.
DEFAULT_RUNTIMES = ("llama_cpp",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a plan needs to know of a model. `quant` is the source file's own; `id` as in Recipe.source.

    `shape`: n_layer, n_head_kv, head_dim, n_vocab where known.
    """

    name: str
    id: str
    quant: str
    n_params: int
    size: int
    shape: Mapping[str, Any] = field(default_factory=dict[str, Any])


def variants(quants: Sequence[str], source: Source) -> tuple[Variant, ...]:
    """The variants asked for; none named: the source's own quantization, or the usual ones.

    Raises UsageError for an unknown quant or one that cannot be made from the source.
    """
    quantized = source.quant not in UNQUANTIZED
    wanted = quants or ((source.quant,) if quantized else DEFAULT_QUANTS)
    made_by = quantizer("gguf")
    found: list[Variant] = []
    for quant in wanted:
        if quant == source.quant:
            recipe = Recipe(source=source.id, quantizer="as_is", quant=quant)
        elif quant not in made_by.quants:
            raise unknown("quant", quant, {*made_by.quants, source.quant})
        elif quantized:
            raise UsageError(
                f"{source.name} is quantized already ({source.quant}): "
                f"{quant} can only be made from an F16, BF16 or F32 model"
            )
        else:
            recipe = Recipe(source=source.id, quantizer="gguf", quant=quant, tool=made_by.tool())
        found.append(Variant(model=source.name, format="gguf", quant=quant, recipe=recipe))
    return tuple(found)


def base(source: Source) -> Variant | None:
    """The unquantized variant that others are compared with; None for a model that came quantized."""
    if source.quant not in UNQUANTIZED:
        return None
    return variants([BASE], source)[0]


def workloads(sweep: Sweep, text_sha256: str) -> tuple[Workload, ...]:
    """The workloads asked for; a quality workload carries the sha256 of its text.

    `common` is weaker than what a sweep's own workload says, and stronger than the sizes of a suite.
    """
    given = sweep.workloads or suites.resized(sweep.suite, sweep.common)
    texts = {"text_sha256": text_sha256}
    return tuple(suites.workload(one, {**sweep.common, **texts}) for one in given)


def _on(profile: DeviceProfile, workload: Workload) -> Workload:
    """The workload with the device's own defaults filled in: as many threads as physical cores."""
    settings = workload.settings
    if settings.get("threads") is None:
        settings["threads"] = profile.cores
    return Workload(kind=workload.kind, parameters=tuple(sorted(settings.items())))


def build_of(profile: DeviceProfile, under: Runtime) -> str:
    """The runtime's build on the device: what the device said it has, else what this machine has."""
    return str(dict(profile.builds).get(under.name) or under.build())


def _obstacle(profile: DeviceProfile, variant: Variant, under: Runtime, workload: Workload, source: Source) -> str:
    """Why a cell cannot be; empty when it can."""
    if profile.runtimes and under.name not in profile.runtimes:
        return f"{profile.name} does not have {under.name} (it has {', '.join(profile.runtimes)})"
    if variant.format not in under.formats:
        return f"{under.name} does not read {variant.format}"
    if workload.kind not in under.workloads:
        return f"{under.name} does not measure {workload.kind}"
    need = fits.estimate(source.n_params, variant.quant, source.shape, workload)
    if profile.memory_mib and need.total > profile.memory_budget_mib:
        return f"needs about {need.sum()}; {profile.name} may use {profile.memory_budget_mib / 1024:.1f} GiB"
    return ""


def _own(profile: DeviceProfile, variant: Variant, works: Sequence[Workload]) -> Runtime:
    """The runtime that a device measures under where none is asked for: of its own the one that can do most of
    what is asked, so that speed and quality are of one; the first of several."""
    named = [name for name in profile.runtimes if name in RUNTIMES] or DEFAULT_RUNTIMES
    own = [runtime(name) for name in named]
    readers = [one for one in own if variant.format in one.formats] or own
    return max(readers, key=lambda one: sum(work.kind in one.workloads for work in works))


def _questions(
    profiles: Sequence[DeviceProfile], found: Sequence[Variant], runtimes: Sequence[Runtime], works: Sequence[Workload]
) -> Iterator[tuple[DeviceProfile, Variant, Runtime, Workload]]:
    for profile in profiles:
        for variant in found:
            for workload in works:
                for under in runtimes or (_own(profile, variant, works),):
                    yield profile, variant, under, _on(profile, workload)


def check(sweep: Sweep) -> None:
    """Mistakes that need no model to be found. Raises UsageError for unknown quants and runtimes."""
    for name in sweep.runtimes:
        runtime(name)
    made_by = quantizer("gguf")
    for quant in sweep.quants:
        if quant not in made_by.quants and quant not in UNQUANTIZED and not quant.startswith("IQ"):
            raise unknown("quant", quant, made_by.quants)


def _nothing_unfit(profile: DeviceProfile) -> str:
    """Every device is well."""
    del profile
    return ""


def plan(
    sweep: Sweep,
    profiles: Sequence[DeviceProfile],
    source: Source,
    text_sha256: str,
    unfit: Callable[[DeviceProfile], str] = _nothing_unfit,
) -> Plan:
    """Cells in random order within each device (heat must not follow the quantization), and skips with reasons.

    Quality belongs to artifact × runtime: it is planned once, on the first device that can, this machine
    before others (its text and base logits need not travel). `unfit` says why a device may not be scheduled
    now; empty when it may. Raises UsageError for unknown quants, runtimes, suites.
    """
    profiles = sorted(profiles, key=lambda profile: bool(profile.address))
    runtimes = [runtime(name) for name in sweep.runtimes]
    works = workloads(sweep, text_sha256)
    cells: list[Cell] = []
    skips: list[Skip] = []
    judged: set[tuple[Variant, str]] = set()
    for profile, variant, under, workload in _questions(profiles, variants(sweep.quants, source), runtimes, works):
        reason = unfit(profile) or _obstacle(profile, variant, under, workload, source)
        quality = workload.kind == "quality"
        if not reason and quality and (variant, under.name) in judged:
            continue
        if reason:
            skips.append(
                Skip(
                    device=profile.name,
                    variant=variant.name,
                    runtime=under.name,
                    workload=workload.label,
                    reason=reason,
                )
            )
            continue
        if quality:
            judged.add((variant, under.name))
        launches = 1 if quality else sweep.wanted_launches
        cells += [
            Cell(
                profile=profile,
                variant=variant,
                runtime=under.name,
                build=build_of(profile, under),
                workload=workload,
                launch=n,
            )
            for n in range(launches)
        ]
    random.Random(sweep.seed).shuffle(cells)  # noqa: S311 - an order, not a secret
    cells.sort(key=lambda cell: cell.profile.name)  # stable: random within a device
    return Plan(cells=tuple(cells), skips=tuple(skips))
