"""The Python that a quantizer's runner is run by on a device that makes variants."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from agents import Agent
from agents import environments as there
from flows.making_steps import never
from flows.progress import tell
from quantfarm import builds
from quantfarm.nouns import Recipe
from quantfarm.quantizers import Quantizer
from quantfarm.toolchain.conversion import requirements, requires_python

#: Folders that agents of such machines keep files in, where they do not say.
FOLDER = "~/.cache/quantfarm"
ASK_S = 120.0
#: Prints `package==version` of each; fails where one is not installed.
VERSIONS = "import sys\nfrom importlib.metadata import version\nfor n in sys.argv[1:]: print(n + '==' + version(n))"


def python(on: Agent, made_by: Quantizer, recipe: Recipe, stopped: Callable[[], bool] = never) -> str:
    """The Python of a device that a quantizer's runner is run by: the one that the device's profile names where that
    has what is needed, else one of an environment that is made there; with the very version of the tool that the
    recipe names. Raises AgentError.
    """
    needed = pinned(requirements(made_by.runner), recipe.tool)
    given = str(dict(on.profile.options).get("python") or "")
    if given and not made_by.environment and _has(on, given, needed):
        return given
    tell("note", f"the Python environment of {made_by.name} on {on.profile.name}: made where it is missing")
    return there.environment(
        on,
        needed,
        folder=str(getattr(on, "folder", FOLDER)),
        python=given,
        oldest=requires_python(made_by.runner),
        stopped=stopped,
    )


def _has(on: Agent, python: str, needed: Sequence[str]) -> bool:
    """Whether a Python of a device has these packages, those of one version in that one. Raises AgentError."""
    lines: list[str] = []
    asked = [found[0] for one in needed if (found := re.match(r"[A-Za-z0-9._-]+", one))]
    left = on.run([python, "-c", VERSIONS, *asked], on_line=lines.append, limit_s=ASK_S)
    has = [line.strip() for line in lines]
    exact = [one for one in needed if re.fullmatch(r"[A-Za-z0-9._-]+==[^;,]+", one)]
    return left.code == 0 and not left.reason and set(exact) <= set(has)


def pinned(needed: Sequence[str], tool: str) -> list[str]:
    """Requirements with the tool's in the version that `llm-compressor 0.10.0` names: it is part of the recipe."""
    build = builds.parse(tool)
    if not build:
        return list(needed)
    exactly = f"{build.package}=={build.version}"
    return [exactly if _package(one) == _plain(build.package) else one for one in needed]


def _package(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return _plain(found[0]) if found and ";" not in requirement else ""


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
