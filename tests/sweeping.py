"""Sweeps as a user starts them: the program itself, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from storage.home import Home
from storage.landing import Landings

QUANTFARM = Path(sys.executable).parent / "quantfarm"


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`quantfarm ARGUMENTS`, running; its stdout and stderr are kept."""
    return subprocess.Popen(
        [str(QUANTFARM), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def quantfarm(*arguments: str, code: int = 0, **environment: str) -> str:
    """Run to the end; its stdout. The exit code must be as said."""
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit {process.returncode}, not {code}:\n{out}\n{err}"
    assert "Traceback" not in out + err, out + err
    return out if code != 2 else err


def counts(*arguments: str, code: int = 0, **environment: str) -> dict[str, Any]:
    """The counts of `quantfarm sweep ARGUMENTS --json`."""
    return json.loads(quantfarm("sweep", *arguments, "--json", code=code, **environment))


def landings(home: Path) -> Landings:
    return Landings(Home(home))
