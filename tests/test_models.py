"""What a user can give as a model, and the one message for each thing that is none."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from flows import sources
from quantfarm import models
from quantfarm.errors import UsageError
from quantfarm.models import digests, folder
from quantfarm.variants import variants
from tests.conftest import ROOT

WEIGHTS = "model.safetensors"


@pytest.fixture
def hf_folder(tmp_path: Path) -> Path:
    """A copy of the reference model's Hugging Face folder."""
    return Path(shutil.copytree(ROOT / "reference_model" / "model", tmp_path / "tiny"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))


def edit_config(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def test_the_reference_model_is_known_by_name(reference: Path) -> None:
    source = models.resolve("reference")
    assert (source.name, source.kind, source.quant, source.path) == ("reference", "gguf", "F16", reference)
    assert source.id == digests.sha256(reference)
    assert models.gguf_file(source) == reference


def test_a_gguf_is_told_by_its_content_not_its_place(reference: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(reference, tmp_path / "other.gguf"))
    source = models.resolve(str(copy))
    assert source.name == "other"
    assert source.id == models.resolve("reference").id


def test_folder_and_gguf_of_one_model_have_the_same_shape() -> None:
    of_folder, of_file = models.resolve(str(ROOT / "reference_model" / "model")), models.resolve("reference")
    keys = ("n_layer", "n_embd", "n_head", "n_head_kv", "head_dim", "n_vocab", "n_ctx_train")
    assert {k: of_folder.facts[k] for k in keys} == {k: of_file.facts[k] for k in keys}
    assert of_folder.n_params == of_file.n_params
    assert (of_folder.kind, of_folder.quant) == ("folder", "F16")


def test_a_folder_is_told_by_the_files_that_count(hf_folder: Path) -> None:
    before = folder.listing(hf_folder)
    (hf_folder / "notes.py").write_text("not looked at")
    (hf_folder / "picture.png").write_bytes(b"not looked at")
    assert folder.listing(hf_folder) == before
    edit_config(hf_folder, rope_theta=1.0)
    assert folder.listing(hf_folder) != before


def test_a_renamed_file_makes_another_folder(hf_folder: Path) -> None:
    before = folder.listing(hf_folder)
    (hf_folder / "generation_config.json").rename(hf_folder / "other.json")
    assert folder.listing(hf_folder) != before


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path, reads = tmp_path / "file", []
    path.write_bytes(b"one")
    os.utime(path, (1, 1))

    def read(given: Path) -> str:
        reads.append(given)
        return given.read_text()

    assert [digests.remembered(path, "text", read) for _ in range(3)] == ["one"] * 3
    assert len(reads) == 1
    path.write_bytes(b"two")
    os.utime(path, (2, 2))
    assert digests.remembered(path, "text", read) == "two"


def test_a_file_that_just_changed_is_read_again_each_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    stat = path.stat()
    assert digests.remembered(path, "text", Path.read_text) == "one"
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.remembered(path, "text", Path.read_text) == "two"


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    (tmp_path / "cache" / "digests").mkdir(parents=True)
    monkeypatch.setattr("quantfarm.toolchain.cache.write_atomic", _full)
    assert digests.remembered(path, "text", Path.read_text) == "one"


def _full(path: Path, data: bytes) -> None:
    raise OSError(28, "No space left on device", str(path), None, None)


def refusal(model: str | Path) -> str:
    with pytest.raises(UsageError) as caught:
        models.resolve(str(model))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_nowhere_is_refused(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "none.gguf")
    assert "no such file or folder" in refusal("models/none.gguf")
    assert "no such file or folder" in refusal("referenc")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("this is a text of more than twenty-four bytes")
    assert "not a GGUF" in refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.touch()
    assert "0 bytes" in refusal(path)


def test_a_truncated_gguf_names_both_sizes(reference: Path, tmp_path: Path) -> None:
    whole = reference.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:-5000])
    assert f"{len(whole) - 5000} bytes" in refusal(path)
    assert f"promises {len(whole)}" in refusal(path)


@pytest.mark.parametrize("at", [8, 16, 24, 32, 40, 100, 5000])
def test_a_gguf_with_a_damaged_header_is_refused_or_read_but_never_a_traceback(
    reference: Path, tmp_path: Path, at: int
) -> None:
    data = bytearray(reference.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data)
    try:
        models.resolve(str(path))
    except UsageError as error:
        assert "\n" not in str(error)


def test_a_part_of_a_split_gguf_is_refused(reference: Path, tmp_path: Path) -> None:
    """The header of the reference model with `split.count` = 3 put before its other keys."""
    data = reference.read_bytes()
    key = b"split.count"
    more = struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, 3)
    (n_keys,) = struct.unpack_from("<Q", data, 16)
    path = tmp_path / "part.gguf"
    path.write_bytes(data[:16] + struct.pack("<Q", n_keys + 1) + more + data[24:] + bytes(64))
    assert "one part of 3" in refusal(path)


def test_a_folder_without_a_config_is_refused(hf_folder: Path) -> None:
    (hf_folder / "config.json").unlink()
    assert "no config.json" in refusal(hf_folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no Hugging Face model" in refusal(tmp_path / "empty")


def test_a_folder_of_pickles_is_refused_and_they_are_named(hf_folder: Path) -> None:
    (hf_folder / WEIGHTS).rename(hf_folder / "pytorch_model.bin")
    assert "pickles only (pytorch_model.bin)" in refusal(hf_folder)


def test_truncated_safetensors_name_both_sizes(hf_folder: Path) -> None:
    whole = (hf_folder / WEIGHTS).read_bytes()
    (hf_folder / WEIGHTS).write_bytes(whole[:-1000])
    assert f"{len(whole) - 1000} bytes, and its header promises {len(whole)}" in refusal(hf_folder)


@pytest.mark.parametrize("kept", [0, 7, 8, 50, 1000])
def test_safetensors_cut_in_their_header_are_refused(hf_folder: Path, kept: int) -> None:
    (hf_folder / WEIGHTS).write_bytes((hf_folder / WEIGHTS).read_bytes()[:kept])
    assert WEIGHTS in refusal(hf_folder)


def test_a_missing_shard_is_named(hf_folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (hf_folder / folder.INDEX).write_text(json.dumps(index))
    (hf_folder / WEIGHTS).rename(hf_folder / "model-00001-of-00002.safetensors")
    assert "lacks model-00002-of-00002.safetensors" in refusal(hf_folder)


def test_a_config_that_is_no_json_is_refused(hf_folder: Path) -> None:
    (hf_folder / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(hf_folder)
    (hf_folder / "config.json").write_text("[]")
    assert "no JSON object" in refusal(hf_folder)


def test_code_that_a_model_brings_is_said_not_to_run(hf_folder: Path) -> None:
    edit_config(hf_folder, auto_map={"AutoModel": "modeling.Model"})
    (note,) = models.resolve(str(hf_folder)).notes
    assert "not run" in note


def test_no_gguf_is_made_of_an_unknown_architecture_with_code_of_its_own(
    hf_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "known_architectures", lambda: frozenset({"LlamaForCausalLM"}))
    edit_config(hf_folder, architectures=["OwnForCausalLM"], auto_map={"AutoModel": "modeling.Model"})
    known = "does not know its architecture, OwnForCausalLM. It brings Python code"
    with pytest.raises(UsageError, match=known):
        models.gguf_file(models.resolve(str(hf_folder)))
    for asked in ((), ("F16",), ("HF", "Q4_K_M")):
        with pytest.raises(UsageError, match=f"cannot be made of .*{known}"):
            variants(asked, sources.describe(str(hf_folder)))


def test_what_llama_cpp_does_not_know_others_may(hf_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "known_architectures", lambda: frozenset({"FirstForCausalLM"}))
    assert [one.format for one in variants(("HF", "MLX-4", "RTN"), sources.describe(str(hf_folder)))] == [
        *("hf", "mlx", "rtn"),
    ]


def test_only_what_looks_like_a_hub_id_needs_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert models.is_here("reference")
    assert models.is_here("folder/file.gguf")
    assert not models.is_here("org/name")
    assert not models.is_here("org/name@main")
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert models.is_here("org/name")
