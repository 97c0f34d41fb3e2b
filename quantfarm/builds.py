"""The name of a runtime's build where it is a package that an index has: `llama-cpp-python 0.3.35`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

BUILD = re.compile(r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*) (?P<version>[0-9][0-9A-Za-z.+!]*)")


@dataclass(frozen=True, slots=True)
class Build:
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def parse(build: str) -> Build | None:
    """None for one that is no package: `llama-bench of llama-cpp-python 0.3.36`."""
    found = BUILD.fullmatch(build)
    return Build(found["package"], found["version"]) if found else None


def another(build: str, versions: object) -> str:
    """What really ran where it was not the build that was meant, by the runner's own `versions`; empty where it was.

    A runner that does not name the package says nothing about it.
    """
    named = parse(build)
    if not named or not isinstance(versions, Mapping):  # a device may say anything
        return ""
    ran = str(cast("Mapping[str, object]", versions).get(named.package) or "")
    if ran in ("", named.version):
        return ""
    return f"{named.package} {ran} ran, not {named.version}"
