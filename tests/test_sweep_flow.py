"""A sweep: every cell becomes a row, finished ones are never run again, failures say where and why."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from agents import leases
from quantfarm.nouns import State
from tests.sweeping import counts, landings, quantfarm, start

TINY = ("--quants", "Q8_0,Q4_K_M", "--suite", "speed", "--launches", "2", "-p", "16", "-n", "8", "--threads", "1")


def fake(home: Path, name: str, **options: object) -> str:
    folder = home / "device_profiles"
    folder.mkdir(parents=True, exist_ok=True)
    body = {"kind": "fake", "simulated": True, "chip": "simulated", "cores": 4, "memory_mib": 8192, "options": options}
    (folder / f"{name}.yaml").write_text(json.dumps(body))  # JSON is YAML
    return name


def test_a_sweep_measures_every_cell_and_the_same_again_measures_none(home: Path, prefect_server: str) -> None:
    first = counts(*TINY)
    assert (first["ok"], first["failed"], first["known"]) == (8, 0, 0)
    again = counts(*TINY)
    assert (again["ok"], again["failed"], again["known"]) == (0, 0, 8)
    rows = json.loads(quantfarm("results", "--json"))
    measured = {(row["variant"], row["metric"]) for row in rows if row["valid"]}
    speeds = {"bench_pp", "bench_tg", "decode_tps", "ttft", "load_time", "resident_peak", "committed_peak"}
    assert measured >= {(variant, metric) for variant in ("Q8_0", "Q4_K_M") for metric in speeds}


def test_it_needs_no_server_and_leaves_none_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert counts("--devices", "fake-laptop", *TINY)["ok"] == 8
    ours = [p for p in psutil.process_iter() if str(home) in _environment(p).get("QUANTFARM_HOME", "")]
    assert not ours, ours


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def test_fresh_measures_again_and_keeps_what_was_there(home: Path, prefect_server: str) -> None:
    sweep = ("--devices", "fake-laptop", *TINY)
    counts(*sweep)
    assert counts(*sweep, "--fresh")["ok"] == 8
    attempts = [landed.attempt for landed in landings(home).all()]
    assert sorted(attempts) == [1] * 8 + [2] * 8


@pytest.mark.parametrize(
    ("fault", "stage", "reason"),
    [
        ("hang", "run", "took longer than its limit of"),
        ("garbage", "parse", "printed what is not an event"),
        ("oom", "run", "killed by signal 9 before its end event, as the kernel does when memory runs out"),
        ("vanish", "run", "ended without its end event (exit status 0)"),
        ("crash", "run", "killed by signal 11 before its end event; its last words: GGML_ASSERT failed"),
        ("error", "run", "scripted failure"),
    ],
)
def test_a_failed_cell_is_a_row_with_its_stage_and_reason_and_the_sweep_goes_on(
    home: Path, prefect_server: str, fault: str, stage: str, reason: str
) -> None:
    name = fake(home, "broken", fault=fault, fault_runs=2)
    # The first two runs fail; what is retryable is tried once more in the same sweep.
    done = counts("--devices", name, *TINY, code=1)
    failed = [landed for landed in landings(home).all() if landed.outcome.state is State.FAILED]
    assert done["failed"] == (1 if fault == "error" else 2)
    assert done["ok"] == 8 - done["failed"]
    assert len(failed) == 2
    assert {landed.outcome.stage for landed in failed} == {stage}
    assert all(reason in landed.outcome.reason for landed in failed)
    rows = [row for row in json.loads(quantfarm("results", "--json")) if not row["valid"]]
    assert len(rows) >= 1
    assert all(stage in row["reason"] and row["value"] is None for row in rows)
    # A failed cell is not a finished one: the same command tries it again, and it alone.
    again = counts("--devices", name, *TINY, code=1)
    assert again["known"] == 8 - done["failed"]


def test_a_users_own_gguf_is_measured_as_it_is_and_not_copied(
    home: Path, prefect_server: str, tmp_path: Path, reference: Path
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(reference.read_bytes())
    assert counts("--model", str(model), "--quants", "F16", "--suite", "speed", "--launches", "1", *TINY[6:])["ok"] == 2
    assert not list((home / "artifacts").glob("*/model.gguf"))


@pytest.mark.parametrize("size", [0, 3, 100_000])
def test_a_truncated_model_is_one_message_and_nothing_runs(
    home: Path, tmp_path: Path, reference: Path, size: int
) -> None:
    model = tmp_path / "cut.gguf"
    model.write_bytes(reference.read_bytes()[:size])
    assert "cut.gguf" in quantfarm("sweep", "--model", str(model), code=2)
    assert not (home / "cells").exists() or not list((home / "cells").iterdir())


def test_two_devices_are_measured_side_by_side_in_one_sweep(home: Path, prefect_server: str) -> None:
    done = counts("--devices", "fake-laptop,fake-phone", *TINY)
    assert done["ok"] == 16
    devices = {landed.cell.profile.name for landed in landings(home).all()}
    assert devices == {"fake-laptop", "fake-phone"}


def test_a_sweep_file_is_carried_out_as_it_says(home: Path, prefect_server: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "quants: [Q6_K]\ndevices: [fake-phone]\nlaunches: 1\n"
        "workloads: [{kind: bench, n_prompt: 4, n_gen: 0, n_depth: 32}, {kind: quality, n_chunks: 2}]\n"
    )
    assert counts(str(path))["ok"] == 2
    labels = {landed.cell.workload.label for landed in landings(home).all()}
    assert labels == {"bench pp4 tg0 d32", "quality 2×512"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quants", "Q4_KM"), "unknown quant 'Q4_KM': did you mean Q4_K_M?"),
        (("--devices", "lokal"), "unknown device 'lokal': did you mean local?"),
        (("--suite", "fast"), "unknown suite 'fast'"),
        (("--model", "/nowhere/model.gguf"), "/nowhere/model.gguf"),
        (("--text", "/nowhere/text.txt"), "cannot read the text /nowhere/text.txt"),
        (("--launches", "0"), "launches: Input should be greater than or equal to 1"),
        (("nowhere.yaml",), "no such file: nowhere.yaml"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "sweep"])
def test_a_wrong_request_is_one_message_and_nothing_is_written(
    home: Path, verb: str, arguments: tuple[str, ...], said: str
) -> None:
    err = quantfarm(verb, *arguments, code=2)
    assert said in " ".join(err.split())
    assert not (home / "cells").exists() or not list((home / "cells").iterdir())


def test_a_second_sweep_on_the_same_device_waits_and_says_for_whom(home: Path, prefect_server: str) -> None:
    lines: list[str] = []
    with leases.lease("fake-fake-laptop", "another sweep", lines.append):
        second = start("sweep", "--devices", "fake-laptop", *TINY)
        assert second.stdout
        for line in second.stdout:
            lines.append(line)
            if "waiting for it" in line:
                break
        assert second.poll() is None
        assert not list(landings(home).all())
    rest, err = second.communicate(timeout=300)
    assert second.returncode == 0, rest + err
    assert "fake-laptop is in use by another sweep (process " in "".join(lines)


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(
    home: Path, prefect_server: str, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system small enough to fill")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(small)], check=True)
    try:
        sweep = ("sweep", "--devices", "fake-laptop", "--quants", "F16", "--launches", "40", "--json")
        err = quantfarm(*sweep, code=2, QUANTFARM_HOME=str(small))
        assert "no room to write in" in err and "Make room" in err
        for landed in landings(small).all():
            assert landed.outcome.state is State.OK
        assert not [path for path in small.rglob(".*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_text_too_short_for_perplexity_is_refused_before_anything_runs(home: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("import os\n" * 100)
    err = quantfarm("sweep", "--text", str(tmp_path / "short.txt"), "--suite", "quality", code=2)
    assert "short.txt has " in err and "perplexity needs at least 1024" in err
    assert not (home / "cells").exists() or not list((home / "cells").iterdir())


def test_a_plan_touches_nothing(home: Path) -> None:
    made = json.loads(quantfarm("plan", "--json"))
    assert len(made["cells"]) == 7 * (3 + 3 + 1)
    assert not home.exists()
