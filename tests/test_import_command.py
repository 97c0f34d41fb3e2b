"""quantfarm import, as a user runs it: also for a device that nothing of ours reaches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.home import Home
from tests.exchanged import LM_EVAL, MLX_BENCHMARK
from tests.sweeping import quantfarm

PHONE = """\
kind: import
platform: ios-arm64
chip: Apple A17 Pro
memory_mib: 8192
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    path = tmp_path / "mlx.txt"
    path.write_text(MLX_BENCHMARK)
    return path


@pytest.fixture
def phone(home: Path) -> str:
    folder = Home(home).folder("device_profiles")
    (folder / "my-iphone.yaml").write_text(PHONE)
    return "my-iphone"


def test_results_of_a_device_that_nothing_reaches_are_imported_shown_and_removed(phone: str, bench: Path) -> None:
    said = quantfarm("import", str(bench), "--device", phone, "--model", "m", "--variant", "4bit")
    assert "imported 3 figures of mlx-lm" in said
    assert "device: my-iphone" in said
    assert "nothing was changed" in quantfarm("import", str(bench), "--device", phone, "--model", "m")
    (listed,) = json.loads(quantfarm("import", "--list", "--json"))
    assert (listed["file"], listed["device"], listed["format"]) == ("mlx.txt", phone, "mlx-lm")

    shown = quantfarm("results", "--imported")
    assert "what other tools said, not measured here" in shown
    assert phone in shown
    rows = json.loads(quantfarm("results", "--imported", "--device", phone, "--metric", "decode_tps", "--json"))
    assert [(row["imported"], row["file"], row["source"]) for row in rows] == [(True, "mlx.txt", listed["source"])]
    assert json.loads(quantfarm("results", "--json")) == []
    assert "agree" in quantfarm("db", "verify")

    assert listed["source"] in quantfarm("import", "--remove", listed["source"][:8])
    assert "nothing was imported yet" in quantfarm("results", "--imported", code=2)


def test_imported_rows_go_out_as_csv_with_their_provenance(home: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "results.json", tmp_path / "imported.csv"
    file.write_text(LM_EVAL)
    told = json.loads(quantfarm("import", str(file), "--json"))
    assert (told["new"], told["figures"], told["version"]) == (True, 2, "0.4.13")
    quantfarm("results", "--imported", "--out", str(out))
    header, first, *_ = out.read_text().splitlines()
    assert header.startswith("device,model,variant,runtime,build,workload,metric,value,unit")
    assert header.endswith("imported")
    assert first.endswith("true")
    assert told["source"] in first


def test_each_mistake_is_one_message_and_leaves_nothing(phone: str, home: Path, bench: Path) -> None:
    mistakes = {
        ("--device", "my-ipone", "--model", "m"): "did you mean my-iphone?",
        ("--device", "iphone-15-pro", "--model", "m"): "'iphone-15-pro' is a template: copy it to",
        ("--device", "fake-phone", "--model", "m"): "'fake-phone' is simulated",
        (): "mlx.txt, line 2: the file does not say of which model this is: say --model",
        ("--format", "lm-evl", "--model", "m"): "did you mean lm-eval?",
        ("--format", "lm-eval", "--model", "m"): "mlx.txt, line 1: no JSON",
        ("--list",): "give a file to import, or --list, or --remove SHA",
    }
    for options, told in mistakes.items():
        said = quantfarm("import", str(bench), *options, code=2)
        assert told in said
        assert len(said.strip().splitlines()) == 1
    assert not (home / "imports").exists()
    assert "give a file to import" in quantfarm("import", code=2)
