"""The logits that quantized models are compared with: files that several sweeps share, removed by the last that
holds one. They are large, cheap to make again, and no part of any result.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agents import Agent
from flows import make
from quantfarm.nouns import Artifact, Cell
from quantfarm.runtimes import runtime
from storage.home import Home


def compares(cell: Cell) -> bool:
    """Whether the cell is compared with the unquantized model: of no use to a simulated device."""
    kind = cell.workload.kind == "quality" and not cell.workload.settings.get("canary")
    return kind and "logits" in runtime(cell.runtime).workloads and not cell.profile.simulated


@dataclass(slots=True)
class Logits:
    """Those that one sweep or rerun holds; its lanes ask from threads of their own."""

    home: Home
    stopped: Callable[[], bool]
    _held: dict[Path, IO[bytes]] = field(default_factory=dict[Path, IO[bytes]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, cell: Cell, base: Artifact) -> Path | None:
        """The file where it is there: nobody removes it before `let_go`."""
        path = make.logits_path(self.home, cell, base)
        with self._lock:
            return path if self._hold(path) else None

    def make(self, host: Agent, cell: Cell, base: Artifact, text: Path) -> Path:
        """The same, made where it is missing. It is work that would disturb what is measured here: the caller
        holds this machine's lease. Raises MakeError, Stopped.
        """
        with self._lock:
            while True:
                path = make.base_logits(self.home, host, cell, base, text, self.stopped)
                if self._hold(path):  # else another has just removed it
                    return path

    def let_go(self) -> None:
        """Removes what nobody else holds; who still does will remove it."""
        for path, file in self._held.items():
            with contextlib.suppress(BlockingIOError), file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        self._held.clear()

    def _hold(self, path: Path) -> bool:
        if path in self._held:
            return True
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        fcntl.flock(file, fcntl.LOCK_SH)
        if not os.fstat(file.fileno()).st_nlink:  # removed between our opening and our lock
            file.close()
            return False
        self._held[path] = file
        return True
