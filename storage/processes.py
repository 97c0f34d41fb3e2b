"""Which process a file under a temporary name belongs to: process ids alone are used again, in containers at once."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def _started(pid: int) -> int:
    """When a process started, in the kernel's own ticks since boot, or milliseconds where there is no /proc."""
    try:
        # Field 22 of /proc/PID/stat (proc(5)), counted after the command's name, which may hold spaces.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            raise ProcessLookupError(pid) from None
        return round(psutil.Process(pid).create_time() * 1000)


def mark(pid: int | None = None) -> str:
    """`<pid>-<start>`: no other process, past or future, has it until the machine is started again."""
    pid = pid or os.getpid()
    return f"{pid}-{_started(pid)}"


def alive(marked: str) -> bool:
    """Whether the marked process still runs; what is no mark counts as alive, so that it is left alone."""
    pid, _, start = marked.partition("-")
    if not (pid.isdecimal() and start.isdecimal()):
        return True
    try:
        return _started(int(pid)) == int(start)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    except (OSError, psutil.Error):
        return True
