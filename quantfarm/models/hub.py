"""A model on a Hugging Face hub: its commit, and the files that are taken of it.

Only safetensors, tokenizer and configuration files: never pickles, never code.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, errors

from quantfarm.errors import UsageError
from quantfarm.models import fetch, folder
from quantfarm.models.fetch import RemoteFile, Repository
from quantfarm.models.source import ModelSource
from quantfarm.toolchain import cache
from quantfarm.toolchain.news import Step, Tell, nobody

#: `org/name`, with a branch, tag or commit behind an @ where wanted.
NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?$")


def look_up(wanted: str) -> Repository:
    """Asks the hub. Raises UsageError: no such model, closed to this user, nothing to use in it, hub not reached."""
    name, _, revision = wanted.partition("@")
    with _explained(wanted):
        info = HfApi(endpoint=fetch.endpoint()).model_info(name, revision=revision or None, files_metadata=True)
    files = [_file(given) for given in info.siblings or []]
    _check(name, [file.name for file in files])
    found = Repository(
        name=name,
        commit=str(info.sha),
        files=tuple(file for file in files if _is_taken(file.name)),
        n_params=int(info.safetensors.total) if info.safetensors else 0,
    )
    _remember(found, revision or "main")
    return found


def _file(given: Any) -> RemoteFile:
    sha256 = given.lfs.sha256 if given.lfs else ""
    return RemoteFile(name=given.rfilename, size=given.size or 0, sha256=sha256, blob=given.blob_id or "")


def _is_taken(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in folder.COUNTS)


def _check(name: str, files: list[str]) -> None:
    """Raises UsageError when a repository holds nothing that can be used."""
    if any(fnmatch(file, folder.WEIGHTS) for file in files):
        if "config.json" in files:
            return
        raise UsageError(f"{name} on the hub has no config.json: it is no model that can be converted")
    if any(file.endswith(".gguf") for file in files):
        raise UsageError(f"{name} on the hub holds GGUF files: download the one you want and give its path")
    if any(fnmatch(file, pattern) for file in files for pattern in folder.PICKLES):
        raise UsageError(
            f"{name} on the hub holds its weights as pickles only, which can run code when loaded: "
            f"they are not taken. Look for a safetensors version of the model"
        )
    raise UsageError(f"{name} on the hub holds no {folder.WEIGHTS}: there is nothing to convert")


@contextlib.contextmanager
def _explained(wanted: str) -> Generator[None]:
    """The hub's errors as one message each."""
    try:
        yield
    except errors.GatedRepoError as error:
        raise UsageError(f"{wanted} is gated: accept its terms on the hub and set HF_TOKEN") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UsageError(f"no model {wanted} on the hub (a private one needs HF_TOKEN), and no such file") from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{wanted}: the hub knows no such revision of it") from error
    except Exception as error:  # the HTTP library under huggingface_hub has changed before; so have its errors
        raise UsageError(
            f"the hub cannot be reached for {wanted} ({type(error).__name__}), and it was not downloaded before: "
            f"give a local folder or a .gguf file"
        ) from error


def _note(name: str, revision: str) -> Path:
    return cache.folder("hub", name.replace("/", "--")) / f"{revision.replace('/', '%')}.json"


def _remember(found: Repository, revision: str) -> None:
    """The listing, and which commit the revision was: for a day without the hub."""
    files = [[f.name, f.size, f.sha256, f.blob] for f in found.files]
    content = {"commit": found.commit, "n_params": found.n_params, "files": files}
    cache.write_atomic(_note(found.name, revision), json.dumps(content).encode())


def recall(wanted: str) -> Repository | None:
    """A repository as it was when it was last looked up, if all its files are here."""
    name, _, revision = wanted.partition("@")
    try:
        content = json.loads(_note(name, revision or "main").read_bytes())
    except (OSError, ValueError):
        return None
    files = tuple(RemoteFile(name=n, size=s, sha256=h, blob=b) for n, s, h, b in content["files"])
    found = Repository(name=name, commit=content["commit"], files=files, n_params=content["n_params"])
    return found if not found.missing() else None


def resolve(wanted: str, tell: Tell = nobody) -> ModelSource:
    """A hub model as a source; only its config.json is fetched. Raises UsageError, FarmError."""
    try:
        found = look_up(wanted)
    except UsageError:
        known = recall(wanted)
        if known is None:
            raise
        tell(Step(what="hub", note=f"the hub cannot be asked: {wanted} as it was downloaded before"))
        found = known
    fetch.fetch(found, [file for file in found.missing() if file.name == "config.json"], tell)
    config = folder.read_json(found.path / "config.json")
    return ModelSource(
        name=found.name,
        kind="hub",
        id=f"hub:{found.name}@{found.commit}",
        path=None if found.missing() else found.path,
        format="hf",
        n_params=found.n_params,
        size=sum(file.size for file in found.files if fnmatch(file.name, folder.WEIGHTS)),
        revision=found.commit,
        facts=folder.config_facts(config),
        unconvertible=folder.unconvertible(config),
        notes=folder.notes(found.name, config),
    )


def download(source: ModelSource, tell: Tell = nobody) -> Path:
    """The folder with every file of a hub model. Goes on where it was interrupted. Raises FarmError, UsageError."""
    if source.path is not None:
        return source.path
    found = look_up(f"{source.name}@{source.revision}")
    fetch.fetch(found, found.missing(), tell)
    return found.path
