"""The checks that hold a number honest, against llama.cpp's own tools of the same sources (METHOD §6: 1, 2, 6)."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from quantfarm import metrics, toolchain
from quantfarm.corpus import held_out_text
from quantfarm.errors import FarmError
from quantfarm.nouns import Measurement, Trace
from quantfarm.runtimes.events import parse
from tests.running import Ran, command, llama_cpp, run

CHUNKS = 12
N_CTX = 512
SCORED = 255


@pytest.fixture(scope="module")
def tool() -> Path:
    try:
        return toolchain.tool("llama-perplexity")
    except FarmError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "held-out.txt"
    path.write_bytes(held_out_text())
    return path


@pytest.fixture(scope="module")
def q4(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("q4") / "q4.gguf"
    asked = {"source": str(reference), "out": str(out), "quant": "Q4_K_M", "threads": 1}
    assert run(command("quantize_gguf.py", "--request", json.dumps(asked))).end["ok"]
    return out


def peer(tool: Path, model: Path, *options: str, n_batch: int = N_CTX) -> str:
    """What llama-perplexity prints at our settings.

    Its log is written by a thread that its exit does not wait for, so that now and then the last
    lines are lost; then it is run again.
    """
    context = ["-c", str(N_CTX), "-b", str(n_batch), "-ub", "512", "-t", "1", "-fa", "on", "-dev", "none"]
    last = "Same top p:" if "--kl-divergence" in options else "Final estimate:"
    for _ in range(10):
        ran = subprocess.run([tool, "-m", model, *context, *options], capture_output=True, text=True, check=False)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, said[-2000:]
        if last in said:
            return said
    pytest.fail(f"llama-perplexity never came to its '{last}':\n{said[-2000:]}")


def ours(kind: str, model: Path, text: Path, *, n_batch: int = N_CTX, **parameters: object) -> Ran:
    asked = {"text": str(text), "n_ctx": N_CTX, "n_chunks": CHUNKS, "n_batch": n_batch} | parameters
    ran = run(llama_cpp(kind, model, **asked))
    assert ran.end["ok"], ran.end
    return ran


def figures(ran: Ran) -> Mapping[str, Measurement]:
    return {m.metric: m for m in metrics.measure(parse(ran.lines))}


def printed(text: str, label: str) -> tuple[str, str | None]:
    """A figure of the tool's and its error, as printed: 'Mean    KLD:   0.000406 ±   0.000002'."""
    found = re.search(rf"{re.escape(label)}\s*[:=]\s+(-?[\d.]+)%?(?:\s+(?:±|\+/-)\s+(-?[\d.]+))?", text)
    assert found, f"no {label} in:\n{text[-3000:]}"
    return found[1], found[2]


def error_of(m: Measurement) -> float:
    assert m.low is not None and m.high is not None
    return (m.high - m.low) / 2 / 1.96


@pytest.fixture(scope="module")
def base(tool: Path, reference: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool's own base-logits file of the reference model."""
    out = tmp_path_factory.mktemp("base") / "tool.logits"
    peer(tool, reference, "-f", str(corpus), "--chunks", str(CHUNKS), "--kl-divergence-base", str(out))
    return out


# --- check 1: perplexity ---


@pytest.mark.parametrize("quant", ["F16", "Q4_K_M"])
@pytest.mark.parametrize("n_batch", [256, 512, 2048], ids=["half a chunk", "a chunk", "four chunks"])
def test_perplexity_is_llama_perplexity_s_to_the_printed_digits(
    tool: Path, reference: Path, q4: Path, corpus: Path, quant: str, n_batch: int
) -> None:
    model = reference if quant == "F16" else q4
    said = peer(tool, model, "-f", str(corpus), "--chunks", str(CHUNKS), n_batch=n_batch)
    value, error = printed(said, "Final estimate: PPL")
    ppl = figures(ours("quality", model, corpus, n_batch=n_batch))["ppl"]
    assert f"{ppl.value:.4f}" == value
    assert f"{error_of(ppl):.5f}" == error


@pytest.mark.parametrize("quant", ["F16", "Q4_K_M"])
def test_perplexity_is_within_a_millionth_of_llama_perplexity_s(
    tool: Path, reference: Path, q4: Path, corpus: Path, base: Path, quant: str
) -> None:
    """Against the mean over the same chunks that it prints with six decimals."""
    model = reference if quant == "F16" else q4
    value, _ = printed(peer(tool, model, "--kl-divergence", "--kl-divergence-base", str(base)), "Mean PPL(Q)")
    assert figures(ours("quality", model, corpus))["ppl"].value == pytest.approx(float(value), rel=1e-6)


def test_perplexity_of_another_model_and_text_agrees_too(tool: Path, data: Path) -> None:
    model = data / "models" / "stories260K" / "stories260K-f32.gguf"
    text = data / "text" / "wikitext-2" / "test.txt"
    value, _ = printed(peer(tool, model, "-f", str(text), "--chunks", str(CHUNKS)), "Final estimate: PPL")
    ppl = figures(ours("quality", model, text))["ppl"]
    assert f"{ppl.value:.4f}" == value


def test_255_tokens_of_each_chunk_are_scored(reference: Path, corpus: Path) -> None:
    ran = ours("quality", reference, corpus)
    assert [chunk["n"] for chunk in ran.of("chunk")] == [SCORED] * CHUNKS
    assert figures(ran)["ppl"].n == SCORED * CHUNKS


def test_the_tokens_are_the_tool_s(reference: Path, corpus: Path, base: Path) -> None:
    ids = base.read_bytes()[20 : 20 + 4 * N_CTX * CHUNKS]
    assert ours("quality", reference, corpus).of("tokens")[0]["token_sha256"] == hashlib.sha256(ids).hexdigest()


# --- check 2: KL divergence ---


@pytest.mark.parametrize("quant", ["F16", "Q4_K_M"])
def test_divergence_figures_are_the_tool_s_to_the_printed_digits(
    tool: Path, reference: Path, q4: Path, corpus: Path, base: Path, quant: str
) -> None:
    model = reference if quant == "F16" else q4
    said = peer(tool, model, "--kl-divergence", "--kl-divergence-base", str(base))
    said = said[said.index("KL divergence statistics") :]
    found = figures(ours("quality", model, corpus, base_logits=str(base)))
    labels = {
        "Mean    KLD": "kld_mean",
        "Maximum KLD": "kld_max",
        "99.9%   KLD": "kld_p999",
        "Median  KLD": "kld_median",
    }
    for label, name in labels.items():
        assert (label, f"{found[name].value:.6f}") == (label, printed(said, label)[0])
    for label, name in {"RMS Δp": "rms_dp", "Same top p": "same_top"}.items():
        value, error = printed(said, label)
        assert (label, f"{found[name].value:.3f}", f"{error_of(found[name]):.3f}") == (label, value, error)
    assert f"{error_of(found['kld_mean']):.6f}" == printed(said, "Mean    KLD")[1]


def test_a_model_hardly_diverges_from_itself(reference: Path, corpus: Path, base: Path) -> None:
    found = figures(ours("quality", reference, corpus, base_logits=str(base)))
    assert abs(found["kld_mean"].value) <= 1e-5
    assert found["same_top"].value == 100


def test_divergence_of_a_quantised_model_is_more_than_nothing(q4: Path, corpus: Path, base: Path) -> None:
    found = figures(ours("quality", q4, corpus, base_logits=str(base)))
    assert found["kld_mean"].value > 1e-5
    assert found["kld_median"].value < found["kld_p999"].value < found["kld_max"].value


def test_our_base_logits_are_the_tool_s_but_for_the_last_bit_of_a_float(
    reference: Path, corpus: Path, base: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "ours.logits"
    ours("logits", reference, corpus, out=str(mine))
    theirs, written = base.read_bytes(), mine.read_bytes()
    head = 20 + 4 * N_CTX * CHUNKS
    width = 2 * ((int.from_bytes(theirs[12:16], "little") + 1) // 2) + 4
    assert len(written) == len(theirs)
    assert written[:head] == theirs[:head]
    a, b = (np.frombuffer(raw[head:], "<u2").reshape(-1, width) for raw in (theirs, written))
    steps = np.abs(a[:, 4:].astype(int) - b[:, 4:].astype(int))
    assert steps.max() <= 1
    assert np.count_nonzero(steps) < 1e-4 * steps.size
    scales, others = (np.ascontiguousarray(rows[:, :4]).view("<f4") for rows in (a, b))
    np.testing.assert_allclose(scales, others, rtol=4e-7)


def test_the_tool_reads_our_base_logits_as_its_own(
    tool: Path, reference: Path, q4: Path, corpus: Path, base: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "ours.logits"
    ours("logits", reference, corpus, out=str(mine))
    one, other = (peer(tool, q4, "--kl-divergence", "--kl-divergence-base", str(path)) for path in (base, mine))
    for label in ("Mean    KLD", "Median  KLD", "99.9%   KLD", "RMS Δp", "Same top p"):
        assert printed(one, label) == printed(other, label)


def test_perplexity_is_the_same_with_and_without_a_base(
    reference: Path, corpus: Path, base: Path, tmp_path: Path
) -> None:
    plain = figures(ours("quality", reference, corpus))["ppl"]
    beside = figures(ours("quality", reference, corpus, base_logits=str(base)))["ppl"]
    writing = figures(ours("logits", reference, corpus, out=str(tmp_path / "x")))["ppl"]
    assert plain == beside == writing


def test_bits_per_byte_is_the_nll_over_the_bytes_of_what_was_scored(reference: Path, corpus: Path) -> None:
    ran = ours("quality", reference, corpus)
    total = math.fsum(nll for chunk in ran.of("chunk") for nll in chunk["nll"])
    size = ran.of("tokens")[0]["bytes"]
    assert figures(ran)["bits_per_byte"].value == pytest.approx(total / (math.log(2) * size))
    assert SCORED * CHUNKS < size < corpus.stat().st_size  # a token is more than a byte, and half is scored


# --- check 6: memory ---

GIB_MAPPED = """
import json, mmap, sys, time
def emit(event, **fields): print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), flush=True)
emit("begin", schema=1, runner="fixture", versions={})
time.sleep(0.3)
emit("filling")
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
total = sum(mapped[i] for i in range(0, len(mapped), 4096))
anonymous = mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(0, len(anonymous), 4096): anonymous[i] = 1
emit("filled")
time.sleep(0.5)
emit("end", ok=True)
"""
FAT_PARENT = "import subprocess, sys; fat = bytearray(400 << 20); sys.exit(subprocess.run(sys.argv[1:]).returncode)"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/status is Linux's")


def filled(tmp_path: Path, *before: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Memory before and after a gibibyte was mapped and 256 MiB were written, as the sampler saw it."""
    file = tmp_path / "mapped"
    with file.open("wb") as out:
        out.truncate(2**30)
    asked = command("sampler.py", "--hz", "50", "--", sys.executable, "-c", GIB_MAPPED, str(file))
    trace: Trace = parse(run([*before, *asked]).lines)
    empty = [s["values"] for s in trace.of("sample") if s["t"] < trace.first("filling")["t"]]
    stays = trace.first("filled")["t"], trace.first("end")["t"]  # after its end it gives memory back
    full = [s["values"] for s in trace.of("sample") if stays[0] < s["t"] < stays[1]]
    return empty[-1], full[-1]


@linux_only
def test_mapped_anonymous_and_peak_memory_are_each_within_a_hundredth(tmp_path: Path) -> None:
    before, after = filled(tmp_path)
    grown = {name: after[name] - before[name] for name in ("rss_file_mib", "rss_anon_mib", "hwm_mib")}
    assert grown["rss_file_mib"] == pytest.approx(1024, rel=0.01)
    assert grown["rss_anon_mib"] == pytest.approx(256, rel=0.01)
    assert grown["hwm_mib"] == pytest.approx(1280, rel=0.01)


@linux_only
def test_a_parent_of_400_mib_adds_nothing(tmp_path: Path) -> None:
    lean, _ = filled(tmp_path)
    fat, after = filled(tmp_path, sys.executable, "-c", FAT_PARENT)
    assert fat["hwm_mib"] == pytest.approx(lean["hwm_mib"], abs=2)
    assert after["hwm_mib"] - fat["hwm_mib"] == pytest.approx(1280, rel=0.01)


@linux_only
def test_a_parent_of_400_mib_adds_nothing_to_a_runner_s_own_peak(reference: Path) -> None:
    asked = llama_cpp("bench", reference, n_prompt=16, n_gen=4, n_depth=0, repetitions=1)
    lean, fat = (
        {m.metric: m.value for m in metrics.measure(parse(run([*before, *asked]).lines))}
        for before in ((), (sys.executable, "-c", FAT_PARENT))
    )
    assert fat["resident_peak"] == pytest.approx(lean["resident_peak"], abs=4)
    assert fat["committed_peak"] == pytest.approx(lean["committed_peak"], abs=4)
