"""The table of targets: what every profile wants, templates' too, and whether it was met, missed or not measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

from quantfarm.candidates import Candidate
from quantfarm.decide import Checked, Verdict, check
from quantfarm.decide.targets import DROP, INCREASE
from quantfarm.nouns import DeviceProfile
from quantfarm.report.figures import NAMES, NONE, number
from quantfarm.report.figures_table import escape

#: Metric -> the unit of a goal, which has one before anything is measured.
UNITS = {
    **dict.fromkeys(("bench_pp", "bench_tg", "decode_tps", "sustained_first", "sustained_steady"), "tok/s"),
    **dict.fromkeys(("ttft", "load_time", "time_to_steady"), "s"),
    **dict.fromkeys(("resident_peak", "committed_peak"), "MiB"),
    **dict.fromkeys(("energy_per_token", "sustained_energy"), "J"),
    "same_top": "%",
}
ORDER = (Verdict.MISS, Verdict.PASS, Verdict.NOT_MEASURED)
HEADINGS = ("device", "target", "models", "measured", "verdict")


def checked(profiles: Sequence[DeviceProfile], candidates: Sequence[Candidate]) -> list[tuple[DeviceProfile, Checked]]:
    """Each target of each profile: once for every model that has the figure, else once as not measured.

    What a simulated device says is no measurement; a template has none.
    """
    return [
        (profile, one)
        for profile in sorted(profiles, key=lambda p: p.name)
        if not profile.simulated
        for one in _of(profile, [c for c in candidates if c.device == profile.name and not c.simulated])
    ]


def _of(profile: DeviceProfile, own: Sequence[Candidate]) -> Iterable[Checked]:
    by_model = [list(group) for _, group in groupby(sorted(own, key=lambda c: c.model), key=lambda c: c.model)]
    for several in zip(*(check(profile, group) for group in by_model or [[]]), strict=True):
        judged = [one for one in several if one.value is not None]
        yield from judged or several[:1]


def table(profiles: Sequence[DeviceProfile], candidates: Sequence[Candidate]) -> str:
    """Markdown, what was judged first; the same target of several devices, not measured, is one row."""
    found = checked(profiles, candidates)
    if not found:
        return ""
    rows: dict[tuple[str, ...], list[DeviceProfile]] = defaultdict(list)
    for profile, one in sorted(found, key=lambda pair: (ORDER.index(pair[1].verdict), pair[1].value is None)):
        rows[_cells(one)].append(profile)
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|--:|---|"]
    lines += [f"| {', '.join(map(_device, devices))} | {' | '.join(cells)} |" for cells, devices in rows.items()]
    return "\n".join(lines) + "\n\n" + _legend(profile for profile, _ in found)


def counts(found: Iterable[tuple[DeviceProfile, Checked]]) -> str:
    """`1 met, 0 missed, 12 not measured`."""
    verdicts = [one.verdict for _, one in found]
    said = {Verdict.PASS: "met", Verdict.MISS: "missed", Verdict.NOT_MEASURED: "not measured"}
    return ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in said.items())


def _device(profile: DeviceProfile) -> str:
    return escape(profile.name) + (" *(template)*" if profile.template else "")


def _cells(one: Checked) -> tuple[str, ...]:
    metric, _, _ = one.target.partition(":")
    measured = f"{figure(metric, one.value)}" + ("" if one.target.endswith(one.variant) else f", {one.variant}")
    models = escape(one.model) if one.model else f"of about {one.size:g}B" if one.size else "any"
    verdict = one.verdict if one.verdict is Verdict.NOT_MEASURED else f"**{one.verdict}**"
    return goal(one), models, escape(measured) if one.value is not None else NONE, verdict


def goal(one: Checked) -> str:
    """`Q4_K_M: decode speed ≥ 35 tok/s`."""
    metric, _, variant = one.target.partition(":")
    whose = f"**{escape(variant)}**: " if variant else ""
    return f"{whose}{escape(_named(metric))} {'≥' if one.at_least else '≤'} {figure(metric, one.goal, exact=True)}"


def sentence(one: Checked) -> str:
    """`Q4_K_M: decode speed ≥ 35 tok/s: pass (36.2 tok/s)`."""
    metric, _, _ = one.target.partition(":")
    models = f" for models of about {one.size:g}B" if one.size else ""
    measured = f" ({figure(metric, one.value)}, {escape(one.variant)})" if one.value is not None else ""
    return f"{goal(one)}{models}: **{one.verdict}**{measured}"


def _named(metric: str) -> str:
    if metric == INCREASE:
        return "perplexity over the unquantized model's"
    if metric.startswith(DROP):
        return f"accuracy lost on {metric.removeprefix(DROP)}, all documents"
    return NAMES.get(metric, metric)


def figure(metric: str, value: float | None, *, exact: bool = False) -> str:
    """With its unit: `35.2 tok/s`, `+1.9 %`, `1.50 points`; `exact`: as it was given, `35 tok/s`."""
    if value is None:
        return NONE
    if metric == INCREASE:
        return f"{100 * value:+.3g} %"
    unit = "points" if metric.startswith(DROP) else UNITS.get(metric, "")
    return f"{f'{value:g}' if exact else number(value)} {unit}".strip()


def _legend(profiles: Iterable[DeviceProfile]) -> str:
    templates = any(profile.template for profile in profiles)
    said = ["A target that names a size is for models of about so many weights: others neither pass nor miss it."]
    if templates:
        said.append("A template is a profile to copy from: nothing is ever measured on one.")
    return f"<sub>{' '.join(said)} How targets are set: [docs/devices.md](docs/devices.md).</sub>"
