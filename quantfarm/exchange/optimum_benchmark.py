"""optimum-benchmark's JSON: a benchmark (config and report) or a report alone.

Its prefill is a generation of one token: for one prompt alone that is ttft. Its decode throughput is
(N - 1) tokens over the mean of what came after the first: decode_tps. MB become MiB, kWh become J.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from quantfarm.exchange.figure import DEVIATION, MEAN, MEDIAN, Figure, Importer, Reading, Wrong
from quantfarm.exchange.reading import json_object, line_of, mapping, number, text_of, whole
from quantfarm.exchange.units import joules, mib, seconds

TOOL = "optimum-benchmark"
LOADS = frozenset({"load", "load_model"})


def recognises(text: str) -> bool:
    begins = text.lstrip().startswith("{")
    return begins and '"latency"' in text and '"throughput"' in text and '"stdev_"' in text


def read(text: str) -> Reading:
    """Raises Wrong."""
    thing = json_object(text)
    config, report = mapping(thing.get("config")), mapping(thing.get("report")) or thing
    passed: list[str] = []
    figures = tuple(one for target in report for one in _target(text, config, report, str(target), passed))
    version = text_of(mapping(config.get("environment")), "optimum_benchmark_version")
    return Reading(figures=figures, tool=TOOL, version=version, passed_over=tuple(dict.fromkeys(passed)))


@dataclass(frozen=True, slots=True)
class _Part:
    """What the report says of one thing (latency, memory, …) in one part of the run (load, prefill, decode, …)."""

    line: int
    target: str
    said: Mapping[str, Any]
    alone: bool  # one prompt at a time
    about: dict[str, Any]
    passed: list[str]

    def number(self, field: str) -> float:
        return number(self.said, field, self.line)

    def count(self) -> int:
        """Older ones do not count their values."""
        if "count" in self.said:
            return whole(self.said, "count", self.line)
        return len(cast("list[object]", self.said.get("values") or []))

    def figure(self, metric: str, value: float, unit: str, **more: Any) -> Figure:
        return Figure(line=self.line, metric=metric, value=value, unit=unit, **more, **self.about)

    def converted(self, convert: Callable[[float, str], float], value: float) -> float:
        """Raises Wrong for a unit that is not known."""
        unit = text_of(self.said, "unit")
        try:
            return convert(value, unit)
        except KeyError as error:
            raise Wrong(self.line, f"unit {unit!r} is not known here") from error


def _target(
    text: str, config: Mapping[str, Any], report: Mapping[str, Any], target: str, passed: list[str]
) -> Iterator[Figure]:
    parts, at = mapping(report[target]), line_of(text, target, line_of(text, "report"))
    about, alone = _about(config), _batch(config) == 1
    for name, figures in PARTS.items():
        if said := mapping(parts.get(name)):
            yield from figures(_Part(line_of(text, name, at), target, said, alone, about, passed))


def _latency(part: _Part) -> Iterator[Figure]:
    if part.target == "per_token":
        part.passed.append("per_token: decode says it")
        return
    known = {**dict.fromkeys(LOADS, "load_time"), **({"prefill": "ttft"} if part.alone else {})}
    median, n = bool(text_of(part.said, "p50")), part.count()
    spread = part.converted(seconds, part.number("stdev")) if n > 1 else None
    yield part.figure(
        known.get(part.target, f"{part.target}_latency"),
        part.converted(seconds, part.number("p50" if median else "mean")),
        "s",
        statistic=MEDIAN if median else MEAN,
        n=n,
        spread=spread,
        spread_is="" if spread is None else DEVIATION,
    )


def _memory(part: _Part) -> Iterator[Figure]:
    """`decode_max_ram`, …: the most during that part."""
    for name, value in part.said.items():
        if name != "unit" and value is not None:
            yield part.figure(f"{part.target}_{name}", part.converted(mib, part.number(name)), "MiB")


def _throughput(part: _Part) -> Iterator[Figure]:
    if (unit := text_of(part.said, "unit")) != "tokens/s":
        part.passed.append(f"{part.target} throughput in {unit}")
        return
    metric = "decode_tps" if part.target == "decode" and part.alone else f"{part.target}_throughput"
    yield part.figure(metric, part.number("value"), "tok/s", statistic="of the mean time")


def _energy(part: _Part) -> Iterator[Figure]:
    if part.said.get("total") is not None:
        yield part.figure(f"{part.target}_energy", part.converted(joules, part.number("total")), "J")


PARTS: Mapping[str, Callable[[_Part], Iterator[Figure]]] = {
    **{"latency": _latency, "memory": _memory},
    **{"throughput": _throughput, "energy": _energy},
}


def _batch(config: Mapping[str, Any]) -> int | None:
    """None where the file does not say."""
    given = mapping(mapping(config.get("scenario")).get("input_shapes")).get("batch_size")
    return given if isinstance(given, int) else None


def _about(config: Mapping[str, Any]) -> dict[str, Any]:
    backend, scenario = mapping(config.get("backend")), mapping(config.get("scenario"))
    environment = mapping(config.get("environment"))
    shapes, generating = mapping(scenario.get("input_shapes")), mapping(scenario.get("generate_kwargs"))
    gpus = cast("list[object]", environment.get("gpu") or [])
    on_gpu = text_of(backend, "device").startswith(("cuda", "gpu")) and gpus
    sizes = {"batch": shapes.get("batch_size"), "p": shapes.get("sequence_length")}
    sizes |= {"n": generating.get("max_new_tokens") or scenario.get("new_tokens")}
    kept = ("task", "dtype", "torch_dtype", "quantization_config", "device", "attn_implementation")
    return {
        "model": text_of(backend, "model"),
        "variant": text_of(backend, "quantization_scheme"),
        "device": str(gpus[0]).strip() if on_gpu else text_of(environment, "cpu"),
        "runtime": text_of(backend, "name"),
        "build": " ".join(part for part in (text_of(backend, "name"), text_of(backend, "version")) if part),
        "workload": " ".join(f"{k} {v}" if k == "batch" else f"{k}{v}" for k, v in sizes.items() if v is not None),
        "extra": {key: backend[key] for key in kept if backend.get(key) is not None},
    }


IMPORTER = Importer(recognises, read)
