"""Under what conditions the figures of a device and model were taken: common ones once, differing ones said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from quantfarm.candidates import Candidate
from quantfarm.nouns import DeviceProfile
from quantfarm.report.figures import number
from quantfarm.report.figures_table import escape

#: Settings in the order in which a reader looks for them; others follow by name.
SETTINGS = ("threads", "n_batch", "n_ubatch", "flash_attn", "type_k", "type_v", "n_gpu_layers", "n_ctx")


def lines(profile: DeviceProfile | None, candidates: Sequence[Candidate], commit: str, date: str) -> list[str]:
    """Markdown list items; a condition nobody recorded is left out, not guessed."""
    facts = [
        ("Device", _device(profile)),
        ("System", (profile.os if profile else "") or _common(candidates, "os")),
        ("Runtime", ", ".join(sorted({f"{c.runtime} ({c.build})" if c.build else c.runtime for c in candidates}))),
        ("Backend in use", _common(candidates, "backend")),
        ("Settings in effect", _settings(candidates)),
        ("Governor", _common(candidates, "governor")),
        ("Versions", _versions(candidates)),
        ("Quality text", _text(candidates)),
        ("Measured", _common(candidates, "measured_at", last=True)),
        ("Written", " at ".join(part for part in (date, f"commit `{commit}`" if commit else "") if part)),
    ]
    return [f"- **{name}**: {escape(value)}" for name, value in facts if value]


def in_short(candidates: Sequence[Candidate], chip: str = "") -> list[str]:
    """For a line under a plot: device, build, backend, power mode, threads, when. What nobody recorded is left out,
    but for the power mode, whose absence is said."""
    devices = ", ".join(sorted({c.device for c in candidates}))
    threads = _merged(candidates, "settings").get("threads", "")
    modes = sorted({power_mode(c.conditions) for c in candidates})
    measured = _common([_by_day(c) for c in candidates], "measured_at", last=True)
    facts = [
        f"{devices} ({chip})" if chip else devices,
        ", ".join(sorted({c.build or c.runtime for c in candidates})),
        _common(candidates, "backend"),
        " / ".join(modes),
        f"{threads} thread{'s' if threads != '1' else ''}" if threads else "",
        f"measured {measured}" if measured else "",
    ]
    return [fact for fact in facts if fact]


def _by_day(candidate: Candidate) -> Candidate:
    day = str(candidate.conditions.get("measured_at") or "")[:10]
    return replace(candidate, conditions={"measured_at": day})


def _device(profile: DeviceProfile | None) -> str:
    if profile is None:
        return ""
    parts = [
        profile.chip,
        f"{profile.cores} physical core{'s' if profile.cores != 1 else ''}",
        f"{number(profile.memory_mib / 1024)} GiB memory" if profile.memory_mib else "",
        *profile.accelerators,
    ]
    return " · ".join(part for part in parts if part)


def _values(candidates: Sequence[Candidate], name: str) -> list[str]:
    found = [c.conditions.get(name) for c in candidates]
    return sorted({str(value) for value in found if value not in (None, "", {})})


def _common(candidates: Sequence[Candidate], name: str, *, last: bool = False) -> str:
    """The value all have; where they differ each of them, or the `last` alone as a range."""
    values = _values(candidates, name)
    if last and len(values) > 1:
        return f"{values[0]} to {values[-1]}"
    return " / ".join(values)


def _mapping(candidate: Candidate, name: str) -> Mapping[str, Any]:
    value = candidate.conditions.get(name)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _merged(candidates: Sequence[Candidate], name: str) -> dict[str, str]:
    """A mapping of every candidate in one; what differs is joined by a stroke."""
    merged: dict[str, set[str]] = {}
    for candidate in candidates:
        for item, value in _mapping(candidate, name).items():
            merged.setdefault(item, set()).add(str(value))
    return {item: " / ".join(sorted(values)) for item, values in merged.items()}


def _settings(candidates: Sequence[Candidate]) -> str:
    merged = _merged(candidates, "settings")
    order = [name for name in SETTINGS if name in merged] + sorted(set(merged) - set(SETTINGS))
    return " · ".join(f"{name} {merged[name]}" for name in order)


def _versions(candidates: Sequence[Candidate]) -> str:
    own = [f"quantfarm {version}" for version in _values(candidates, "quantfarm")]
    return " · ".join(own + [f"{name} {version}" for name, version in sorted(_merged(candidates, "versions").items())])


def _text(candidates: Sequence[Candidate]) -> str:
    """The text that quality is of: sha256, chunks and tokens scored."""
    texts: dict[str, Candidate] = {c.text_sha256: c for c in candidates if c.text_sha256}
    said: list[str] = []
    for sha, candidate in sorted(texts.items()):
        tokens = sum(candidate.chunk_tokens)
        scored = f", {len(candidate.chunk_tokens)} chunks, {tokens:,} tokens scored" if tokens else ""
        size = candidate.conditions.get("bytes")
        said.append(f"sha256 {sha}{scored}" + (f", {size:,} bytes" if isinstance(size, int) else ""))
    return " / ".join(said)


def power_mode(conditions: Mapping[str, Any]) -> str:
    """`on mains, governor performance`; `power mode unknown` where the device does not say."""
    mains = conditions.get("on_mains")
    said = [] if mains is None else ["on mains" if mains else "on battery"]
    said += [f"governor {governor}"] if (governor := conditions.get("governor")) else []
    return ", ".join(said) or "power mode unknown"
