"""The runtimes of a device without Python: which files go there, what is run, and the sampler within the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantfarm import metrics
from quantfarm.errors import UsageError
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Variant, metric_of
from quantfarm.runtimes import runtime
from quantfarm.suites import workload
from quantfarm.toolchain import cross, machines
from tests import native
from tests.running import Ran, run

pytestmark = pytest.mark.timeout(2400)  # a first build

PHONE = DeviceProfile(name="phone", kind="adb", platform=native.PHONE)


def cell(under: str, kind: str = "bench", profile: DeviceProfile = PHONE, **given: int | str) -> Cell:
    recipe = Recipe(source="", quantizer="as_is", quant="F16")
    return Cell(
        profile=profile,
        variant=Variant(model="reference", format="gguf", quant="F16", recipe=recipe),
        runtime=under,
        build="",
        workload=workload({"kind": kind, "threads": 1, **given}, {}),
    )


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def program() -> str:
    return str(native.built(native.PHONE)["quantfarm-native"])


def on_the_phone(asked: Cell, reference: Path) -> Ran:
    """The cell's command with the files of this platform, as the phone would run it."""
    under = runtime(asked.runtime)
    native.built(native.PHONE)
    there = {name: str(path) for name, path in under.files(asked).items()}
    return run(under.command(asked, {**there, "model": str(reference)}))


# --- what goes to a device ---


@pytest.mark.parametrize("name", ["llama_native", "llama_bench"])
def test_what_is_not_built_says_what_to_run(name: str, nothing_built: None) -> None:
    with pytest.raises(UsageError, match=f"is not built for {native.PHONE}: run `quantfarm toolchain build --for"):
        runtime(name).files(cell(name))


@pytest.mark.parametrize("name", ["llama_native", "llama_bench"])
def test_for_a_platform_that_nothing_is_built_for_those_that_are_known_are_named(name: str) -> None:
    iphone = DeviceProfile(name="iphone", kind="ssh", platform="ios-arm64")
    with pytest.raises(UsageError, match=r"'ios-arm64'.*android-arm64"):
        runtime(name).files(cell(name, profile=iphone))


def test_nothing_is_said_to_be_built_where_nothing_is(nothing_built: None) -> None:
    assert runtime("llama_native").build() == ""
    assert cross.builds_for(native.PHONE) == {}
    assert cross.builds_for("ios-arm64") == {}


def test_the_build_names_version_and_processor() -> None:
    native.built(native.PHONE)
    made = cross.builds_for(native.PHONE)
    assert made.keys() == {"llama_native", "llama_bench"}
    for build in made.values():
        assert cross.source.version() in build
        assert machines.machine(native.PHONE).cpu in build
    assert runtime("llama_native").build() == made["llama_native"]


def test_a_phone_gets_the_static_tool_and_no_python() -> None:
    built = native.built(native.PHONE)
    asked = cell("llama_bench")
    files = runtime("llama_bench").files(asked)
    assert files == {"native": built["quantfarm-native"], "llama-bench": built["llama-bench"]}
    there = {"native": "/data/n", "llama-bench": "/data/b", "model": "/data/m.gguf"}
    command = list(runtime("llama_bench").command(asked, there))
    assert command[:7] == ["/data/n", "--hz", "10", "--wrap", "llama_bench", "--", "/data/b"]
    assert sys.executable not in command


def test_here_llama_bench_runs_as_before_under_the_python_sampler() -> None:
    command = list(runtime("llama_bench").command(cell("llama_bench"), {"model": "m", "llama-bench": "/b"}))
    assert command[0] == sys.executable
    assert "sampler.py" in command[2]


def test_the_program_is_asked_everything_that_the_workload_says() -> None:
    asked = cell("llama_native", n_depth=16)
    files = {"native": "/data/n", "model": "/data/m.gguf", "sampler": "/not/asked"}
    command = list(runtime("llama_native").command(asked, files))
    assert command[:6] == ["/data/n", "--hz", "10", "--", "/data/n", "--request"]
    assert json.loads(command[6]) == {**asked.workload.settings, "kind": "bench", "model": "/data/m.gguf"}


# --- cells, as a phone would run them ---


@pytest.mark.parametrize("name", ["llama_native", "llama_bench"])
def test_a_bench_cell_is_measured_with_its_memory(name: str, reference: Path) -> None:
    # Long enough to be looked at ten times: what llama-bench had resident is known from samples alone.
    asked = cell(name, n_prompt=64, n_gen=1024, repetitions=10)
    trace = runtime(name).parse(on_the_phone(asked, reference).lines)
    assert trace.finished
    found = metrics.measure(trace)
    for metric in ("bench_pp", "bench_tg"):
        measured = metric_of(found, metric)
        assert measured
        assert measured.n == 10
        assert measured.value > 0
    resident = metric_of(found, "resident_peak")
    assert resident
    assert resident.value > reference.stat().st_size / 2**20
    assert trace.first("begin")["runner"] == name


def test_an_app_cell_gives_what_a_person_feels(reference: Path) -> None:
    asked = cell("llama_native", "app", n_prompt=32, n_gen=32, repetitions=2)
    found = metrics.measure(runtime("llama_native").parse(on_the_phone(asked, reference).lines))
    assert {"ttft", "decode_tps"} <= {measured.metric for measured in found}


def test_a_quality_cell_gives_a_perplexity(reference: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"def f{n}(x):\n    return [x + i for i in range({n})]\n\n" for n in range(200)))
    asked = cell("llama_native", "quality", n_chunks=2)
    under = runtime("llama_native")
    there = {**under.files(asked), "model": reference, "text": text}
    ran = run(under.command(asked, {name: str(path) for name, path in there.items()}))
    assert "ppl" in {measured.metric for measured in metrics.measure(under.parse(ran.lines))}


def test_a_model_that_llama_bench_cannot_load_fails_with_its_last_words() -> None:
    ran = on_the_phone(cell("llama_bench", n_prompt=8, n_gen=0), Path("/nowhere/model.gguf"))
    trace = runtime("llama_bench").parse(ran.lines)
    assert ran.code != 0
    assert not trace.finished
    assert "failed to load model" in trace.events[-1]["error"]


# --- the sampler within the program ---

HOLD = "import sys, time; block = bytearray(64 * 2**20); time.sleep(1)"


def events(*lines: str) -> str:
    return "\n".join(json.dumps({"event": line, "t": 1}) for line in lines)


def test_samples_are_taken_beside_the_run_at_the_rate_asked_for(program: str) -> None:
    ran = run([program, "--hz", "10", "--wrap", "x", "--", sys.executable, "-c", HOLD])
    samples = ran.of("sample")
    assert 8 <= len(samples) <= 14
    names = {"rss_mib", "rss_anon_mib", "rss_file_mib", "hwm_mib", "majflt", "cpu_s", "load_1min"}
    assert names <= samples[-1]["values"].keys()
    # In the middle: at its beginning and end the program has not taken its memory yet, or has given it back.
    assert samples[len(samples) // 2]["values"]["rss_anon_mib"] == pytest.approx(72, abs=12)
    times = [sample["t"] for sample in samples]
    assert times == sorted(times)


def test_samples_come_just_before_the_command_s_own_end(program: str) -> None:
    lines = events("begin", "warmup", "end")
    ran = run([program, "--hz", "50", "--", "sh", "-c", f"echo '{lines}'; sleep 0.3"])
    kinds = [event["event"] for event in ran.events]
    assert kinds[:2] == ["begin", "warmup"]
    assert kinds[-1] == "end"
    assert set(kinds[2:-1]) == {"sample"}


def test_lines_pass_unchanged_whatever_they_are(program: str) -> None:
    odd = b'{"event": "result", "x": "\xff\x01"}\nno json "end"\n\n{"event": "end"} not the last\nlast'
    code = f"import os; os.write(1, {odd!r})"
    command = [program, "--hz", "10", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        said = process.stdout.read()
    kept = [line for line in said.split(b"\n") if b'"sample"' not in line]
    assert b"\n".join(kept) == odd + b"\n"


def test_the_command_s_exit_status_is_ours(program: str) -> None:
    assert run([program, "--hz", "10", "--", "sh", "-c", "exit 7"]).code == 7
    assert run([program, "--hz", "10", "--", "sh", "-c", "kill -9 $$"]).code == 128 + 9


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo gone >&2; exit 3", "exit status 3 gone"),
        ("kill -9 $$", "ended by signal 9"),
        ("kill -4 $$", "this CPU lacks an instruction"),
    ],
)
def test_a_wrapped_command_s_end_is_its_exit_status(program: str, script: str, said: str) -> None:
    ran = run([program, "--hz", "10", "--wrap", "x", "--", "sh", "-c", script])
    assert [ran.events[0]["event"], ran.end["event"]] == ["begin", "end"]
    assert ran.end["ok"] is False
    assert said in ran.end["error"]


def test_a_command_that_is_not_there_fails_at_its_start(program: str) -> None:
    ran = run([program, "--hz", "10", "--wrap", "x", "--", "/nowhere/llama-bench"])
    assert ran.code == 127
    assert (ran.end["stage"], ran.end["ok"]) == ("start", False)
    assert "/nowhere/llama-bench: No such file" in ran.end["error"]


def _sleeper(program: str, *options: str) -> tuple[subprocess.Popen[str], int]:
    """A sampled command that heeds no stdin, and its pid."""
    script = 'echo \'{"event": "begin", "pid": \'$$\'}\'; exec sleep 60'
    process = subprocess.Popen(
        [program, *options, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, int(json.loads(process.stdout.readline())["pid"])


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            return True
        time.sleep(0.05)
    return False


def test_closing_stdin_ends_a_command_that_heeds_none(program: str) -> None:
    process, pid = _sleeper(program, "--hz", "10")
    with process:
        assert process.stdin
        process.stdin.close()
        closed = time.monotonic()
        assert process.wait(timeout=30) == 128 + signal.SIGKILL
        assert time.monotonic() - closed < 5
    assert _gone(pid)


def test_a_sampler_that_is_killed_takes_its_command_along(program: str) -> None:
    process, pid = _sleeper(program, "--hz", "10")
    with process:
        process.kill()
    assert _gone(pid)


def test_a_line_that_is_longer_than_any_event_ends_the_run(program: str) -> None:
    code = "import sys; sys.stdout.write('x' * (40 * 2**20)); sys.stdout.flush(); import time; time.sleep(60)"
    ran = run([program, "--hz", "10", "--wrap", "x", "--", sys.executable, "-c", code], limit=60)
    assert ran.code != 0
    assert ran.end["ok"] is False
    assert "longer than 32 MiB" in ran.end["error"]


def test_sampling_costs_next_to_nothing(program: str) -> None:
    """Ten samples a second over two seconds: less than 1 % of a processor."""
    before = os.times()
    run([program, "--hz", "10", "--wrap", "x", "--", "sleep", "2"])
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 0.02 * 2


# --- another processor's tool ---


def test_llama_bench_for_arm64_measures_under_an_emulator(reference: Path) -> None:
    """Correctness alone: an emulator's speed is nobody's."""
    tool = str(native.built("android-arm64")["llama-bench"])
    under = native.emulator("aarch64") if native.PHONE != "android-arm64" else []
    asked = [*under, tool, "-m", str(reference), "-t", "1", "-p", "8", "-n", "2", "-r", "1", "-o", "jsonl"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert [json.loads(line)["n_prompt"] for line in said.splitlines()] == [8, 0]
    assert all(json.loads(line)["backends"] == "CPU" for line in said.splitlines())
