"""From a request, devices and a model to a plan: every cell and every skip with its reason. Touches nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from quantfarm import axes, fits, suites
from quantfarm.nouns import Cell, DeviceProfile, Plan, Scalar, Skip, Variant, Workload, parameters
from quantfarm.quantizers import Quantizer
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.runtimes import Runtime, runtime
from quantfarm.sweeps import Sweep
from quantfarm.variants import Source, made, variants

#: Of a device that does not say which it has.
DEFAULT_RUNTIMES = ("llama_cpp",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is measured on, and learnt from, by sha256. `requests`: of each task that is asked for."""

    text: str
    calibration: str = ""
    requests: Mapping[str, str] = field(default_factory=dict[str, str])


def workloads(sweep: Sweep, texts: Texts) -> tuple[Workload, ...]:
    """The workloads asked for; a quality workload carries the sha256 of its text, a task that of its requests.

    `common` is weaker than what a sweep's own workload says, and stronger than the sizes of a suite.
    """
    given = sweep.workloads or suites.resized(sweep.suite, sweep.common)
    shared = {**sweep.common, "text_sha256": texts.text}
    found = [suites.workload(one, shared) for one in given]
    return (*axes.expanded(found, sweep.axes), *_tasks(sweep, texts, shared))


def _tasks(sweep: Sweep, texts: Texts, shared: Mapping[str, Scalar]) -> list[Workload]:
    same = {"kind": "tasks", "n_shot": sweep.n_shot, "limit": sweep.limit}
    return [
        suites.workload({**same, "task": task, "requests_sha256": texts.requests.get(task, "")}, shared)
        for task in sweep.wanted_tasks
    ]


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
    head_dim = int(source.shape.get("head_dim") or 0)
    if why := axes.obstacle(workload, head_dim) or _draft_obstacle(variant, workload, source):
        return why
    need = fits.estimate(source.n_params, variant.quant, source.shape, workload)
    if profile.memory_mib and need.total > profile.memory_budget_mib:
        return f"needs about {need.sum()}; {profile.name} may use {profile.memory_budget_mib / 1024:.1f} GiB"
    return ""


def _draft_obstacle(variant: Variant, workload: Workload, source: Source) -> str:
    """Why a workload's draft is none for a variant; empty where it is one. Raises UsageError for an unknown quant."""
    if workload.kind != "speculative":
        return ""
    [draft] = variants([str(workload.settings["draft"])], source)
    if draft.format != variant.format:
        return f"its draft {draft.name} is {draft.format}, the model is {variant.format}: both are read by one runtime"
    if "calibration_sha256" in dict(draft.recipe.options):
        return f"its draft {draft.name} is made with a calibration text: name one that is made without"
    return ""


def _own(profile: DeviceProfile, variant: Variant, works: Sequence[Workload]) -> Runtime:
    """The runtime that a device measures a variant under where none is asked for: of its own the one that can do
    most of what is asked, so that speed and quality are of one; the first of several. A device that does not say
    which it has can have any that reads the variant."""
    own = [runtime(name) for name in profile.runtimes if name in RUNTIMES]
    own = own or [runtime(name) for name in DEFAULT_RUNTIMES]
    readers = [one for one in own if variant.format in one.formats]
    if not readers and not profile.runtimes:
        readers = [one for name in RUNTIMES if variant.format in (one := runtime(name)).formats]
    return max(readers or own, key=lambda one: sum(work.kind in one.workloads for work in works))


def _among(runtimes: Sequence[Runtime], variant: Variant) -> Sequence[Runtime]:
    """Of several runtimes that are asked for, those that read the variant; all where none does (it is then said)."""
    return [one for one in runtimes if variant.format in one.formats] or runtimes


def _questions(
    profiles: Sequence[DeviceProfile], found: Sequence[Variant], runtimes: Sequence[Runtime], works: Sequence[Workload]
) -> Iterator[tuple[DeviceProfile, Variant, Runtime, Workload]]:
    for profile in profiles:
        for variant in found:
            for workload in works:
                for under in _among(runtimes, variant) or (_own(profile, variant, works),):
                    yield profile, variant, under, _on(profile, workload)


def check(sweep: Sweep) -> None:
    """Mistakes that need no model to be found. Raises UsageError for unknown quants, runtimes and axes."""
    for name in sweep.wanted_runtimes:
        runtime(name)
    made(sweep)
    axes.checked(sweep.axes)


def environments(sweep: Sweep, profiles: Sequence[DeviceProfile]) -> list[Quantizer | Runtime]:
    """Whose Python environments this machine needs before a plan can name their versions: quantizers', and the
    runtimes' that a device without runtimes of its own would be measured under."""
    made_by = [one for one, _, _ in made(sweep)]
    named = [runtime(name) for name in sweep.wanted_runtimes]
    if not named:
        read = {one.format for one in made_by}
        named = [one for name in RUNTIMES if (one := runtime(name)).formats & read]
    under = named if any(not profile.runtimes for profile in profiles) else []
    found = [one for one in (*made_by, *under) if one.environment]
    return list({one.environment: one for one in found}.values())


def _canary(profile: DeviceProfile, under: Runtime, workload: Workload, works: Sequence[Workload]) -> Workload | None:
    """What a device that does not judge is asked; None where no speed is measured that a wrong answer would void.

    Simulated devices compute nothing. `canary` marks it: it is compared, and is no figure of the file.
    """
    fast = any(work.kind not in suites.QUALITY and work.kind in under.workloads for work in works)
    if workload.kind != "quality" or profile.simulated or not fast:
        return None
    settings = workload.settings
    n_chunks = min(int(settings.get("n_chunks") or suites.CANARY_CHUNKS), suites.CANARY_CHUNKS)
    return Workload(kind="quality", parameters=parameters({**settings, "n_chunks": n_chunks, "canary": True}))


def _nothing_unfit(profile: DeviceProfile) -> str:
    """Every device is well."""
    del profile
    return ""


def plan(
    sweep: Sweep,
    profiles: Sequence[DeviceProfile],
    source: Source,
    texts: Texts,
    unfit: Callable[[DeviceProfile], str] = _nothing_unfit,
) -> Plan:
    """Cells in random order within each device (heat must not follow the quantization), and skips with reasons.

    Quality belongs to artifact × runtime: it is planned once, on the first device that can, this machine
    before others (its text and base logits need not travel). `unfit` says why a device may not be scheduled
    now; empty when it may. The other devices whose speed is measured take a canary: a few chunks, compared with
    the same ones of the device that judges. Raises UsageError for unknown quants, runtimes, suites.
    """
    profiles = sorted(profiles, key=lambda profile: (profile.simulated, bool(profile.address)))
    runtimes = [runtime(name) for name in sweep.wanted_runtimes]
    works = workloads(sweep, texts)
    found = variants(sweep.wanted_quants, source, texts.calibration)
    cells: list[Cell] = []
    skips: list[Skip] = []
    judged: set[tuple[Variant, str, str]] = set()
    compared: set[tuple[str, Variant, str]] = set()
    for profile, variant, under, workload in _questions(profiles, found, runtimes, works):
        reason = unfit(profile) or _obstacle(profile, variant, under, workload, source)
        quality = workload.kind in suites.QUALITY
        asked_once = (variant, under.name, workload.label)
        if not reason and quality and asked_once in judged:
            canary = _canary(profile, under, workload, works)
            if canary and (profile.name, variant, under.name) not in compared:
                compared.add((profile.name, variant, under.name))
                build = build_of(profile, under)
                cells.append(Cell(profile=profile, variant=variant, runtime=under.name, build=build, workload=canary))
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
            judged.add(asked_once)
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
