"""Importance matrices: what llama-imatrix writes, made once, and rounded by as llama-quantize does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from flows.prepare import check
from quantfarm import calibration, quantizers, toolchain
from quantfarm.errors import FarmError, UsageError
from quantfarm.nouns import Recipe, Scalar, Trace, parameters
from quantfarm.quantizers.gguf import WITH_IMATRIX, Gguf
from quantfarm.quantizers.imatrix import Imatrix, recipe_for
from quantfarm.sweeps import request
from quantfarm.variants import calibration_tokens
from storage.home import Home
from tests import tiny_moe
from tests.gguf_runner import error_of, finish

#: Few, for the sake of time.
CHUNKS = 12
SHA256 = "0" * 64


def tool(name: str) -> Path:
    try:
        return toolchain.tool(name)
    except FarmError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: list[str]) -> Trace:
    pipe = subprocess.PIPE
    return finish(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))


def matrix(source: Path, text: Path, out: Path, **more: Scalar) -> Trace:
    recipe = Recipe(source="x", quantizer="imatrix", quant="imatrix", options=parameters(chunks=CHUNKS))
    command = list(Imatrix().command(recipe, {"source": str(source), "calibration": str(text)}, str(out)))
    return run([*command[:-1], json.dumps({**json.loads(command[-1]), "threads": 1, **more})])


def llama_imatrix(source: Path, text: Path, out: Path, chunks: int) -> None:
    """The text by its name alone: it is part of the file."""
    command = [tool("llama-imatrix"), "-m", source, "-f", text.name, "-o", out, "--chunks", str(chunks)]
    pinned = ["-b", "512", "-ub", "512", "-t", "1", "-fa", "on", "-ngl", "0", "--no-ppl"]
    subprocess.run([*command, *pinned], check=True, capture_output=True, cwd=text.parent)


def llama_quantize(source: Path, imatrix: Path, out: Path, quant: str) -> None:
    """The matrix by the name that ours writes down."""
    assert imatrix.name == "imatrix.gguf"
    command = [tool("llama-quantize"), "--imatrix", imatrix.name, source, out, quant, "2"]
    subprocess.run(command, check=True, capture_output=True, cwd=imatrix.parent)


def variant(source: Path, out: Path, quant: str, imatrix: Path, options: Mapping[str, Scalar] | None = None) -> Trace:
    recipe = Recipe(source="x", quantizer="gguf", quant=quant, options=parameters(options or {"imatrix": True}))
    return run(list(Gguf().command(recipe, {"source": str(source), "imatrix": str(imatrix)}, str(out))))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "learn.txt"
    path.write_bytes(calibration.default_text()[:60_000])
    return path


@pytest.fixture(scope="module")
def made(reference: Path, text: Path) -> tuple[Path, Trace]:
    """An importance matrix of the reference model, and how it was made."""
    out = text.with_name("imatrix.gguf")
    trace = matrix(reference, text, out)
    assert trace.finished, trace.events[-1]
    return out, trace


def test_it_is_the_file_that_llama_imatrix_writes(reference: Path, text: Path, made: tuple[Path, Trace]) -> None:
    theirs = text.with_name("theirs.gguf")
    llama_imatrix(reference, text, theirs, CHUNKS)
    assert sha256(made[0]) == sha256(theirs)


def test_its_facts_are_those_of_the_file(text: Path, made: tuple[Path, Trace]) -> None:
    out, trace = made
    facts = Imatrix().parse(trace)["facts"]
    tensors = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(out).tensors}
    assert facts["entries"] == len(tensors) / 2 == 42
    assert facts["chunks"] == CHUNKS
    assert facts["calibration_sha256"] == sha256(text)
    assert {float(counts.item()) for name, counts in tensors.items() if name.endswith(".counts")} == {512.0 * CHUNKS}
    assert all((tensor >= 0).all() for tensor in tensors.values())
    assert [event["done"] for event in trace.of("progress")] == list(range(1, CHUNKS + 1))


@pytest.mark.parametrize("quant", ["Q4_K_M", "Q2_K", "IQ2_XS"])
def test_a_variant_made_with_it_is_the_file_that_llama_quantize_writes(
    reference: Path, made: tuple[Path, Trace], tmp_path: Path, quant: str
) -> None:
    imatrix, _ = made
    assert variant(reference, tmp_path / "ours.gguf", quant, imatrix).finished
    llama_quantize(reference, imatrix, tmp_path / "theirs.gguf", quant)
    assert sha256(tmp_path / "ours.gguf") == sha256(tmp_path / "theirs.gguf")


def test_experts_have_sums_of_their_own_and_one_that_was_never_asked_is_said(
    reference: Path, text: Path, tmp_path: Path
) -> None:
    """Of a mixture of experts both files are the tools' too."""
    source, ours, theirs = tiny_moe.write(reference, tmp_path / "moe.gguf"), tmp_path / "imatrix.gguf", tmp_path / "t"
    found = Imatrix().parse(matrix(source, text, ours, chunks=4))["facts"]
    assert "blk.0.ffn_up_exps.weight" in found["partial"]
    assert len(found["partial"]) == 3 * 6
    llama_imatrix(source, text, theirs, 4)
    assert sha256(ours) == sha256(theirs)
    assert variant(source, tmp_path / "q", "Q2_K", ours).finished
    llama_quantize(source, ours, tmp_path / "tq", "Q2_K")
    assert sha256(tmp_path / "q") == sha256(tmp_path / "tq")


def test_a_variant_says_what_it_was_made_with_and_which_tensors_it_says_nothing_of(
    reference: Path, made: tuple[Path, Trace], tmp_path: Path
) -> None:
    found = Gguf().parse(variant(reference, tmp_path / "out.gguf", "Q4_K_M", made[0]))["facts"]
    assert found["imatrix_sha256"] == sha256(made[0])
    assert (found["imatrix_chunks"], found["imatrix_entries"]) == (CHUNKS, 42)
    assert found["imatrix_of"] == ["learn.txt"]
    assert found["imatrix_without"] == ["token_embd.weight"]


def test_the_same_matrix_under_another_name_gives_the_same_bytes(
    reference: Path, made: tuple[Path, Trace], tmp_path: Path
) -> None:
    (tmp_path / "other.gguf").write_bytes(made[0].read_bytes())
    for name, imatrix in (("one", made[0]), ("two", tmp_path / "other.gguf")):
        assert variant(reference, tmp_path / name, "Q4_0", imatrix).finished
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")


def test_a_text_with_too_few_tokens_is_refused_with_both_numbers(reference: Path, text: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_bytes(text.read_bytes()[:8000])
    assert len(short.read_bytes()) > calibration.NEEDED_TOKENS, "not to be seen by its length alone"
    count = run(list(Imatrix().count({"source": str(reference), "calibration": str(short)})))
    for said in (error_of(count), error_of(matrix(reference, short, tmp_path / "out.gguf"))):
        assert re.search(r"the calibration text has \d,\d{3} tokens", said)
        assert f"{calibration.NEEDED_TOKENS:,} are needed" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.txt"]


@pytest.mark.parametrize(
    ("quants", "needed"),
    [
        (("Q4_K_M+imatrix",), calibration.NEEDED_TOKENS),
        (("AWQ", "Q4_K_M+imatrix"), 128 * 512),
        (("GPTQ+samples=32+length=100", "AWQ+samples=16+length=4000"), 16 * 2048),
        (("AWQ+samples=2",), calibration.NEEDED_TOKENS),
    ],
)
def test_the_text_must_do_for_the_one_that_reads_most_of_it(quants: tuple[str, ...], needed: int) -> None:
    asked = request({"quants": quants}, "a test")
    assert calibration_tokens(asked, {"n_ctx_train": 2048}) == needed


def test_a_text_that_is_too_short_for_awq_is_refused_before_anything_is_made(
    home: Path, text: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    for size, said in ((20_000, "20,000 characters, and 32,768 tokens"), (60_000, "tokens, and 32,768 are needed")):
        short.write_bytes(text.read_bytes()[:size])
        asked = request({"quants": ["AWQ+samples=64"], "calibration": str(short), "suite": "quality"}, "a test")
        with pytest.raises(UsageError, match=said):
            check(Home(home), asked)
    assert not (home / "artifacts").exists()


def test_closing_stdin_ends_it_and_leaves_nothing(reference: Path, text: Path, tmp_path: Path) -> None:
    recipe = Recipe(source="x", quantizer="imatrix", quant="imatrix", options=parameters(chunks=1000))
    files = {"source": str(reference), "calibration": str(text)}
    command = Imatrix().command(recipe, files, str(tmp_path / "out.gguf"))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin and process.stdout
        assert '"begin"' in process.stdout.readline()
        assert '"progress"' in process.stdout.readline()
        process.stdin.close()
        assert process.wait(timeout=20) != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 100, b"not a matrix at all " * 10, "a model"])
def test_what_is_no_matrix_is_one_message(reference: Path, tmp_path: Path, content: bytes | str) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content if isinstance(content, bytes) else reference.read_bytes()[:200_000])
    said = error_of(variant(reference, tmp_path / "out.gguf", "Q4_0", broken))
    assert f"{broken} is no importance matrix" in said
    assert not (tmp_path / "out.gguf").exists()


def test_a_matrix_of_another_model_is_refused(data: Path, made: tuple[Path, Trace], tmp_path: Path) -> None:
    """Where no name is the same; where the shapes differ llama.cpp says so."""
    other = data / "models" / "stories260K" / "stories260K-f32.gguf"
    said = error_of(variant(other, tmp_path / "out.gguf", "Q4_0", made[0]))
    assert "imatrix size" in said
    assert "different from tensor size" in said
    assert list(tmp_path.iterdir()) == []


# --- how they are asked for ---


@pytest.mark.parametrize("quant", WITH_IMATRIX)
def test_a_type_that_needs_one_says_how_it_is_asked_for(quant: str) -> None:
    with pytest.raises(UsageError, match=rf"ask for {quant}\+imatrix$"):
        quantizers.asked(quant)
    made_by, found, options = quantizers.asked(f"{quant}+imatrix")
    assert (made_by.name, found, options) == ("gguf", quant, {"imatrix": True})


@pytest.mark.parametrize("quant", ["F16", "Q8_0"])
def test_a_type_that_it_does_not_change_is_not_made_with_one(quant: str) -> None:
    with pytest.raises(UsageError, match=f"changes nothing in {quant}"):
        quantizers.asked(f"{quant}+imatrix")


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    with pytest.raises(UsageError, match=r"unknown option of Q4_K_M 'imatirx': did you mean imatrix\?"):
        quantizers.asked("Q4_K_M+imatirx")


def test_what_can_be_chosen_from_can_be_asked_for() -> None:
    choices = quantizers.choices()
    assert {"Q4_K_M", "Q4_K_M+imatrix", "IQ2_XS+imatrix", "IQ4_XS", "IQ4_XS+imatrix"} <= set(choices)
    assert not {"IQ2_XS", "Q8_0+imatrix", "imatrix"} & set(choices)


def test_variants_of_one_model_and_text_share_a_matrix_and_no_others_do() -> None:
    def of(source: str, quant: str, text: str) -> str:
        options = parameters(imatrix=True, calibration_sha256=text)
        return recipe_for(Recipe(source=source, quantizer="gguf", quant=quant, options=options)).id

    assert of("a", "Q4_K_M", SHA256) == of("a", "Q2_K", SHA256)
    assert len({of("a", "Q4_K_M", SHA256), of("b", "Q4_K_M", SHA256), of("a", "Q4_K_M", "1" * 64)}) == 3


def test_its_python_and_runner_may_lie_elsewhere() -> None:
    files = {"source": "in", "calibration": "text", "python": "/there/python", "runner": "/there/runner.py"}
    recipe = Recipe(source="x", quantizer="imatrix", quant="imatrix", options=parameters(chunks=3))
    assert list(Imatrix().command(recipe, files, "out"))[:3] == ["/there/python", "-P", "/there/runner.py"]
    assert Imatrix().command(recipe, {"source": "in", "calibration": "t"}, "out")[0] == sys.executable
