"""What a sweep's tasks ask, as files in the home: made once, so that their sha256 is known before it is planned."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.progress import tell
from quantfarm import corpus, tasks
from quantfarm.errors import FarmError, UsageError
from quantfarm.models import fetch
from quantfarm.nouns import digest
from quantfarm.sweeps import Sweep
from quantfarm.tasks import local
from quantfarm.tasks import requests as files
from quantfarm.toolchain import environments
from quantfarm.toolchain.conversion import requirements
from quantfarm.toolchain.news import Step
from storage import atomic
from storage.home import Home

RUNNER = Path(__file__).resolve().parent.parent / "runners" / "lm_eval_tasks.py"
NAME = "lm-eval"
LIMIT_S = 3600.0
#: From the end of its lifeline, on which it cleans up, to its death.
GRACE_S = 2.0
HUB = "https://huggingface.co"
#: Seconds that the hub may take to answer at all.
HUB_S = 10.0


def requests(home: Home, sweep: Sweep) -> Mapping[str, Path]:
    """The requests file of each task. Raises UsageError: unknown task, bad row (file, line), no data to be had."""
    return {task: _one(home, sweep, task) for task in sweep.wanted_tasks}


def _one(home: Home, sweep: Sweep, task: str) -> Path:
    if task in tasks.BUILT_IN:
        made = files.of_cloze(corpus.held_out_text().decode(), sweep.limit, task)
        return _kept(home, task, hashlib.sha256(made).hexdigest()[:16], made)
    data = local.read(sweep.tasks_dir, task) if sweep.tasks_dir else []
    _check_shots(data, sweep, task)
    python = environments.python_of(environments.environment(NAME, requirements(RUNNER), _tell))
    key = digest([task, _digest(data), sweep.n_shot, sweep.limit, version(), _sha256(RUNNER)])
    path = _path(home, task, key)
    if not path.exists():
        tell("note", f"building the requests of {task}")
        _make(python, path, _request(sweep, task, data), data)
    return path


def version() -> str:
    """`lm-eval 0.4.13`; empty while its environment is not made."""
    return environments.version_in(NAME, requirements(RUNNER), "lm-eval")


def _check_shots(data: Sequence[local.Data], sweep: Sweep, task: str) -> None:
    """Worked examples must not be the questions themselves."""
    for one in data:
        if sweep.n_shot > len(one.shots):
            where = f"dev/{one.group}_dev.csv" if one.shape == "mmlu" else f"{task}_dev.jsonl"
            raise UsageError(
                f"{sweep.n_shot} worked examples of {one.name} are asked for: {sweep.tasks_dir} has {len(one.shots)} "
                f"of them (they stand in {where})"
            )


def _path(home: Home, task: str, key: str) -> Path:
    return home.folder("tasks") / f"{task}-{key}.jsonl"


def _kept(home: Home, task: str, key: str, data: bytes) -> Path:
    path = _path(home, task, key)
    if not path.exists():
        atomic.write_atomic(path, data)
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(data: Sequence[local.Data]) -> str:
    """Of the rows, whatever files they came from; of none (the hub's) empty."""
    if not data:
        return ""
    found = hashlib.sha256()
    for one in data:
        found.update(json.dumps([one.name, one.shape, one.rows, one.shots]).encode())
    return found.hexdigest()


def _request(sweep: Sweep, task: str, data: Sequence[local.Data]) -> dict[str, Any]:
    source = f"local files, sha256 {_digest(data)}" if data else "hub"
    asked = {"task": task, "n_shot": sweep.n_shot, "limit": sweep.limit, "source": source}
    return {**asked, "whole": tasks.WHOLE.get(task, 0), "offline": bool(data) or not reachable()}


def reachable() -> bool:
    """Whether the hub answers at all: its client would try for a minute. Offline, what it has cached is used."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    try:
        with urllib.request.urlopen(fetch.endpoint() or HUB, timeout=HUB_S):  # noqa: S310 - the user's own setting
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _make(python: Path, path: Path, request: Mapping[str, Any], data: Sequence[local.Data]) -> None:
    with tempfile.TemporaryDirectory(prefix="task-") as folder:
        asked = {**request, "kind": "requests", "out": str(path), "data": _written(data, Path(folder))}
        events = run(python, asked)
    end = events[-1] if events else {}
    if end.get("event") == "end" and end.get("ok"):
        return
    why = str(end.get("error") or "it ended without saying why")
    if data:
        raise FarmError(f"the requests of {request['task']} cannot be made: {why}")
    raise UsageError(
        f"the task {request['task']} cannot be had from the hub: {why}. Give a folder that has it with --tasks-dir "
        "(JSON lines {query, choices, gold}, MMLU's CSV files), or measure what needs no download: "
        f"{', '.join(tasks.BUILT_IN)}"
    )


def evaluate(python: Path, tasks_dir: Path | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's own results of answers (kind `results` of its runner): the `end` event. Raises UsageError."""
    data = local.read(tasks_dir, str(request["task"])) if tasks_dir else []
    with tempfile.TemporaryDirectory(prefix="task-") as folder:
        events = run(python, {**request, "data": _written(data, Path(folder))})
    return events[-1] if events else {"ok": False, "error": "it ended without saying why"}


def _written(data: Sequence[local.Data], folder: Path) -> list[dict[str, Any]]:
    """The rows as files for lm-eval."""

    def write(name: str, rows: Sequence[local.Row]) -> str | None:
        path = folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
        return str(path) if rows else None

    return [
        {
            **{"name": one.name, "group": one.group, "shape": one.shape},
            **{"test": write(f"{one.name}.jsonl", one.rows), "dev": write(f"{one.name}.dev.jsonl", one.shots)},
        }
        for one in data
    ]


def run(python: Path, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runner's events. It ends with this program: its stdin is its lifeline."""
    command = [str(python), "-P", str(RUNNER), "--request", json.dumps(request)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdin and process.stdout
        try:
            events = [json.loads(line) for line in process.stdout if line.startswith(b"{")]
            process.wait(LIMIT_S)
        finally:
            process.stdin.close()
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
    return events


def _tell(step: Step) -> None:
    tell("note", f"{step.what}{f': {step.note}' if step.note else ''}")
