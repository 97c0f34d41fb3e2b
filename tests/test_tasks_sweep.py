"""Tasks through a sweep: two quantizations and their paired difference, and a runner that is killed near its end."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import psutil

from quantfarm.statistics.tasks import differences
from storage.candidates import candidates
from storage.home import Home
from storage.names import trace_path
from storage.reading import Reader
from tests.sweeping import counts, landings, quantfarm, start

QUIZ = ("--suite", "speed", "--launches", "1", "-p", "16", "-n", "4", "--threads", "1", "--tasks", "reference_cloze")
ITEMS, NEAR_THE_END = 400, 250


def answered(home: Path) -> int:
    files = list((home / "tasks" / "answered").glob("*.jsonl"))
    return sum(file.read_bytes().count(b"\n") for file in files)


def runner_of(sweep: int) -> psutil.Process | None:
    """The process that scores: under the sampler, which names it too."""
    for process in psutil.Process(sweep).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if any(part.endswith("llama_cpp.py") for part in command[:4]) and '"tasks"' in command[-1]:
                return process
    return None


def test_a_killed_runner_costs_only_the_items_that_it_had_not_scored(home: Path, prefect_server: str) -> None:
    asked = ("--quants", "F16", *QUIZ, "--limit", str(ITEMS))
    process = start("sweep", *asked, "--json")
    while answered(home) < NEAR_THE_END:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    runner = runner_of(process.pid)
    assert runner
    runner.kill()
    out, err = process.communicate(timeout=300)
    assert json.loads(out)["failed"] == 1, out + err
    left = answered(home)
    assert NEAR_THE_END <= left < ITEMS

    again = counts(*asked)
    assert (again["ok"], again["failed"]) == (1, 0)
    (quiz,) = [one for one in landings(home).all() if one.cell.workload.kind == "tasks" and one.attempt == 2]
    trace = trace_path(Home(home), quiz.cell.id, 2).read_text().splitlines()
    items = [item for item in map(json.loads, trace) if item["event"] == "item"]
    assert len({item["doc"] for item in items}) == len(items) == ITEMS
    assert sum(item.get("cached", False) for item in items) == left
    assert answered(home) == 0
    assert {"acc_reference_cloze_400of1000"} <= {one.metric for one in quiz.measurements}


def test_two_quantizations_are_compared_document_by_document(home: Path, prefect_server: str) -> None:
    assert counts("--quants", "F16,Q2_K", *QUIZ, "--limit", "60")["failed"] == 0
    rows = json.loads(quantfarm("results", "--json"))
    (name,) = {row["metric"] for row in rows if row["metric"].startswith("acc_reference")}
    assert name == "acc_reference_cloze_60of1000", "a part of a task is nowhere shown as the task"
    with Reader(Home(home)) as reader:
        by_name = {one.variant: one for one in candidates(reader)}
    found = differences(by_name["F16"], by_name["Q2_K"])[name]
    values = {variant: one.figures[name].value for variant, one in by_name.items()}
    assert found.n == 60
    assert abs(found.delta - (values["Q2_K"] - values["F16"])) < 1e-9
    assert found.low <= found.delta <= found.high
    assert "60 of the 1000 items of reference_cloze: a sample" in by_name["F16"].remarks[name]


def test_a_bad_task_file_is_refused_before_anything_runs(home: Path, tmp_path: Path) -> None:
    (tmp_path / "arc_easy.jsonl").write_text('{"query": "Why?", "choices": ["a", "b"], "gold": 2}\n')
    said = quantfarm("sweep", "--quants", "F16", "--tasks", "arc_easy", "--tasks-dir", str(tmp_path), code=2)
    assert "arc_easy.jsonl, line 1: gold is 2, not the index of one of its 2 choices" in " ".join(said.split())
    assert not list(landings(home).all())
