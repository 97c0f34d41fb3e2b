"""Python environments on a device, one for each list of requirements: offered to runners, forced on nobody.

Made with uv where the device has it, else with `python3 -m venv` and pip; there whole or not at all.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents import Agent, AgentError, scripts
from agents.shell_run import clean

#: The oldest Python that a runner may have to run with.
OLDEST = 9
#: Some requirements are compiled on the device.
LIMIT_S = 2 * 3600.0
NO_PYTHON = 3
HEADER = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
PATH = re.compile(r"/[^\x00-\x1f\x7f]*")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a runner's file says that it needs (PEP 723)."""

    requirements: tuple[str, ...] = ()
    minor: int = OLDEST  # of Python 3

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join((f"3.{self.minor}", *sorted(self.requirements))).encode()).hexdigest()[:16]


def needs(runner: Path) -> Needs:
    """Read from the `# /// script` header of a file; one without it needs nothing but Python."""
    found = HEADER.search(runner.read_text())
    if not found:
        return Needs()
    text = "".join(line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines(True))
    said = tomllib.loads(text)
    wanted = re.match(r">=\s*3\.(\d+)", str(said.get("requires-python", "")))
    return Needs(
        requirements=tuple(str(one) for one in said.get("dependencies", ())),
        minor=int(wanted[1]) if wanted else OLDEST,
    )


def environment(
    agent: Agent,
    needs: Needs,
    *,
    folder: str,
    python: str = "",
    on_line: Callable[[str], None] = lambda _: None,
    limit_s: float = LIMIT_S,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """The path, on the device, of a Python that has what is needed; made the first time.

    `folder`: where on the device ("~/" is its user's home); `python`: one to take in place of the first that is
    found. Raises AgentError (stage "environment") that says what is missing.
    """
    mark = scripts.nonce()
    last: deque[str] = deque(maxlen=5)
    found: list[str] = []

    def told(line: str) -> None:
        head, _, rest = line.rstrip("\n").partition(" ")
        if head == mark:
            found.append(rest.removeprefix("python "))
        else:
            last.append(clean(line.strip())[:300])
            on_line(line)

    name = hashlib.sha256(f"{needs.digest} {python}".encode()).hexdigest()[:16] if python else needs.digest
    command = ["sh", "-c", scripts.whole("environment"), "sh", folder, name, python, str(needs.minor), mark]
    left = agent.run([*command, *needs.requirements], on_line=told, limit_s=limit_s, stopped=stopped)
    if left.code == 0 and not left.reason and found and PATH.fullmatch(found[0]):
        return found[0]
    raise _failed(agent.profile.name, needs, left.code, left.reason or " | ".join(last) or clean(left.stderr))


def _failed(device: str, needs: Needs, code: int, why: str) -> AgentError:
    if code == NO_PYTHON:
        message = (
            f"{device} has {why.rsplit(' | ', 1)[-1]}: install one, name it in the device's option `python`, "
            "or use a runtime that needs no Python there (llama_bench)"
        )
    else:
        wanted = ", ".join(needs.requirements) or "nothing but Python"
        message = f"the environment of {device} for {wanted} could not be made: {why}"
    return AgentError(message, stage="environment", retryable=False)
