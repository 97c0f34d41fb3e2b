"""What `quantfarm fits` answers: the prediction for each variant and context, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows import devices, sources
from flows.fits import asking, measured, weighing
from flows.fits.measured import Peak
from flows.fits.predicting import Predictor, Weights
from flows.fits.process import Process, of, reader_of
from quantfarm import models, profiles, variants
from quantfarm.errors import FarmError
from quantfarm.memory_model.contexts import Context, context, full, uses
from quantfarm.memory_model.parts import Parts, error_percent, words
from quantfarm.nouns import DeviceProfile, Scalar
from storage.home import Home

RUNTIME = "llama_cpp"
#: Between these llama.cpp is asked, and the rest lies on lines between them.
STEPS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked. `caches`: types of the KV cache, keys and values alike."""

    model: str
    quants: Sequence[str] = ()
    contexts: Sequence[int] = (2048, 8192)
    caches: Sequence[str] = ("f16",)
    device: str = ""
    n_ubatch: int = 512
    flash_attn: str = "on"

    def settings(self, kind: str) -> dict[str, Scalar]:
        return {"n_ubatch": self.n_ubatch, "flash_attn": self.flash_attn, "type_k": kind, "type_v": kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A variant with one type of cache; `largest`: the largest context that fits the device, None where none does."""

    weights: Weights
    cache: str
    parts: Mapping[int, Parts | str]
    largest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A prediction beside what was measured."""

    peak: Peak
    parts: Parts

    @property
    def error(self) -> float:
        return error_percent(self.parts.total, self.peak.mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    model: str
    rows: Sequence[Row]
    checks: Sequence[Check]
    process: Process | None
    device: DeviceProfile | None
    n_ctx_train: int
    notes: Sequence[str] = field(default_factory=tuple[str, ...])


def answer(home: Home, wanted: Wanted) -> Answer:
    """Raises UsageError for an unknown device, model or quantization, FarmError where llama.cpp fails."""
    device = profiles.choose(devices.known(home), [wanted.device])[0] if wanted.device else None
    found = models.resolve(wanted.model)
    source = sources.of(found)
    wanted_variants = variants.variants(wanted.quants, source)
    file, notes = models.converted(found), list(found.notes)
    weights = weighing.weights(home, found, source, wanted_variants, file)
    peaks = measured.peaks(home, source.name)
    predictor = _predictor(home, wanted, source.shape, file, peaks, notes)
    under = _readers(home, predictor, weights, notes)
    rows = [_row(under[one.format], wanted, one, kind, device) for one in weights for kind in wanted.caches]
    checks, problems = _checks(home, predictor, weights, peaks)
    return Answer(
        model=source.name,
        rows=rows,
        checks=checks,
        process=predictor.process,
        device=device,
        n_ctx_train=int(predictor.shape.get("n_ctx_train") or 0),
        notes=(*notes, *problems, *_window(predictor), *_limits(wanted, predictor, device)),
    )


def _predictor(
    home: Home, wanted: Wanted, shape: Mapping[str, object], file: Path | None, peaks: Sequence[Peak], notes: list[str]
) -> Predictor:
    """With llama.cpp's own word where the model is a GGUF or was converted before."""
    if file is None:
        notes.append(
            "it is not converted yet: weights by the names of quantizations, cache and buffers by the model's shape; "
            "after a first sweep they are by llama.cpp itself"
        )
        return Predictor(shape=dict(shape), said=None, process=of(home, RUNTIME))
    said = asking.buffers(home, file, _contexts(wanted, int(str(shape.get("n_ctx_train") or 0)), peaks))
    return Predictor(shape={**shape, **said.shape}, said=said, process=of(home, RUNTIME))


def _readers(home: Home, predictor: Predictor, weights: Sequence[Weights], notes: list[str]) -> dict[str, Predictor]:
    """By format: llama.cpp's predictor, or one with the process of the runtime that reads it, and no more of
    llama.cpp's than the shape."""
    found: dict[str, Predictor] = {"gguf": predictor}
    for form in dict.fromkeys(one.format for one in weights if one.format != "gguf"):
        names = ", ".join(one.name for one in weights if one.format == form)
        process, reader = None, reader_of(form)
        try:
            process = of(home, reader, form) if reader else None
        except FarmError as error:
            notes.append(f"{names}: {error}")
        if process is None:
            notes.append(f"{names}: without the process of a runtime that reads {form}: none is installed here yet")
        else:
            notes.append(f"{names}: with a process of {words(process.mib)} ({process.build}); loading may hold more")
        found[form] = Predictor(shape=predictor.shape, said=None, process=process)
    return found


def _contexts(wanted: Wanted, trained: int, peaks: Sequence[Peak]) -> list[Context]:
    most = max([trained, *wanted.contexts])
    lengths = sorted({*wanted.contexts, *(n for n in STEPS if n < most), most})
    asked = [context(n, wanted.settings(kind)) for kind in wanted.caches for n in lengths]
    return asked + [use.context for peak in peaks if peak.format == "gguf" for use in uses(peak.workload)]


def _row(predictor: Predictor, wanted: Wanted, weights: Weights, kind: str, device: DeviceProfile | None) -> Row:
    settings = wanted.settings(kind)
    largest = None
    if device and device.memory_budget_mib:
        most = int(predictor.shape.get("n_ctx_train") or 0) or max(wanted.contexts)
        largest = predictor.largest(weights, settings, device.memory_budget_mib, most)
    parts = {n: predictor.parts(weights, full(n, settings)) for n in wanted.contexts}
    return Row(weights=weights, cache=kind, parts=parts, largest=largest)


def _checks(
    home: Home, predictor: Predictor, weights: Sequence[Weights], peaks: Sequence[Peak]
) -> tuple[list[Check], list[str]]:
    """Predictions of what was measured, under the process of the runtime that measured it; and why some have none."""
    by_name, problems = {one.name: one for one in weights}, dict[str, None]()
    processes: dict[tuple[str, str], Process] = {}
    checks: list[Check] = []
    for peak in peaks:
        if peak.variant not in by_name or not uses(peak.workload):
            continue
        try:
            process = processes.setdefault((peak.runtime, peak.format), of(home, peak.runtime, peak.format))
        except FarmError as error:
            problems[f"measured under {peak.runtime}, not predicted: {error}"] = None
            continue
        said = predictor.said if peak.format == "gguf" else None
        under = Predictor(shape=predictor.shape, said=said, process=process)
        each = [under.parts(by_name[peak.variant], use) for use in uses(peak.workload)]
        if known := [one for one in each if isinstance(one, Parts)]:
            checks.append(Check(peak=peak, parts=max(known, key=lambda one: one.total)))
        if peak.build != process.build:
            problems[f"the process is {process.build}'s; some was measured under {peak.build}"] = None
    return checks, list(problems)


def _limits(wanted: Wanted, predictor: Predictor, device: DeviceProfile | None) -> list[str]:
    """What the model and the device's profile say of contexts and memory."""
    found: list[str] = []
    trained = int(predictor.shape.get("n_ctx_train") or 0)
    if trained and max(wanted.contexts) > trained:
        found.append(f"the model was trained for {trained} tokens: beyond them it fits, and answers worse")
    if device and not device.memory_budget_mib:
        found.append(f"the profile of {device.name} does not say how much memory it has: what fits is not known")
    return found


def _window(predictor: Predictor) -> list[str]:
    if predictor.said is None:
        return ["whether the model has a sliding window is not known: with one its cache would be smaller"]
    if window := int(predictor.shape.get("n_swa") or 0):
        return [f"sliding window of {window} tokens: its layers keep no more than that, as llama.cpp says"]
    return []
