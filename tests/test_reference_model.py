"""The reference model is what its card says, and conversion keeps tokens and bytes.

Tests that need the converter's environment (CPU torch, about 1 GB) run where it was made before,
and everywhere with QUANTFARM_TEST_CONVERT=1.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from quantfarm import corpus, models, toolchain
from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, conversion, environments
from reference_model import card
from tests.conftest import ROOT

HERE = ROOT / "reference_model"
FOLDER, GGUF, SAMPLE = HERE / "model", HERE / "reference-F16.gguf", HERE / "tokenizer_sample.txt"


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the converter's environment."""
    made = list((cache.root() / "environments").glob(f"convert-*/{environments.MARK}"))
    if not made and "QUANTFARM_TEST_CONVERT" not in os.environ:
        pytest.skip("the converter's environment is not made here (set QUANTFARM_TEST_CONVERT=1)")
    return environments.python_of(conversion.environment())


@pytest.fixture
def tiny(python: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a tiny Hugging Face folder with the tokenizer of a kind."""

    def make(kind: str) -> Path:
        out = tmp_path / kind
        subprocess.run([python, ROOT / "tests" / "tiny_hf.py", out, kind], check=True, capture_output=True)
        return out

    return make


def vocabulary(path: Path) -> Any:
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model
    return model


QUIET = llama_cpp.llama_log_callback(lambda *_: None)


def gguf_tokens(path: Path, text: bytes) -> dict[str, Any]:
    """As tokens.py, by llama.cpp from the GGUF."""
    model = vocabulary(path)
    room = len(text) + 8
    ids = (llama_cpp.llama_token * room)()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, text, len(text), ids, room, True, False)
    llama_cpp.llama_model_free(model)
    packed = struct.pack(f"<{count}i", *ids[:count])
    return {"n_tokens": count, "token_sha256": hashlib.sha256(packed).hexdigest()}


def hf_tokens(python: Path, folder: Path, text: bytes) -> dict[str, Any]:
    command = [python, HERE / "tokens.py", folder / "tokenizer.json"]
    return json.loads(subprocess.run(command, input=text, check=True, capture_output=True).stdout)


def test_the_card_is_written_from_the_files_beside_it() -> None:
    assert (HERE / "MODEL_CARD.md").read_text() == card.text(FOLDER, GGUF)


def test_folder_and_gguf_together_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in [GGUF, *FOLDER.iterdir()]) <= 25_000_000


def test_it_has_the_size_that_was_promised() -> None:
    assert 4_000_000 <= models.resolve("reference").n_params <= 8_000_000


def test_every_row_is_a_multiple_of_256() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["hidden_size"] % 256 == 0
    assert config["intermediate_size"] % 256 == 0


def test_the_gguf_was_made_from_the_folder_beside_it() -> None:
    """The token embedding, stored as it is in both."""
    raw = (FOLDER / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    start, end = json.loads(raw[8 : 8 + length])["model.embed_tokens.weight"]["data_offsets"]
    assert raw[8 + length + start : 8 + length + end] in GGUF.read_bytes()


@pytest.mark.parametrize("number", [0, 1])
def test_the_gguf_gives_the_tokens_that_hugging_face_gave_when_it_was_made(number: int) -> None:
    sample = json.loads((HERE / "tokens.json").read_text())[number]
    text = SAMPLE.read_bytes() if sample["text"] == SAMPLE.name else corpus.held_out_text()
    if hashlib.sha256(text).hexdigest() != sample["text_sha256"]:
        pytest.skip(f"this Python carries another text than {sample['text']}")
    assert gguf_tokens(GGUF, text) == {key: sample[key] for key in ("n_tokens", "token_sha256")}


def test_the_fixed_sample_is_the_one_that_was_tokenized() -> None:
    sample = json.loads((HERE / "tokens.json").read_text())[0]
    assert sample["text_sha256"] == hashlib.sha256(SAMPLE.read_bytes()).hexdigest()


def test_the_held_out_corpus_of_this_python_has_the_same_tokens_in_both(python: Path) -> None:
    text = corpus.held_out_text()
    assert gguf_tokens(GGUF, text) == hf_tokens(python, FOLDER, text)


def test_converting_again_elsewhere_gives_the_same_bytes(python: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "some-13B-other_name-v2"))
    toolchain.convert(copy, tmp_path / "again.gguf", "reference")
    assert card.sha256(tmp_path / "again.gguf") == card.sha256(GGUF)


@pytest.mark.parametrize(("kind", "name"), [("byte-level", "gpt-2"), ("qwen2", "qwen2")])
def test_a_split_that_llama_cpp_has_is_recognised_and_gives_equal_tokens(
    tiny: Callable[[str], Path], python: Path, tmp_path: Path, kind: str, name: str
) -> None:
    folder, out = tiny(kind), tmp_path / "out.gguf"
    toolchain.convert(folder, out, "tiny")
    assert models.inspect(out)["facts"]["pre_tokenizer"] == name
    for text in (SAMPLE.read_bytes(), corpus.held_out_text()[:100_000]):
        assert gguf_tokens(out, text)["token_sha256"] == hf_tokens(python, folder, text)["token_sha256"]


def test_a_split_that_llama_cpp_does_not_have_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tiny("other")
    with pytest.raises(FarmError, match=r"converting tiny failed: .*its split rule is none that llama\.cpp has"):
        toolchain.convert(folder, tmp_path / "out.gguf", "tiny")
    assert not list(tmp_path.glob("*out.gguf*"))


def test_an_architecture_that_the_converter_does_not_know_is_refused(python: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["OtherForCausalLM"]}))
    with pytest.raises(FarmError, match="OtherForCausalLM is not supported"):
        toolchain.convert(folder, tmp_path / "out.gguf", "other")


def test_code_that_a_folder_brings_is_not_run(python: Path, tmp_path: Path) -> None:
    """DreamModel is one of the architectures for which llama.cpp's converter itself would trust it."""
    folder, proof = Path(shutil.copytree(FOLDER, tmp_path / "other")), tmp_path / "it-ran"
    code = f"open({str(proof)!r}, 'w').close()\nfrom transformers import LlamaConfig as OwnConfig\n"
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    own = {"architectures": ["DreamModel"], "model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config | own))
    with pytest.raises(FarmError, match=r"code of its own \(auto_map\), which is not run here"):
        toolchain.convert(folder, tmp_path / "out.gguf", "other")
    assert not proof.exists()


def test_a_converted_folder_is_kept_and_made_once(python: Path, tmp_path: Path) -> None:
    source = models.resolve(str(FOLDER))
    first = models.gguf_file(source)
    before = first.stat().st_mtime_ns
    assert models.gguf_file(source).stat().st_mtime_ns == before
