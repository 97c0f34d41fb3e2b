"""Every runner keeps the contract of docs/events.md: walked over the folder, so that a new one is held to it too."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from quantfarm.runtimes.events import parse
from tests.running import RUNNERS, Ran, command, llama_cpp, run

NOWHERE = "/nowhere/model.gguf"


def request(name: str, /, **fields: Any) -> list[str]:
    return command(name, "--request", json.dumps(fields))


def under_the_sampler(asked: list[str]) -> list[str]:
    return command("sampler.py", "--hz", "10", "--", *asked)


#: file -> its command for a model that is not there.
MISSING: dict[str, list[str]] = {
    "llama_cpp.py": llama_cpp("bench", NOWHERE, n_prompt=8, n_gen=8, n_depth=0, repetitions=1),
    "sampler.py": under_the_sampler(
        llama_cpp("app", NOWHERE, n_prompt=8, n_gen=8, repetitions=1),
    ),
    "quantize_gguf.py": request("quantize_gguf.py", source=NOWHERE, out="/nowhere/out.gguf", quant="Q8_0", threads=1),
    "convert_gguf.py": request(
        "convert_gguf.py", source=NOWHERE, out="/nowhere/out.gguf", name="m", llama_cpp="/nowhere"
    ),
}
#: Programs: what runners load from files beside them is no program by itself.
RUNNING = sorted(path.name for path in RUNNERS.glob("*.py") if '__name__ == "__main__"' in path.read_text())


def asked_of(name: str) -> list[str]:
    """A command for a model that is not there, under this Python, which lacks what some runners need."""
    if name in MISSING:
        return MISSING[name]
    making = {"kind": "quantize", "source": {"config.json": NOWHERE}, "out": "/nowhere/out", "quant": "", "options": {}}
    return request(name, **(making if name.startswith("quantize_") else {"kind": "quality", "model": NOWHERE}))


@pytest.fixture(scope="module", params=RUNNING)
def missing(request: pytest.FixtureRequest) -> Ran:
    """What a runner does about a model that is not there."""
    return run(asked_of(request.param))


@pytest.fixture(scope="module", params=["llama_cpp.py", "sampler.py"])
def finished(request: pytest.FixtureRequest, reference: Path) -> Ran:
    asked = llama_cpp("bench", reference, n_prompt=16, n_gen=4, n_depth=0, repetitions=2)
    return run(under_the_sampler(asked) if request.param == "sampler.py" else asked)


def begins_and_ends(ran: Ran) -> None:
    kinds = [event["event"] for event in ran.events]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert kinds.count("begin") == kinds.count("end") == 1


def test_a_missing_model_ends_with_a_reason_and_a_status(missing: Ran) -> None:
    assert missing.code != 0
    assert missing.end["event"] == "end"
    assert missing.end["ok"] is False
    assert missing.end["stage"]
    assert missing.end["error"]
    assert "\n" not in missing.end["error"]
    assert isinstance(missing.end["retryable"], bool)


def test_a_missing_model_is_no_traceback(missing: Ran) -> None:
    assert "Traceback" not in missing.stderr


def test_begin_is_first_and_end_is_last_and_each_only_once(missing: Ran) -> None:
    begins_and_ends(missing)


def test_begin_is_first_and_end_is_last_of_a_good_run_too(finished: Ran) -> None:
    begins_and_ends(finished)


def test_every_line_on_stdout_is_an_event(missing: Ran) -> None:
    assert len(parse(missing.lines).events) == len(missing.lines) > 0


def test_every_line_of_a_good_run_is_an_event_too(finished: Ran) -> None:
    assert len(parse(finished.lines).events) == len(finished.lines)


def test_begin_says_who_speaks(missing: Ran) -> None:
    begin = missing.events[0]
    assert begin["schema"] == 1
    assert begin["clock"] == "monotonic_ns"
    assert begin["runner"]
    assert begin["versions"]["python"]
    assert begin["system"]
    assert begin["pid"] > 0


def test_a_good_run_is_finished_and_says_so_in_both_ways(finished: Ran) -> None:
    assert finished.code == 0
    assert parse(finished.lines).finished


def _long(name: str, folder: Path, reference: Path) -> list[str]:
    """A command that would run for minutes."""
    asked = llama_cpp("bench", reference, n_prompt=512, n_gen=512, n_depth=0, repetitions=10_000)
    if name == "sampler.py":
        return under_the_sampler(asked)
    return asked


@pytest.mark.parametrize("name", ["llama_cpp.py", "sampler.py"])
def test_closing_stdin_stops_the_run(name: str, tmp_path: Path, reference: Path) -> None:
    """The promise is a second; the limit here is generous, for a busy machine."""
    pipe = subprocess.PIPE
    asked = _long(name, tmp_path, reference)
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        while json.loads(process.stdout.readline())["event"] != "warmup":  # it is measuring now
            pass
        process.stdin.close()
        closed = time.monotonic()
        process.wait(timeout=30)
        assert time.monotonic() - closed < 5
        assert process.returncode != 0


@pytest.mark.parametrize("name", RUNNING)
def test_a_stdin_that_is_closed_from_the_start_lets_no_runner_linger(name: str) -> None:
    asked = asked_of(name)
    ran = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert ran.returncode != 0


@pytest.mark.parametrize("name", RUNNING)
def test_a_runner_needs_nothing_of_ours(name: str) -> None:
    """It is a file that is copied to a device: it starts where the project cannot be imported."""
    code = (RUNNERS / name).read_text()
    for package in ("quantfarm", "agents", "storage", "flows", "cli", "runners"):
        assert f"import {package}" not in code
        assert f"from {package}" not in code
