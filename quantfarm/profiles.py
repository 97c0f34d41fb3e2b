"""Device profiles from YAML: facts, every key known, every mistake said with a suggestion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import DeviceProfile, Idle, Limits

#: The profiles that come with the farm: templates and simulated devices.
SHIPPED = Path(__file__).resolve().parent.parent / "device_profiles"
KEYS = frozenset(f.name for f in fields(DeviceProfile))
#: The kind of a device that nothing of ours reaches: its results come from elsewhere.
IMPORT = "import"
#: Keys that are mappings of their own, by what they may hold.
NESTED = {"limits": Limits, "idle": Idle}
#: Keys that are free mappings of names to values.
PAIRS = ("builds", "missing", "targets", "options")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises UsageError naming file, line and column of a mistake."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} should hold 'key: value' lines, not a {type(content).__name__}")
    return cast("dict[str, Any]", content)


def _pairs(value: object) -> object:
    """A YAML mapping as sorted pairs, the form that Parameters has."""
    return sorted(cast("Mapping[str, Any]", value).items()) if isinstance(value, Mapping) else value


def parse(content: Mapping[str, Any], where: str) -> DeviceProfile:
    """One profile from a mapping. Raises UsageError for unknown keys and wrong values."""
    for key in content:
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
    for part, noun in NESTED.items():
        known = [f"{part}.{field.name}" for field in fields(noun)]
        for key in cast("Mapping[str, Any]", content.get(part) or {}):
            if f"{part}.{key}" not in known:
                raise unknown("key", f"{part}.{key}", known, where)
    body = dict(content) | {key: _pairs(content[key]) for key in PAIRS if key in content}
    try:
        return TypeAdapter(DeviceProfile).validate_python(body)
    except ValidationError as error:
        raise UsageError(f"{where}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """`cores: Input should be a valid integer (given 'eight')` for each mistake."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))}: {e['msg']} (given {e['input']!r})" for e in error.errors(include_url=False)
    )


def load(folders: Iterable[Path]) -> dict[str, DeviceProfile]:
    """All profiles by name; a later folder's profile takes the place of an earlier one's."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    profiles = [parse({"name": path.stem} | read_yaml(path), str(path)) for path in paths]
    return {profile.name: profile for profile in profiles}


def choose(
    profiles: Mapping[str, DeviceProfile], names: Iterable[str], tags: Iterable[str] = ()
) -> tuple[DeviceProfile, ...]:
    """The profiles named, and those that carry a tag named.

    Raises UsageError for unknown ones, for templates, and for devices that nothing reaches from here.
    """
    reached = [p for p in profiles.values() if not p.template and p.kind != IMPORT]
    wanted = {tag: [p for p in reached if tag in p.tags] for tag in tags}
    for tag, found in wanted.items():
        if not found:
            raise unknown("tag", tag, {t for p in reached for t in p.tags})
    for name in names:
        if name not in profiles:
            raise unknown("device", name, (p.name for p in profiles.values() if not p.template))
        if profiles[name].template:
            raise UsageError(
                f"'{name}' is a template to copy from, not a device: register yours under a name of its own"
            )
        if profiles[name].kind == IMPORT:
            raise UsageError(
                f"'{name}' cannot be measured from here: no agent reaches such a device (kind: {IMPORT}), "
                "its results can only come from elsewhere"
            )
    chosen = [profiles[name] for name in names] + [p for found in wanted.values() for p in found]
    return tuple({p.name: p for p in chosen}.values())
