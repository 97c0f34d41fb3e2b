"""`quantfarm fits`: what llama.cpp says it needs, beside what real runs held."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.fits import asking, process
from flows.fits.answer import Answer, Wanted, answer
from flows.fits.predicting import Predictor
from quantfarm.fits import estimate
from quantfarm.memory_model import contexts, tensors
from quantfarm.memory_model.contexts import context, full
from quantfarm.memory_model.parts import Parts
from quantfarm.memory_model.published import Stored, bytes_of
from quantfarm.nouns import Workload, parameters
from quantfarm.quantizers import quantizer
from storage.artifacts import Artifacts
from storage.home import Home
from tests.folder_quantizers import python_of
from tests.running import command, run
from tests.sweeping import counts, quantfarm

QUANTS = ("F16", "Q8_0", "Q4_K_M", "Q2_K")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, _server: str) -> Home:
    """A home in which three quantizations of the reference model were measured, one launch each."""
    folder = tmp_path_factory.mktemp("fits")
    workloads = [
        {"kind": "bench", "n_prompt": 256, "n_gen": 8, "repetitions": 1, "threads": 1},
        {"kind": "bench", "n_prompt": 512, "n_gen": 0, "repetitions": 1, "threads": 1, "flash_attn": "off"},
        {"kind": "bench", "n_prompt": 16, "n_gen": 4, "n_depth": 1024, "repetitions": 1, "threads": 1},
        {"kind": "app", "n_prompt": 64, "n_gen": 8, "repetitions": 1, "threads": 1},
    ]
    sweep = {"model": "reference", "quants": list(QUANTS[:3]), "launches": 1, "workloads": workloads}
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    done = counts(str(folder / "sweep.yaml"), **environment(folder / "home"), PREFECT_API_URL=_server)
    assert done["ok"] == 12
    return Home(folder / "home")


def environment(home: Path) -> dict[str, str]:
    return {"QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home.parent / "leases")}


def test_what_was_measured_is_predicted_within_five_percent(measured: Home) -> None:
    found = answer(measured, Wanted(model="reference", quants=QUANTS))
    assert len(found.checks) == 12
    errors = {f"{c.peak.variant} {c.peak.label}": round(c.error, 1) for c in found.checks}
    assert max(map(abs, errors.values())) <= 5.0, errors


def test_the_prediction_is_no_fit_to_what_was_measured(measured: Home) -> None:
    """A home that has measured nothing predicts the same."""
    other = Home(measured.root.parent / "other")
    shutil.copytree(measured.root / "fits", other.folder("fits"), dirs_exist_ok=True)
    wanted = Wanted(model="reference", quants=("Q8_0",))
    [with_figures], [without] = answer(measured, wanted).rows, answer(other, wanted).rows
    assert totals(with_figures.parts) == pytest.approx(totals(without.parts), rel=0.001)


def totals(parts: Any) -> list[float]:
    return [one.total for one in parts.values()]


def test_weights_are_by_the_real_types_of_tensors(measured: Home, reference: Path) -> None:
    """The dry run names the types and the size that the made file has; Q4_K_M keeps some tensors in Q6_K."""
    dry = asking.tensors(measured, reference, ["Q4_K_M"])["Q4_K_M"]
    [made] = [one for one in Artifacts(measured).all() if one.recipe.quant == "Q4_K_M"]
    assert tensors.types(dry) == {kind.upper(): n for kind, n in made.types.items()}
    assert sum(one.bytes for one in dry) == made.facts["tensor_bytes"]
    assert tensors.bits_per_weight(dry) == pytest.approx(made.bits_per_weight)


def test_rows_that_are_no_multiple_of_256_fall_back_as_in_the_quantizer(home: Path, data: Path) -> None:
    """stories260K has rows of 64: K-quants do not fit them."""
    model = data / "models" / "stories260K" / "stories260K-f32.gguf"
    found = tensors.types(asking.tensors(Home(home), model, ["Q4_K_M"])["Q4_K_M"])
    assert not {"Q4_K", "Q6_K"} & set(found)
    assert {"Q5_0", "Q8_0"} & set(found)


@pytest.fixture(scope="module")
def asked(measured: Home, reference: Path) -> asking.Said:
    wanted = [context(n, {"type_k": kind, "type_v": kind}) for kind in ("f16", "q8_0") for n in (256, 512, 2048, 4096)]
    return asking.buffers(measured, reference, wanted)


def test_the_shape_alone_gives_llama_cpps_own_cache(asked: asking.Said) -> None:
    """KV heads rather than heads, padded to whole blocks, and the blocks of q8_0: 34 bytes for 32 values."""
    shape = {"n_layer": 6, "n_head_kv": 4, "head_dim": 32}
    without = Predictor(shape=shape, said=None, process=None)
    for one, said in asked.buffers.items():
        assert without.buffers(one).kv == pytest.approx(said.kv, abs=0.006), one  # its log has two digits


def test_between_two_contexts_the_cache_lies_on_a_line(asked: asking.Said) -> None:
    both = Predictor(shape=asked.shape, said=asked, process=None)
    settings = {"type_k": "f16", "type_v": "f16"}
    assert both.buffers(context(3072, settings)).kv == pytest.approx(9.0, abs=0.01)


def test_the_largest_context_is_the_last_that_fits(measured: Home) -> None:
    found = answer(measured, Wanted(model="reference", quants=("F16",), contexts=(1024,)))
    [row] = found.rows
    parts = row.parts[1024]
    assert isinstance(parts, Parts)
    predictor = Predictor(
        shape={"n_layer": 6, "n_head_kv": 4, "head_dim": 32, "n_embd": 256, "n_ff": 768},
        said=None, process=found.process,
    )  # fmt: skip
    largest = predictor.largest(row.weights, {}, 100.0, 32768)
    assert largest
    fits = predictor.parts(row.weights, full(largest, {}))
    more = predictor.parts(row.weights, full(largest + 256, {}))
    assert isinstance(fits, Parts)
    assert isinstance(more, Parts)
    assert fits.total <= 100.0 < more.total
    assert predictor.largest(row.weights, {}, 10.0, 32768) is None


def test_the_process_is_measured_once_for_a_build(measured: Home) -> None:
    first = process.of(measured, "llama_cpp")
    assert 10 < first.mib < 200
    assert process.of(measured, "llama_cpp") == first  # its time of measuring too
    assert not list(measured.folder("fits").glob("*.gguf"))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says how many pages a process holds")
def test_what_a_formats_own_library_holds_is_part_of_the_process(tmp_path: Path) -> None:
    """bitsandbytes is loaded for NF4 alone."""
    python_of(quantizer("nf4"))
    plain, nf4 = (process.of(Home(tmp_path), "transformers", form) for form in ("hf", "bnb"))
    assert plain.mib + 5 < nf4.mib < plain.mib + 300
    assert process.of(Home(tmp_path), "transformers", "bnb") == nf4


def test_a_bench_at_a_depth_keeps_a_copy_of_its_cache() -> None:
    deep = Workload(kind="bench", parameters=parameters(n_prompt=16, n_gen=4, n_depth=1024, n_ubatch=512))
    prompt, generate = contexts.uses(deep)
    assert (prompt.context.n_ctx, prompt.tokens, prompt.saved) == (1040, 512, 1024)
    assert (generate.context.n_ctx, generate.tokens) == (1028, 512)  # filling it is done in micro-batches
    assert contexts.uses(Workload(kind="quality")) == []


def test_a_prediction_says_what_fits(measured: Home) -> None:
    arguments = ("--quants", "F16,Q8_0", "--contexts", "512,1k", "--device", "local", "--json")
    found = json.loads(quantfarm("fits", "reference", *arguments, **environment(measured.root)))
    first = found["variants"][0]
    assert [one["n_ctx"] for one in first["contexts"]] == [512, 1024]
    assert all(one["fits"] for one in first["contexts"])
    assert first["largest_context"] == found["n_ctx_train"]
    parts = first["contexts"][0]
    each = ("weights", "copies", "kv_cache", "compute", "process", "saved")
    assert sum(parts[f"{name}_mib"] for name in each) == pytest.approx(parts["total_mib"])
    assert found["largest_error_percent"] == max(abs(one["error_percent"]) for one in found["measured"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reference", "--device", "lokal"), "did you mean local"),
        (("reference", "--quants", "Q4_KM"), "did you mean Q4_K_M"),
        (("reference", "--contexts", "many"), "is no number of tokens"),
        (("reference", "--kv", "f15"), "did you mean f16"),
        (("reference", "--flash-attn", "maybe"), "is on or off"),
        (("nothing-here",), "no such file or folder"),
    ],
)
def test_wrong_questions_are_refused_with_what_is_known(home: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in quantfarm("fits", *arguments, code=2, **environment(home))
    assert not home.exists()


def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    """By the runner itself too: it is told to look at what is no GGUF."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF nothing")
    request = json.dumps({"kind": "types", "model": str(broken), "quants": ["Q8_0"]})
    ran = run(command("llama_cpp_fits.py", "--request", request))
    assert ran.code == 1
    assert not ran.end["ok"]
    assert ran.end["error"]


def test_the_plans_estimate_knows_types_of_cache_and_quantizations() -> None:
    shape = {"n_layer": 6, "n_head_kv": 4, "head_dim": 32, "n_vocab": 4096}
    work = {"n_prompt": 4096, "n_gen": 0, "n_depth": 0}
    half = estimate(10**9, "Q4_K_M", shape, Workload(kind="bench", parameters=parameters(work, type_k="q8_0")))
    whole = estimate(10**9, "Q4_K_M", shape, Workload(kind="bench", parameters=parameters(work)))
    assert half.kv_cache == pytest.approx(whole.kv_cache * (34 / 32 + 2) / 4)
    assert estimate(10**9, "IQ2_XS", shape, Workload(kind="bench")).weights < whole.weights / 1.8
    assert estimate(10**9, "MLX-4", shape, Workload(kind="bench")).weights == pytest.approx(4.5e9 / 8 / 2**20)


def test_formats_of_a_folder_are_weighed_with_their_scales() -> None:
    """Two matrices of 256 × 512 and embeddings, in F16; by hand."""
    n = 256 * 512
    shapes = [("a.weight", (256, 512)), ("b.weight", (512, 256)), ("model.embed_tokens.weight", (512, 256))]
    tensors = [Stored(name, shape, "F16", 2 * n) for name, shape in shapes]
    tensors.append(Stored("norm.weight", (256,), "F16", 512))
    assert bytes_of(tensors, "HF", {}) == 3 * 2 * n + 512
    assert bytes_of(tensors, "MLX-4", {}) == 3 * n * (4 + 32 / 64) / 8 + 512
    assert bytes_of(tensors, "MLX-8", {"group_size": 32}) == 3 * n * (8 + 1) / 8 + 512
    assert bytes_of(tensors, "RTN", {}) == 2 * n * (4 + 20 / 128) / 8 + 2 * n + 512
    assert bytes_of(tensors, "NF4", {}) == 2 * n * (4 + 32 / 64) / 8 + 2 * n + 512
    assert bytes_of(tensors, "NF4", {"double_quant": True}) == 2 * n * (4 + 8.125 / 64) / 8 + 2 * n + 512


def test_a_folder_is_weighed_as_it_lies_there(home: Path) -> None:
    found = answer(Home(home), Wanted(model="reference", quants=("HF", "RTN"), contexts=(512,)))
    published, packed = (row.weights for row in found.rows)
    assert published.mib * 2**20 == 11540992  # of the reference model's safetensors
    assert packed.mib * 2**20 == 4555264  # what the quantizer writes of it
    for row in found.rows:  # the process is that of a runtime which reads the format, where one is installed
        parts = row.parts[512]
        assert isinstance(parts, Parts)
        assert not parts.process or parts.process > 60
        assert any(row.weights.name in note and "process of" in note for note in found.notes)


def test_what_a_model_or_a_device_does_not_allow_is_said(home: Path) -> None:
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    (folder / "attic.yaml").write_text("kind: ssh\naddress: attic\ncores: 2\n")
    wanted = {"model": "reference", "quants": ("F16", "Q8_0"), "contexts": (512, 4096)}
    unknown = answer(Home(home), Wanted(**wanted, device="attic"))
    assert any("trained for 1024 tokens" in note for note in unknown.notes)
    assert any("attic does not say how much memory" in note for note in unknown.notes)
    least = [totals(row.parts)[0] for row in answer(Home(home), Wanted(**wanted | {"contexts": (256,)})).rows]
    small = {"kind": "ssh", "address": "small", "memory_mib": 4096, "limits": {"memory_mib": round(sum(least) / 2)}}
    (folder / "small.yaml").write_text(json.dumps(small))
    f16, q8 = answer(Home(home), Wanted(**wanted, device="small")).rows
    assert f16.largest is None
    assert q8.largest
    assert q8.largest < 1024
    table = quantfarm("fits", "reference", "--quants", "F16,Q8_0", "--device", "small", **environment(home))
    assert "none" in table
    assert "✗" in table


def test_an_answer_without_measurements_has_no_error(home: Path) -> None:
    found: Answer = answer(Home(home), Wanted(model="reference", quants=("Q8_0",)))
    assert found.checks == []
    assert found.process
