"""Python environments on a device, one for each list of requirements: offered to runners, forced on nobody.

Made with uv where the device has it, else with `python3 -m venv` and pip; there whole or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Sequence

from agents import Agent, AgentError, scripts
from agents.shell_run import clean
from quantfarm.toolchain import unresolved

#: The oldest Python that will do where nothing is said.
OLDEST = "3.9"
VERSION = re.compile(r"3\.(\d{1,2})(\.\d+)?")
#: Some requirements are compiled on the device.
LIMIT_S = 2 * 3600.0
NO_PYTHON = 3
#: Lines of what pip or uv said that are kept to explain a failure, and characters of each.
SAID, LINE = 400, 300
PATH = re.compile(r"/[^\x00-\x1f\x7f]*")


def environment(
    agent: Agent,
    requirements: Sequence[str],
    *,
    folder: str,
    python: str = "",
    oldest: str = OLDEST,
    on_line: Callable[[str], None] = lambda _: None,
    limit_s: float = LIMIT_S,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """The path, on the device, of a Python that has these requirements; made the first time.

    `folder`: where on the device ("~/" is its user's home: ShellAgent.folder); `python`: one to take in place of
    the first that is found; `oldest`: "3.11". Raises AgentError (stage "environment") that says what is missing.
    """
    version = VERSION.fullmatch(oldest)
    if not version:
        raise ValueError(f"'{oldest}' is no version of Python 3")
    mark = scripts.nonce()
    last: deque[str] = deque(maxlen=SAID)
    found: list[str] = []

    def told(line: str) -> None:
        head, _, rest = line.rstrip("\n").partition(" ")
        if head == mark:
            found.append(rest.removeprefix("python "))
        else:
            last.append(clean(line.strip())[:LINE])
            on_line(line)

    what = "\n".join((oldest, python, *sorted(requirements)))
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    command = ["sh", "-c", scripts.whole("environment"), "sh", folder, name, python, version[1], mark]
    left = agent.run([*command, *requirements], on_line=told, limit_s=limit_s, stopped=stopped)
    if left.code == 0 and not left.reason and found and PATH.fullmatch(found[0]):
        return found[0]
    said = list(last) or [clean(left.stderr)]
    raise _failed(agent.profile.name, requirements, left.code, left.reason, said)


def _failed(device: str, requirements: Sequence[str], code: int, reason: str, said: Sequence[str]) -> AgentError:
    if code == NO_PYTHON and not reason:
        message = (
            f"{device} has {said[-1]}: install one, name it in the device's option `python`, "
            "or use a runtime that needs no Python there (llama_bench)"
        )
    else:
        wanted = ", ".join(requirements)
        why = reason or unresolved.why(requirements, "\n".join(said))
        message = f"the environment of {device} for {wanted} could not be made: {why}"
    return AgentError(message, stage="environment", retryable=False)
