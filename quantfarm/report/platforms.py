"""What each platform should run: devices with the same system and chip (or GPU) are one platform."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.nouns import DeviceProfile
from quantfarm.report.figures import number, plural
from quantfarm.report.figures_table import escape
from quantfarm.report.sections import Subject

HEADINGS = ("platform", "model", "recommended default", "decode tok/s", "resident MiB", "of")


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """What the measured devices of one platform should run of one model; `variants` of several where they differ."""

    platform: str
    model: str
    subjects: tuple[Subject, ...]

    @property
    def votes(self) -> Counter[str]:
        """How many devices each variant is the default of; empty: none has one."""
        return Counter(s.recommendation.chosen.name for s in self.subjects if s.recommendation.chosen)

    @property
    def variants(self) -> list[str]:
        most = max(self.votes.values(), default=0)
        return sorted(name for name, n in self.votes.items() if n == most)


def platform(profile: DeviceProfile | None) -> str:
    """`macos-arm64 · Apple M3 Pro`: the system, and what does the work; empty where the device is not known."""
    if profile is None:
        return ""
    worker = " + ".join(profile.accelerators) or profile.chip
    return " · ".join(part for part in (profile.platform or profile.os.partition(",")[0], worker) if part)


def defaults(subjects: Sequence[Subject]) -> list[Default]:
    """By platform and model; simulated devices and templates do not count."""
    groups: dict[tuple[str, str], list[Subject]] = defaultdict(list)
    for s in subjects:
        if not s.simulated and not (s.profile and s.profile.template):
            groups[platform(s.profile), s.model].append(s)
    return [
        Default(platform=name, model=model, subjects=tuple(sorted(group, key=lambda s: s.device)))
        for (name, model), group in sorted(groups.items())
    ]


def table(subjects: Sequence[Subject]) -> str:
    """Markdown; empty where nothing was measured."""
    found = defaults(subjects)
    if not found:
        return ""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|--:|--:|---|"]
    return "\n".join([*lines, *("| " + " | ".join(_cells(one)) + " |" for one in found)])


def _cells(one: Default) -> list[str]:
    whose = [s for s in one.subjects if s.recommendation.chosen and s.recommendation.chosen.name in one.variants]
    return [
        escape(one.platform) or "not known",
        escape(one.model),
        _default(one),
        _range([s.recommendation.chosen.value("decode_tps") for s in whose if s.recommendation.chosen]),
        _range([s.recommendation.chosen.value("resident_peak") for s in whose if s.recommendation.chosen], 4),
        ", ".join(escape(s.device) for s in one.subjects),
    ]


def _default(one: Default) -> str:
    """The one that most devices should run; a tie, and who differs, is said."""
    if not one.variants:
        return "none: see there"
    if len(one.variants) > 1:
        return "undecided: " + ", ".join(f"{escape(name)} on {_where(one, name)}" for name in one.variants)
    (name,) = one.variants
    others = [f"{escape(other)} on {_where(one, other)}" for other in sorted(one.votes) if other != name]
    none = len(one.subjects) - sum(one.votes.values())
    others += [f"none on {plural(none, 'device')}"] if none else []
    return f"**{escape(name)}**" + (f" (but {', '.join(others)})" if others else "")


def _where(one: Default, name: str) -> str:
    return ", ".join(
        escape(s.device) for s in one.subjects if s.recommendation.chosen and s.recommendation.chosen.name == name
    )


def _range(values: Sequence[float | None], digits: int = 3) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return number(None)
    low, high = number(known[0], digits), number(known[-1], digits)
    return low if low == high else f"{low}–{high}"
