"""A run that is killed near its end: the next attempt scores the rest alone, and its trace is whole."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import item_cache
from flows.execute import Job
from quantfarm import corpus, metrics, suites
from quantfarm.nouns import Artifact, Cell, DeviceProfile, Recipe, Variant
from quantfarm.runtimes import events
from quantfarm.tasks import requests as files
from storage.home import Home
from tests import tasking

ITEMS, KILLED_AT = 100, 90


def job(attempt: int = 1, threads: int = 1, sha256: str = "ab" * 32, build: str = "llama-cpp-python 0.3.36") -> Job:
    recipe = Recipe(source="ab" * 32, quantizer="as_is", quant="F16")
    asked = {"kind": "tasks", "task": "reference_cloze", "limit": ITEMS, "requests_sha256": "cd" * 32}
    cell = Cell(
        profile=DeviceProfile(name="here"),
        variant=Variant(model="reference", format="gguf", quant="F16", recipe=recipe),
        runtime="llama_cpp",
        build=build,
        workload=suites.workload({**asked, "threads": threads}, {}),
    )
    return Job(cell=cell, attempt=attempt, artifact=Artifact(sha256=sha256, size=1, recipe=recipe), files={})


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(files.of_cloze(corpus.held_out_text().decode(), ITEMS))
    return path


def killed(model: Path, requests: Path, heard: Callable[[str], None]) -> int:
    """Runs until so many items were heard, then kill -9: how many new items that were."""
    process = subprocess.Popen(tasking.command(model, requests), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    with contextlib.suppress(OSError, AttributeError):  # a narrow pipe, so that it cannot run ahead of its reader
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    found = 0
    for line in process.stdout:
        heard(line.decode())
        found += '"event": "item"' in line.decode()
        if found == KILLED_AT:
            process.kill()
            break
    heard('{"event": "item", "t": 5, "doc": 99, "ll": [-1.')  # what a cut connection may leave
    process.stdin.close()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    return found


def test_killed_at_item_90_of_100_it_goes_on_from_there(home: Path, reference: Path, requests: Path) -> None:
    place = Home(home)
    assert not item_cache.files(place, job())
    assert killed(reference, requests, item_cache.writer(place, job())) == KILLED_AT

    again = job(attempt=2)
    answered = item_cache.files(place, again)
    assert set(answered) == {"answered"}
    heard, lines = item_cache.writer(place, again), list[str]()
    command = tasking.command(reference, requests, answered=str(answered["answered"]))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            heard(line)
    trace = events.parse(lines)
    items = trace.of("item")
    assert trace.finished
    assert len(items) == len({item["doc"] for item in items}) == ITEMS
    assert sum(item.get("cached", False) for item in items) == trace.first("tasks")["answered"] == KILLED_AT
    assert {one.metric for one in metrics.measure(trace)} >= {"acc_reference_cloze_100of1000"}
    assert not item_cache.files(place, again), "a run that ended well leaves nothing: measured afresh is measured whole"

    whole = tasking.run(reference, requests)
    pairs = zip(tasking.answers(trace), tasking.answers(whole), strict=True)
    assert max(abs(a - b) for (a, _), (b, _) in pairs) < 0.05  # 16-bit weights, packed otherwise


def test_items_of_another_question_are_never_taken(home: Path) -> None:
    place = Home(home)
    item_cache.writer(place, job())('{"event": "item", "t": 1, "doc": 0}\n')
    assert item_cache.files(place, job(attempt=7, threads=4)), "how many threads computed it changes no answer"
    assert not item_cache.files(place, job(sha256="cd" * 32))
    assert not item_cache.files(place, job(build="llama-cpp-python 0.3.37"))


def test_answers_to_other_documents_are_passed_over(reference: Path, tmp_path: Path) -> None:
    documents = [tasking.document(n, f"def f_{n}(", ["x):", "y):"]) for n in range(3)]
    file = tasking.write_requests(tmp_path / "r.jsonl", documents)
    item = {"event": "item", "t": 1, "greedy": [False, False], "ll": [-1.0, -2.0], "gold": 0, "lengths": [3, 3]}
    lines = [
        {**item, "doc": 0, "doc_hash": documents[0]["doc_hash"], "group": ""},
        {**item, "doc": 1, "doc_hash": "of another file", "group": ""},
        {**item, "doc": 2, "doc_hash": documents[2]["doc_hash"], "ll": [-1.0]},
    ]
    (tmp_path / "answered").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "it')
    trace = tasking.run(reference, file, answered=str(tmp_path / "answered"))
    cached = {item["doc"]: item.get("cached", False) for item in trace.of("item")}
    assert cached == {0: True, 1: False, 2: False}
    assert trace.of("item")[0]["ll"] == [-1.0, -2.0]
