"""The store of artifacts: files by the sha256 of their content, found by the recipe that made them.

artifacts/<sha256>/model.gguf       adopted: moved here
artifacts/<sha256>/model/           the same, of a format that is a folder of files
artifacts/<sha256>/reference.json   referred to: a user's own file or folder, used where it lies
artifacts/<sha256>/artifact.json    what it is
recipes/<recipe id>.json            the artifact that the recipe made: written last, the mark of a whole one
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantfarm import codec
from quantfarm.errors import FarmError
from quantfarm.nouns import Artifact, Recipe
from storage import atomic, contents, processes
from storage.hashes import Hashes, Seen, sha256_of
from storage.home import Home

MODEL, FOLDER = "model.gguf", "model"


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the store that is not what it should be."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What the maker of a file says of it."""

    bits_per_weight: float
    types: Mapping[str, int]
    fallbacks: Sequence[str]
    facts: Mapping[str, Any]

    def artifact(self, recipe: Recipe, sha256: str, size: int) -> Artifact:
        return Artifact(
            sha256=sha256,
            size=size,
            recipe=recipe,
            bits_per_weight=self.bits_per_weight,
            types=dict(self.types),
            fallbacks=tuple(self.fallbacks),
            facts=dict(self.facts),
        )


class Artifacts:
    """Content-addressed files. A kill at any moment leaves nothing that `find` would take for whole."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.hashes = Hashes(home)

    def find(self, recipe: Recipe) -> Artifact | None:
        """The artifact of a recipe, if its file is whole: its size is checked here, its content by `verify`.

        A referred file that looks changed is hashed again; None when its content is another.
        """
        try:
            artifact = codec.load_artifact(self._recipe_path(recipe).read_bytes())
            file = self.path(artifact)
            whole = contents.size(file) == artifact.size and self._same_content(artifact, file)
        except (OSError, ValueError, FarmError):
            return None
        return artifact if whole and artifact.recipe == recipe else None

    def path(self, artifact: Artifact) -> Path:
        """The file itself. Raises FarmError when the store has no such artifact."""
        if owned := self._owned(artifact.sha256):
            return owned
        if (seen := self._reference(artifact.sha256)) and Path(seen.path).exists():
            return Path(seen.path)
        where = seen.path if seen else self._folder(artifact.sha256)
        raise FarmError(f"the file of artifact {artifact.sha256[:16]} ({artifact.recipe.quant}) is gone: {where}")

    def files(self, artifact: Artifact, name: str = "model") -> dict[str, Path]:
        """As a command knows it: `model`, or `model/<file>` for each file of a folder. Raises FarmError."""
        return contents.named(self.path(artifact), name)

    def partial(self, recipe: Recipe, *, folder: bool = False) -> Path:
        """Where to write an artifact that is being made, on the store's file system; left-overs are swept up."""
        place = self.home.partial_artifacts
        for left in place.iterdir():
            if not processes.alive(left.stem.rpartition(".")[2]):
                contents.remove(left)
        return place / f"{recipe.id}.{processes.mark()}.{'folder' if folder else 'gguf'}"

    def adopt(
        self,
        file: Path,
        recipe: Recipe,
        *,
        bits_per_weight: float = 0.0,
        types: Mapping[str, int] | None = None,
        fallbacks: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Moves a file or a folder into the store. Raises FarmError when there is no room."""
        known = _Known(bits_per_weight, types or {}, fallbacks, facts or {})
        artifact = known.artifact(recipe, contents.sha256(file), contents.size(file))
        place = self.home.folder("artifacts", artifact.sha256)
        if file.is_dir():
            _move_folder(file, place / FOLDER)
        else:
            _move(file, place / MODEL)
        self._write_down(artifact)
        return artifact

    def refer(
        self,
        file: Path,
        recipe: Recipe,
        *,
        bits_per_weight: float = 0.0,
        types: Mapping[str, int] | None = None,
        fallbacks: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Notes a user's own file or folder as an artifact without copying it; it is hashed unless it is known
        unchanged."""
        known = _Known(bits_per_weight, types or {}, fallbacks, facts or {})
        artifact = known.artifact(recipe, contents.sha256(file, self.hashes.sha256), contents.size(file))
        self._write_reference(artifact.sha256, file)
        self._write_down(artifact)
        return artifact

    def all(self) -> list[Artifact]:
        """Every artifact by its recipe; unreadable ones are `verify`'s business."""
        found: list[Artifact] = []
        for path in sorted(self.home.recipes.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                found.append(codec.load_artifact(path.read_bytes()))
        return found

    def verify(self) -> list[Problem]:
        """Reads every file again: what is missing, unreadable, cut short or changed."""
        checked: dict[str, str] = {}
        problems: list[Problem] = []
        for path in sorted(self.home.recipes.glob("*.json")):
            try:
                artifact = codec.load_artifact(path.read_bytes())
            except (OSError, ValueError) as error:
                problems.append(Problem(f"recipes/{path.name}", f"unreadable: {error}"))
                continue
            if path.stem != artifact.recipe.id:
                problems.append(Problem(f"recipes/{path.name}", f"holds another recipe, {artifact.recipe.id}"))
            if artifact.sha256 not in checked:
                checked[artifact.sha256] = self._trouble(artifact)
            if why := checked[artifact.sha256]:
                problems.append(Problem(f"{artifact.recipe.quant} {artifact.sha256[:16]}", why))
        return problems

    def _trouble(self, artifact: Artifact) -> str:
        try:
            file = self.path(artifact)
            if (size := contents.size(file)) != artifact.size:
                return f"{file} has {size} bytes, {artifact.size} were stored"
            if (sha256 := contents.sha256(file)) != artifact.sha256:
                return f"{file} has changed: sha256 {sha256[:16]}…, {artifact.sha256[:16]}… was stored"
        except (OSError, FarmError) as error:
            return str(error)
        return ""

    def _same_content(self, artifact: Artifact, file: Path) -> bool:
        """Owned files are taken at their word; a user's file is hashed again when it looks changed."""
        if file == self._owned(artifact.sha256):
            return True
        if file.is_dir():  # its own time stamp says nothing of its files'; theirs are remembered
            return contents.sha256(file, self.hashes.sha256) == artifact.sha256
        if self._reference(artifact.sha256) == Seen.of(file):
            return True
        if sha256_of(file) != artifact.sha256:
            return False
        self._write_reference(artifact.sha256, file)
        return True

    def _folder(self, sha256: str) -> Path:
        return self.home.artifacts / sha256

    def _owned(self, sha256: str) -> Path | None:
        return next((path for name in (MODEL, FOLDER) if (path := self._folder(sha256) / name).exists()), None)

    def _recipe_path(self, recipe: Recipe) -> Path:
        return self.home.recipes / f"{recipe.id}.json"

    def _reference(self, sha256: str) -> Seen | None:
        try:
            return Seen(**json.loads((self._folder(sha256) / "reference.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _write_reference(self, sha256: str, file: Path) -> None:
        folder = self.home.folder("artifacts", sha256)
        atomic.write_atomic(folder / "reference.json", json.dumps(asdict(Seen.of(file))).encode())

    def _write_down(self, artifact: Artifact) -> None:
        """What it is beside the file, then the recipe's entry: that one last."""
        text = codec.dump_artifact(artifact)
        atomic.write_atomic(self._folder(artifact.sha256) / "artifact.json", text)
        atomic.write_atomic(self._recipe_path(artifact.recipe), text)


def _move(file: Path, target: Path) -> None:
    """By rename, or by a copy under a temporary name where the file lies on another file system."""
    if file.stat().st_dev == target.parent.stat().st_dev:
        atomic.replace(file, target)
    else:
        temp = atomic.temporary(target)
        try:
            with atomic.room_in(target.parent):
                shutil.copyfile(file, temp)
            atomic.replace(temp, target)
        finally:
            temp.unlink(missing_ok=True)
        file.unlink()
    target.chmod(0o444)


def _move_folder(folder: Path, target: Path) -> None:
    """By rename: it was made on the store's file system. What is there already is the same."""
    if target.exists():
        shutil.rmtree(folder)
        return
    contents.protect(folder)
    with atomic.room_in(target.parent):
        contents.fsync(folder)
        folder.rename(target)
        atomic.fsync_folder(target.parent)
