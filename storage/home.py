"""Where everything the farm keeps lies: one folder, and the names inside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.home import default_root

__all__ = ["Home", "default_root"]


@dataclass(frozen=True, slots=True)
class Home:
    """The farm's folder. Each folder property makes its folder when it is first asked for.

    Raises FarmError where a folder cannot be made.
    """

    root: Path

    @classmethod
    def default(cls) -> Home:
        return cls(default_root())

    def folder(self, *names: str) -> Path:
        path = self.root.joinpath(*names)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FarmError(f"cannot make the folder {path}: {error.strerror} (set QUANTFARM_HOME)") from error
        return path

    @property
    def cells(self) -> Path:
        """Landed cells, `<cell id>.<attempt>.json`: immutable."""
        return self.folder("cells")

    @property
    def traces(self) -> Path:
        """Raw events, `<cell id>.<attempt>.jsonl`: immutable."""
        return self.folder("traces")

    @property
    def partial_traces(self) -> Path:
        """Traces being written, `<cell id>.<attempt>.<pid>.jsonl`."""
        return self.folder("traces", ".partial")

    @property
    def artifacts(self) -> Path:
        """Artifacts by content: `<sha256>/`."""
        return self.folder("artifacts")

    @property
    def partial_artifacts(self) -> Path:
        """Artifacts being made, `<recipe id>.<pid>`."""
        return self.folder("artifacts", ".partial")

    @property
    def recipes(self) -> Path:
        """Which artifact a recipe made: `<recipe id>.json`."""
        return self.folder("recipes")

    @property
    def db(self) -> Path:
        """The working database, its lock, and the published versions with the pointer CURRENT."""
        return self.folder("db")

    @property
    def sweeps(self) -> Path:
        return self.folder("sweeps")

    @property
    def prefect(self) -> Path:
        return self.folder("prefect")

    @property
    def report(self) -> Path:
        return self.folder("report")
