"""The GGUF quantizer: what it makes is what it says, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import gguf
import pytest

from quantfarm import toolchain
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Recipe, Trace
from quantfarm.quantizers.gguf import RUNNER, Gguf
from quantfarm.sweeps import DEFAULT_QUANTS
from tests.conftest import ROOT
from tests.gguf_runner import error_of, finish, quantize, start

#: Quant -> a tensor type that it is named for.
TYPE_OF = {
    "F16": "F16",
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q4_K_M": "Q4_K",
    "Q3_K_M": "Q3_K",
    "Q2_K": "Q2_K",
}
KILLS = 12


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def stories(data: Path) -> Path:
    return data / "models" / "stories260K" / "stories260K-f32.gguf"


@pytest.mark.parametrize("quant", DEFAULT_QUANTS)
def test_the_reference_model_takes_each_usual_quant_with_no_fallback(
    reference: Path, tmp_path: Path, quant: str
) -> None:
    trace = quantize(reference, tmp_path / "out.gguf", quant)
    made = Gguf().parse(trace)
    assert trace.finished
    assert made["fallbacks"] == ()
    assert made["facts"]["file_type"] == quant
    assert TYPE_OF[quant] in made["types"]


def test_smaller_quants_have_fewer_bits_per_weight(reference: Path, tmp_path: Path) -> None:
    quants = ("Q8_0", "Q4_K_M", "Q2_K")
    bits = [Gguf().parse(quantize(reference, tmp_path / q, q))["bits_per_weight"] for q in quants]
    assert bits == sorted(bits, reverse=True)


def test_bits_and_types_are_those_that_the_gguf_package_reads(reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    made = Gguf().parse(quantize(reference, out, "Q4_K_M"))
    tensors = gguf.GGUFReader(out).tensors
    types = [tensor.tensor_type.name for tensor in tensors]
    weights = sum(int(tensor.n_elements) for tensor in tensors)
    assert made["types"] == {name: types.count(name) for name in set(types)}
    assert made["facts"]["n_params"] == weights
    assert made["bits_per_weight"] == 8 * sum(int(tensor.n_bytes) for tensor in tensors) / weights


def test_a_model_with_short_rows_reports_each_fallback(stories: Path, tmp_path: Path) -> None:
    made = Gguf().parse(quantize(stories, tmp_path / "out.gguf", "Q4_K_M"))
    assert "blk.0.attn_q.weight: Q4_K wanted, Q5_0 used" in made["fallbacks"]
    assert "Q4_K" not in made["types"]
    quantized = sum(number for name, number in made["types"].items() if name != "F32")
    assert len(made["fallbacks"]) <= quantized


def test_progress_counts_every_tensor(reference: Path, tmp_path: Path) -> None:
    trace = quantize(reference, tmp_path / "out.gguf", "Q8_0")
    steps = [(event["done"], event["of"]) for event in trace.of("progress")]
    n_tensors = sum(Gguf().parse(trace)["types"].values())
    assert steps == [(i, n_tensors) for i in range(1, n_tensors + 1)]


def test_quantizing_again_gives_the_same_bytes(reference: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    for out in (first, second):
        assert quantize(reference, out, "Q4_K_M").finished
    assert sha256(first) == sha256(second)


def test_it_makes_the_bytes_that_llama_quantize_makes(reference: Path, tmp_path: Path) -> None:
    try:
        tool = toolchain.tool("llama-quantize")
    except FarmError as error:
        pytest.skip(str(error))
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    assert quantize(reference, ours, "Q4_K_M").finished
    subprocess.run([tool, reference, theirs, "Q4_K_M", "1"], check=True, capture_output=True)
    assert sha256(ours) == sha256(theirs)


def test_a_quantized_source_is_refused(reference: Path, tmp_path: Path) -> None:
    assert quantize(reference, tmp_path / "q8.gguf", "Q8_0").finished
    error = error_of(quantize(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_K_M"))
    assert "quantized already (Q8_0)" in error
    assert not (tmp_path / "q4.gguf").exists()


def test_a_quant_that_is_not_made_here_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean Q4_K_M"):
        Gguf().command(Recipe(source="x", quantizer="gguf", quant="Q4_KM"), {"source": "in"}, "out")


def test_an_as_is_recipe_only_reads(reference: Path, tmp_path: Path) -> None:
    made = Gguf().parse(finish(start(reference, tmp_path / "out", "F16", quantizer="as_is")))
    assert made["facts"]["size"] == reference.stat().st_size
    assert list(tmp_path.iterdir()) == []


def test_a_trace_without_a_result_cannot_be_parsed() -> None:
    with pytest.raises(ValueError, match="no result"):
        Gguf().parse(Trace(events=()))


def test_a_missing_source_is_one_message(tmp_path: Path) -> None:
    assert "no such file" in error_of(quantize(tmp_path / "none.gguf", tmp_path / "out.gguf", "Q8_0"))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.002, 0.01, 0.5, 0.99999])
def test_a_truncated_source_is_refused_wherever_it_is_cut(reference: Path, tmp_path: Path, share: float) -> None:
    whole = reference.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: int(len(whole) * share)])
    error = error_of(quantize(cut, tmp_path / "out.gguf", "Q8_0"))
    assert "truncated" in error or "no GGUF" in error
    assert f"{cut.stat().st_size} bytes" in error
    assert [path.name for path in tmp_path.iterdir()] == ["cut.gguf"]


def test_the_size_that_the_header_promises_is_named(reference: Path, tmp_path: Path) -> None:
    whole = reference.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:-100])
    assert f"its header promises {len(whole)}" in error_of(quantize(cut, tmp_path / "out.gguf", "Q8_0"))


def test_a_full_disk_leaves_nothing_and_says_so(reference: Path, tmp_path: Path) -> None:
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    error = error_of(quantize(reference, tmp_path / "out.gguf", "Q8_0", preexec_fn=small_files))
    assert "could not quantize it" in error or "not whole" in error
    assert f"MiB are free in {tmp_path}" in error
    assert list(tmp_path.iterdir()) == []


def test_closing_stdin_ends_it_and_leaves_nothing(reference: Path, tmp_path: Path) -> None:
    process = start(reference, tmp_path / "out.gguf", "IQ3_S")
    assert process.stdin and process.stdout
    assert '"begin"' in process.stdout.readline()
    assert '"progress"' in process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    assert process.stderr
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


def test_killed_at_random_moments_it_leaves_nothing_that_looks_whole(reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    began = time.monotonic()
    assert quantize(reference, out, "Q4_K_M").finished
    took, whole = time.monotonic() - began, sha256(out)
    chance = random.Random(os.urandom(4))
    for _ in range(KILLS):
        out.unlink(missing_ok=True)
        process = start(reference, out, "Q4_K_M")
        time.sleep(chance.uniform(0, took))
        process.kill()
        finish(process)
        visible = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
        assert visible in ([], [out])
        assert not out.exists() or sha256(out) == whole
    assert quantize(reference, out, "Q4_K_M").finished
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_a_gguf_with_any_bytes_changed_is_read_or_refused_but_never_a_crash(stories: Path, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tests" / "change_gguf.py", RUNNER, stories, tmp_path / "changed.gguf"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    refused, times = map(int, said.split(" of "))
    assert 0 < refused < times
