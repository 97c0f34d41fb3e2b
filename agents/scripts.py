"""The shell scripts of agents/device/, made ready to be run on a device.

A script travels on the stdin of a small shell that waits for it, and never on a command line: nothing
between here and there (a login shell of any kind, adb, a list of processes) gets to read or change it,
arguments may be long, and what follows on stdin is the script's own.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "device"

#: Reads a line, then all lines up to that same line again, and runs what lay between: all of it or nothing,
#: also where the way is cut in the middle. Quoted so that csh and fish as login shells hand it on unchanged.
COMMAND = (
    "exec sh -c '"
    'IFS= read -r qf_until; qf_line=$(printf "\\n."); qf_newline=${qf_line%.}; qf_script=; '
    "while IFS= read -r qf_line; do "
    'if [ "$qf_line" = "$qf_until" ]; then eval "$qf_script"; exit; fi; '
    "qf_script=$qf_script$qf_line$qf_newline; done'"
)


def nonce() -> str:
    """What nothing on a device can guess: 32 hex digits."""
    return secrets.token_hex(16)


@cache
def _text(name: str) -> str:
    """A script without its comments: it is read there byte by byte."""
    return re.sub(r"(?m)^ *#.*\n", "", (FOLDER / f"{name}.sh").read_text())


def whole(name: str) -> str:
    """A script that stands on its own: for `sh -c`."""
    return _text("common") + _text(name)


def script(name: str, arguments: Sequence[str], settings: Mapping[str, str | int]) -> bytes:
    """What to write to COMMAND's stdin: a script with its `qf_` settings and arguments. Raises ValueError."""
    if any("\0" in text for text in arguments):
        raise ValueError("an argument holds a NUL character")
    given = "".join(f"qf_{key}={shlex.quote(str(value))}\n" for key, value in settings.items())
    words = " ".join(shlex.quote(text) for text in arguments)
    until = f"#{nonce()}"
    return os.fsencode(f"{until}\n{given}set -- {words}\n{whole(name)}{until}\n")
