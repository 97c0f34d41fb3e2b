"""How far a making step is: told now and then, with an estimate."""

from __future__ import annotations

import json

import pytest

from flows import progress, step_progress
from flows.progress import News
from flows.step_progress import StepProgress
from quantfarm.toolchain import news as steps


class Heard:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, news: News) -> None:
        self.texts.append(news.text)


def told(monkeypatch: pytest.MonkeyPatch, lines: list[str], seconds_each: float) -> list[str]:
    """With a clock that moves by itself between two lines."""
    now = [100.0]
    for module in (step_progress, steps):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    heard = Heard()
    with progress.listening(heard):
        step = StepProgress("importance matrix")
        for line in lines:
            now[0] += seconds_each
            step.look(line)
    return heard.texts


def event(done: int) -> str:
    return json.dumps({"event": "progress", "t": 1, "done": done, "of": 100, "what": "imatrix"})


def test_a_long_step_is_told_every_few_seconds_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = told(monkeypatch, [event(n) for n in range(1, 101)], seconds_each=1)
    assert texts[0] == "importance matrix: 5 of 100, about 95 s left"
    assert len(texts) == 19
    assert "100 of 100" not in " ".join(texts)


def test_a_short_step_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [event(n) for n in range(1, 101)], seconds_each=0.04) == []


def test_what_is_no_progress_is_let_by(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = ['"progress"', '{"event": "progress"}', '{"event": "progress", "done": "x", "of": 1}', "[1]", "", "\x00"]
    assert (
        told(monkeypatch, [*strange, '{"event": "result", "what": "progress"}', '["progress"]'], seconds_each=9) == []
    )
