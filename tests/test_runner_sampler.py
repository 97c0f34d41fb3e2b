"""The sampler stands beside a run without being in its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.running import Ran, command, run

#: A command that prints events as a runner does, with the code in `middle` between them.
EVENTS = """
import json, sys, time
def emit(event, **fields): print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), flush=True)
emit("begin", schema=1)
MIDDLE
emit("end", ok=True)
"""


def sampled(code: str, *options: str, hz: str = "50") -> Ran:
    return run(command("sampler.py", "--hz", hz, *options, "--", sys.executable, "-c", code))


def test_the_command_s_lines_pass_through_unchanged_and_in_order() -> None:
    lines = ['{"event":"begin",  "t": 1}', "not json at all", '{"t": 3, "event": "end"}']
    ran = sampled(f"print({chr(10).join(lines)!r})", hz="1000")
    assert [line for line in ran.lines if '"sample"' not in line] == lines


def test_samples_are_written_between_the_measuring_and_the_end() -> None:
    ran = sampled(EVENTS.replace("MIDDLE", "time.sleep(0.5); emit('decode')"))
    kinds = [event["event"] for event in ran.events]
    assert kinds[:2] == ["begin", "decode"]
    assert kinds[-1] == "end"
    assert set(kinds[2:-1]) == {"sample"}
    assert len(kinds[2:-1]) >= 5


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")  # noqa: PTH110
def test_a_sample_has_memory_faults_and_processor_time_at_its_time() -> None:
    began = time.monotonic_ns()
    ran = sampled(EVENTS.replace("MIDDLE", "time.sleep(0.3)"))
    samples = ran.of("sample")
    times = [sample["t"] for sample in samples]
    assert times == sorted(times)
    assert began < times[0] < times[-1] < time.monotonic_ns()
    for sample in samples:
        assert {"rss_mib", "rss_anon_mib", "hwm_mib", "majflt", "cpu_s"} <= sample["values"].keys()
        assert 0 < sample["values"]["rss_mib"] <= sample["values"]["hwm_mib"]


def test_the_first_of_two_ends_is_no_end() -> None:
    ran = sampled('print(\'{"event": "end", "n": 1}\'); print(\'{"event": "end", "n": 2}\')')
    assert [event["n"] for event in ran.of("end")] == [1, 2]
    assert ran.end["n"] == 2


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_its_exit_status_is_the_command_s(code: int) -> None:
    assert sampled(f"raise SystemExit({code})").code == code


def test_a_command_ended_by_a_signal_is_told_of() -> None:
    ran = sampled("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert ran.code == 128 + signal.SIGKILL
    assert "SIGKILL" in ran.stderr


def test_a_command_that_is_not_there_is_status_127() -> None:
    ran = run(command("sampler.py", "--", "/nowhere/at/all"))
    assert ran.code == 127
    assert "/nowhere/at/all" in ran.stderr


def test_the_command_s_stderr_is_not_its_stdout() -> None:
    ran = sampled("import sys; print('words', file=sys.stderr)")
    assert "words" in ran.stderr
    assert not any("words" in line for line in ran.lines)


@pytest.mark.parametrize("heeds", [True, False], ids=["a command that heeds its stdin", "a command that does not"])
def test_closing_its_stdin_ends_the_command(heeds: bool) -> None:
    code = "import os, time; print(os.getpid(), flush=True); " + ("os.read(0, 1)" if heeds else "time.sleep(600)")
    pipe = subprocess.PIPE
    asked = command("sampler.py", "--", sys.executable, "-c", code)
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdin and process.stdout
        child = int(process.stdout.readline())
        process.stdin.close()
        process.wait(timeout=10)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_command_ends_when_the_sampler_is_killed() -> None:
    asked = command(
        "sampler.py", "--", sys.executable, "-c", "import os; print(os.getpid(), flush=True); os.read(0, 1)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the command is still there")


def test_a_line_without_end_is_cut_off() -> None:
    ran = sampled("import sys\nwhile True: sys.stdout.write('x' * 2**20)")
    assert ran.code == 1
    assert "longer than 32 MiB" in ran.stderr


def test_a_wrapped_command_gets_a_begin_and_an_end() -> None:
    ran = sampled("print('row')", "--wrap", "thing")
    assert json.loads(ran.lines[0])["runner"] == "thing"
    assert "row" in ran.lines
    assert json.loads(ran.lines[-1])["ok"] is True


def test_a_wrapped_command_that_fails_ends_with_its_last_words() -> None:
    ran = sampled("import sys; print('a'); sys.exit('no such model')", "--wrap", "thing")
    end = json.loads(ran.lines[-1])
    assert end["ok"] is False
    assert "exit status 1" in end["error"]
    assert "no such model" in end["error"]
    assert ran.code == 1


def test_a_wrapped_command_that_is_not_there_fails_at_its_start() -> None:
    ran = run(command("sampler.py", "--wrap", "thing", "--", "/nowhere/at/all"))
    assert (ran.end["ok"], ran.end["stage"]) == (False, "start")
