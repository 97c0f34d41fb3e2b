"""Tasks through lm-eval: its requests, and its own results of our answers, which our metrics equal."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flows import task_requests
from quantfarm import metrics
from quantfarm.errors import UsageError
from quantfarm.nouns import Measurement, Trace
from quantfarm.sweeps import Sweep, request
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from storage.home import Home
from tests import tasking

HEADER = "question,choice0,choice1,choice2,choice3,answer\n"
SUBJECTS = {"anatomy": 9, "logical_fallacies": 14, "virology": 5}


def folder_of_tasks(folder: Path) -> Path:
    """In the shapes of the published files, with texts that templates and CSV could stumble over."""
    numbers = [[f"{k + n}" * k for k in (1, 2, 3)] for n in range(40)]
    arc = [
        {"query": f"Question: What is {n} plus {{{{ 1 }}}}?", "choices": choices, "gold": n * 7 % 3}
        for n, choices in enumerate(numbers)
    ]
    pair = [
        {
            "context_options": [f"{n} beat {n + 1} so {n}", f"{n} beat {n + 1} so {n + 1}"],
            "continuation": "won.",
            "gold": 1,
        }
        for n in range(12)
    ]
    last = [{"context": f"import os\n\nprint({n}", "continuation": ")" if n % 2 else "zebra"} for n in range(11)]
    for name, rows in {"arc_easy": arc, "winogrande": pair, "lambada_openai": last}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part, count in (("test", SUBJECTS), ("dev", dict.fromkeys(SUBJECTS, 5))):
        (folder / "mmlu" / part).mkdir(parents=True)
        for subject, n in count.items():
            rows = [f'"Is {k}, in {subject}, ""even""?",yes,no,"it, {k}",never,{k % 4}\n' for k in range(n)]
            (folder / "mmlu" / part / f"{subject}_{part}.csv").write_text(HEADER + "".join(rows))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = folder_of_tasks(tmp_path_factory.mktemp("tasks"))
    return request({"tasks": ("arc_easy", "winogrande", "lambada_openai"), "tasks_dir": folder}, "a test")


@pytest.fixture(scope="module")
def made(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return task_requests.requests(Home(tmp_path_factory.mktemp("home")), sweep)


@pytest.fixture(scope="module")
def five_shot(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = sweep.model_copy(update={"tasks": ("mmlu",), "n_shot": 5, "limit": 6})
    return task_requests.requests(Home(tmp_path_factory.mktemp("home")), asked)["mmlu"]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ------------------------------------------------------------------ requests


def test_prompts_are_those_of_lm_evals_own_tasks(made: Mapping[str, Path]) -> None:
    head, first, *_ = lines_of(made["arc_easy"])
    assert (head["task"], head["n_docs"], head["whole"], head["metrics"]) == ("arc_easy", 40, 2376, ["acc", "acc_norm"])
    assert first["context"] == "Question: What is 0 plus {{ 1 }}?\nAnswer:"
    assert first["continuations"] == [" 1", " 22", " 333"]
    assert (first["lengths"], first["gold"], first["group"]) == ([1, 2, 3], 0, "")
    pair = lines_of(made["winogrande"])[1]
    assert pair["context"] == ["0 beat 1 so 0", "0 beat 1 so 1"]
    assert (pair["continuations"], pair["gold"]) == ([" won."] * 2, 1)
    assert lines_of(made["lambada_openai"])[1]["continuations"] == [" zebra"]


def test_mmlu_has_its_worked_examples_and_the_limit_is_one_of_each_subject(five_shot: Path) -> None:
    head, *documents = lines_of(five_shot)
    assert [head[name] for name in ("n_shot", "limit", "n_docs", "of_docs", "whole")] == [5, 6, 17, 28, 14042]
    assert {line["group"] for line in documents} == set(SUBJECTS)
    first = documents[0]["context"]
    assert first.startswith("The following are multiple choice questions (with answers) about anatomy.\n\nIs 0, in ana")
    assert first.count("Answer:") == 6
    assert first.endswith('Is 0, in anatomy, "even"?\nA. yes\nB. no\nC. it, 0\nD. never\nAnswer:')
    assert documents[0]["continuations"] == [" A", " B", " C", " D"]
    assert [line["gold"] for line in documents[:5]] == [0, 1, 2, 3, 0]


def test_the_same_question_is_the_same_file(sweep: Sweep, made: Mapping[str, Path], tmp_path: Path) -> None:
    one = sweep.model_copy(update={"tasks": ("arc_easy",)})
    again = task_requests.requests(Home(tmp_path), one)["arc_easy"]
    assert again.read_bytes() == made["arc_easy"].read_bytes()
    assert again.name == made["arc_easy"].name
    before = again.stat().st_mtime_ns
    assert task_requests.requests(Home(tmp_path), one)["arc_easy"].stat().st_mtime_ns == before


def test_worked_examples_that_are_not_there_are_a_usage_error(sweep: Sweep, tmp_path: Path) -> None:
    asked = sweep.model_copy(update={"tasks": ("arc_easy",), "n_shot": 3})
    with pytest.raises(UsageError, match=r"3 worked examples of arc_easy .* has 0 of them .*_dev\.jsonl"):
        task_requests.requests(Home(tmp_path), asked)


def test_a_task_from_the_hub_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(UsageError, match=r"cannot be had from the hub: .* with --tasks-dir .* reference_cloze"):
        task_requests.requests(Home(tmp_path / "home"), request({"tasks": ["winogrande"]}, "a test"))
    assert not list((tmp_path / "home" / "tasks").glob("*.jsonl"))


@pytest.mark.timeout(120)
def test_who_is_cut_off_while_building_requests_leaves_nothing(tmp_path: Path) -> None:
    """Cut where lm-eval waits for the hub: for one that never answers."""
    python = environments.python_of(environments.environment(task_requests.NAME, requirements(task_requests.RUNNER)))
    asked = {"kind": "requests", "task": "winogrande", "out": str(tmp_path / "out.jsonl"), "offline": False}
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        hub.listen()
        apart = {"TMPDIR": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
        env = {**os.environ, **apart, "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"}
        command = [str(python), "-P", str(task_requests.RUNNER), "--request", json.dumps(asked)]
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env) as process,
            hub.accept()[0],
        ):
            assert process.stdin
            assert list(tmp_path.glob("tasks-*"))
            process.stdin.close()
            assert process.wait(timeout=20) != 0
    assert not list(tmp_path.glob("tasks-*"))
    assert not (tmp_path / "out.jsonl").exists()


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no task arc_eassy"):
        task_requests.requests(Home(tmp_path), request({"tasks": ["arc_eassy"]}, "a test"))


# ------------------------------------------------------------------ results


def results(sweep: Sweep, task: str, requests: Path, trace: Trace, out: Path, **more: Any) -> dict[str, Any]:
    """lm-eval's own evaluation, through its simple_evaluate, of what the runner answered."""
    items = out.with_suffix(".items")
    items.write_text(tasking.texts(trace.of("item")))
    python = environments.python_of(environments.environment(task_requests.NAME, requirements(task_requests.RUNNER)))
    asked = {"kind": "results", "task": task, "requests": str(requests), "items": str(items), "out": str(out), **more}
    end = task_requests.evaluate(python, sweep.tasks_dir, asked)
    assert end["ok"], end
    return json.loads(out.read_text())


def named(trace: Trace) -> dict[str, Measurement]:
    return {one.metric: one for one in metrics.measure(trace) if one.unit == "%"}


def test_accuracy_and_its_error_are_lm_evals(
    sweep: Sweep, made: Mapping[str, Path], reference: Path, tmp_path: Path
) -> None:
    trace = tasking.run(reference, made["arc_easy"])
    assert trace.finished, trace.events[-1]
    theirs = results(sweep, "arc_easy", made["arc_easy"], trace, tmp_path / "out.json")["results"]["arc_easy"]
    ours = named(trace)
    assert {name: one.value for name, one in ours.items()} == pytest.approx(
        {
            "acc_arc_easy_40of2376": 100 * theirs["acc,none"],
            "acc_stderr_arc_easy_40of2376": 100 * theirs["acc_stderr,none"],
            "acc_norm_arc_easy_40of2376": 100 * theirs["acc_norm,none"],
            "acc_norm_stderr_arc_easy_40of2376": 100 * theirs["acc_norm_stderr,none"],
        }
    )
    assert 0 < ours["acc_arc_easy_40of2376"].value < 100
    assert all(one.n == 40 for one in ours.values())


def test_mmlu_is_weighed_as_lm_eval_weighs_it(sweep: Sweep, five_shot: Path, reference: Path, tmp_path: Path) -> None:
    trace = tasking.run(reference, five_shot)
    assert trace.finished, trace.events[-1]
    found = results(sweep, "mmlu", five_shot, trace, tmp_path / "out.json", n_shot=5, limit=6)
    ours, theirs = named(trace), found["groups"]["mmlu"]
    acc, error = ours["acc_mmlu_5shot_17of14042"], ours["acc_stderr_mmlu_5shot_17of14042"]
    assert acc.value == pytest.approx(100 * theirs["acc,none"], abs=1e-9)
    assert error.value == pytest.approx(100 * theirs["acc_stderr,none"], abs=1e-9)
    by_subject = [100 * found["results"][f"mmlu_{subject}"]["acc,none"] for subject in sorted(SUBJECTS)]
    assert acc.samples == pytest.approx(by_subject)
    assert "17 of the 14042 items of mmlu: a sample, not the benchmark" in acc.remark
    assert {sample["doc_hash"] for sample in found["samples"]["mmlu_virology"]} == {
        item["doc_hash"] for item in trace.of("item") if item["group"] == "virology"
    }
