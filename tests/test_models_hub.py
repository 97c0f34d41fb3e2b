"""Models from a hub: told by their commit, fetched in parts, checked, safetensors only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quantfarm import models
from quantfarm.errors import FarmError, UsageError
from quantfarm.models import fetch
from quantfarm.models import hub as hubs
from tests.conftest import ROOT
from tests.hub_server import COMMIT, Hub, folder_files, serving

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the reference model as org/tiny, and caches of our own."""
    files = folder_files(ROOT / "reference_model" / "model") | {"pytorch_model.bin": b"pickle", "modeling.py": b"code"}
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(fetch, "PAUSE_S", 0.0)
    with serving(Hub(files)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def test_a_hub_model_is_told_by_name_and_commit(hub: Hub) -> None:
    source = models.resolve("org/tiny")
    assert (source.name, source.kind, source.id) == ("org/tiny", "hub", f"hub:org/tiny@{COMMIT}")
    assert source.path is None
    assert source.size == len(hub.files[WEIGHTS])
    assert source.facts["n_layer"] == 6


def test_looking_at_a_hub_model_fetches_its_config_alone(hub: Hub) -> None:
    models.resolve("org/tiny")
    assert [path.rpartition("/")[2] for path, _ in hub.asked if "/resolve/" in path] == ["config.json"]


def test_a_download_has_every_file_but_pickles_and_code(hub: Hub) -> None:
    path = hubs.download(models.resolve("org/tiny"))
    here = {file.name: file.read_bytes() for file in path.iterdir()}
    assert here == {name: data for name, data in hub.files.items() if not name.endswith((".bin", ".py"))}


def test_a_second_download_fetches_nothing(hub: Hub) -> None:
    hubs.download(models.resolve("org/tiny"))
    hub.asked.clear()
    source = models.resolve("org/tiny")
    assert source.path is not None
    hubs.download(source)
    assert not [path for path, _ in hub.asked if "/resolve/" in path]


def test_a_lost_connection_is_made_again_where_it_ended(hub: Hub) -> None:
    hub.cut = len(hub.files[WEIGHTS]) // 3
    path = hubs.download(models.resolve("org/tiny"))
    assert (path / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    ranges = [asked for name, asked in hub.asked if name.endswith(WEIGHTS)]
    assert ranges[0] == ""
    assert len(ranges) > 2
    assert all(asked.startswith("bytes=") for asked in ranges[1:])


def test_an_interrupted_download_goes_on_in_the_next_run(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    hub.cut = len(hub.files[WEIGHTS]) // 2
    source = models.resolve("org/tiny")
    with pytest.raises(FarmError, match="are here and kept"):
        hubs.download(source)
    assert not list(fetch_folder().glob(WEIGHTS))
    kept = (fetch_folder() / f"{WEIGHTS}.part").stat().st_size
    hub.cut = 0
    path = hubs.download(source)
    assert (path / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert f"bytes={kept}-" in [asked for _, asked in hub.asked]


def fetch_folder() -> Path:
    return fetch.Repository(name="org/tiny", commit=COMMIT, files=()).path


@pytest.mark.parametrize(("name", "kind"), [(WEIGHTS, "sha256"), ("tokenizer_config.json", "git blob")])
def test_a_damaged_file_is_removed_and_named(hub: Hub, name: str, kind: str) -> None:
    hub.damaged = {name}
    with pytest.raises(FarmError, match=rf"{name} of org/tiny arrived damaged: {kind}"):
        hubs.download(models.resolve("org/tiny"))
    assert not list(fetch_folder().glob(f"{name}*"))
    hub.damaged = set()
    path = hubs.download(models.resolve("org/tiny"))
    assert (path / name).read_bytes() == hub.files[name]


def test_a_repository_of_pickles_is_refused(hub: Hub) -> None:
    del hub.files[WEIGHTS]
    with pytest.raises(UsageError, match="pickles only"):
        models.resolve("org/tiny")


def test_a_repository_of_gguf_files_says_to_give_a_path(hub: Hub) -> None:
    hub.files = {"tiny-q4.gguf": b"GGUF"}
    with pytest.raises(UsageError, match="download the one you want and give its path"):
        models.resolve("org/tiny")


def test_a_repository_with_nothing_usable_is_refused(hub: Hub) -> None:
    hub.files = {"README.md": b"hello"}
    with pytest.raises(UsageError, match="nothing to convert"):
        models.resolve("org/tiny")


def test_a_model_the_hub_does_not_know_is_refused(hub: Hub) -> None:
    with pytest.raises(UsageError, match="no model org/other on the hub"):
        models.resolve("org/other")


def test_without_a_hub_and_without_a_copy_a_local_model_is_asked_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="give a local folder"):
        models.resolve("org/tiny")


def test_without_a_hub_a_downloaded_model_is_used_as_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    known = models.resolve("org/tiny")
    path = hubs.download(known)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    source = models.resolve("org/tiny")
    assert (source.id, source.path) == (known.id, path)
