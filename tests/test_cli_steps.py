"""The steps that a person watches while a device is registered: one line for each device, the one it is at."""

from __future__ import annotations

import io

from rich.console import Console

from cli.steps import Steps
from flows.steps import Step


def test_a_device_has_one_line_and_it_is_the_step_it_is_at() -> None:
    steps = Steps(Console(file=io.StringIO(), force_terminal=True, width=80))
    with steps:
        for text in ("connecting", "looking for runtimes", "canary"):
            steps.step(Step(kind="step", device="desk", text=text))
        assert [task.description for task in steps._progress.tasks] == ["desk: canary"]


def test_without_a_terminal_each_step_is_a_plain_line_with_its_estimate() -> None:
    out = io.StringIO()
    with Steps(Console(file=out, width=80)) as steps:
        steps.step(Step(kind="step", device="desk", text="canary", about_s=60.0))
    assert out.getvalue() == "desk: canary (about 60 s)\n"
