"""Ends what a killed sweep would leave behind (its temporary Prefect server).

Run as `python -P reaper.py TOKEN`: sleeps until its stdin closes, which the kernel does when the
sweep's process is gone, however it went; then ends every process that carries the token in
its environment. Costs nothing meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid

MARK = "QUANTFARM_REAP"


def start() -> subprocess.Popen[bytes]:
    """Mark this process's future children and start their reaper. Keep the result for as long as they may live."""
    token = uuid.uuid4().hex
    command = [sys.executable, "-P", __file__, token]
    # Its own session: a Ctrl-C meant for the sweep must not end the one who cleans up.
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    os.environ[MARK] = token
    return keeper


def reap(token: str, grace_s: float = 5.0) -> None:
    import psutil  # noqa: PLC0415 - only here: the reaper stays small while it sleeps

    marked: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == token:
                marked.append(process)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in marked:
            with contextlib.suppress(psutil.Error):
                end(process)
        _, marked = psutil.wait_procs(marked, timeout=grace_s)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    reap(sys.argv[1])
