"""How far a making step is, from the `progress` events of its runner: told now and then, with an estimate."""

from __future__ import annotations

import json
import time

from flows.progress import tell
from quantfarm.toolchain.news import Counter, Step

#: Short steps are over before one could read about them.
FIRST_S = 5.0
EVERY_S = 5.0


class StepProgress:
    """Looks at each line that a runner prints. `what`: the step, as a person knows it."""

    def __init__(self, what: str) -> None:
        self._counter = Counter(what, self._tell)
        self._next = time.monotonic() + FIRST_S

    def look(self, line: str) -> None:
        """What is no event is somebody else's to refuse."""
        if '"progress"' not in line:
            return
        try:
            event = json.loads(line)
            if event["event"] == "progress":
                self._counter.at(int(event["done"]), int(event["of"]))
        except (ValueError, KeyError, TypeError):
            return

    def _tell(self, step: Step) -> None:
        if (now := time.monotonic()) < self._next or step.done >= step.of:
            return
        self._next = now + EVERY_S
        left = f", about {step.left_s:.0f} s left" if step.left_s is not None else ""
        tell("note", f"{step.what}: {step.done} of {step.of}{left}")
