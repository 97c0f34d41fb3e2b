"""Why an environment could not be made: which of its requirements, and what a user can do. From what uv or pip said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quantfarm.toolchain.process import NO_NETWORK, explain

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: uv's resolver: `Because only numpy<=2.5 is available and you require numpy>=99, we can conclude that …`
BECAUSE = re.compile(r"Because (.+?),? (?:we can conclude|it follows)")
#: What uv and pip call a package that they could not fetch or build.
FAILED = re.compile(
    r"[Ff]ailed to (?:build|download|fetch|prepare)[ :]+`?(?:https?://\S*/)?([A-Za-z0-9][A-Za-z0-9._-]*)"
    r"|No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)"
)
PLACE = re.compile(r"https?://(?:[^\s/@]*@)?([^\s/`)]+)")
MEND = "point pip or uv at an index or a folder that has it (index-url, extra-index-url, find-links)"


def why(requirements: Sequence[str], said: str) -> str:
    """One line: the requirement that cannot be had, the reason, what to do."""
    text = " ".join(line.lstrip(" ╰─▶│├×") for line in said.splitlines())
    text = re.sub(r"\s+", " ", text)
    advice = explain(said)
    if advice == NO_NETWORK:
        place = PLACE.search(text)
        at = f" ({place[1]})" if place else ""
        return f"{advice}{at}, and it needs {_listed(requirements)}. Connect, or {MEND.replace('has it', 'has them')}"
    if because := BECAUSE.search(text):
        named = _named(requirements, because[1])
        return f"{_listed(named or requirements)} cannot be had: {because[1].rstrip(',')}. To mend it, {MEND}"
    if failed := FAILED.search(text):
        package = failed[1] or failed[2]
        named = _named(requirements, package)
        which = _listed(named) if named else f"{package}, which {_listed(requirements)} need,"
        return f"{which} cannot be had: {advice}"
    return f"{_listed(requirements)}: {advice}"


def _listed(requirements: Sequence[str]) -> str:
    return ", ".join(requirements)


def _named(requirements: Sequence[str], text: str) -> list[str]:
    """The requirements whose package a text names; those alone that it says are required, where it says so."""
    asked = text.partition("you require ")[2] or text
    words = {_plain(word) for word in NAME.findall(asked)}
    return [one for one in requirements if (name := NAME.match(one)) and _plain(name[0]) in words]


def _plain(name: str) -> str:
    """As an index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower().strip("-")
