"""How runtimes serve chats: the kind `serve`, what its runner is asked, and the files that it needs besides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quantfarm.nouns import Cell
from quantfarm.quantizers import folder_of

KIND = "serve"
#: Formats of which a server loads one model in place of another; of others it serves one.
SEVERAL = frozenset({"gguf"})
#: Files of runners/chat, by name; each is pushed and loaded by its path.
PARTS = ("request", "http")


def files(cell: Cell) -> dict[str, Path]:
    """The server's own, where a cell serves."""
    if cell.workload.kind != KIND:
        return {}
    folder = Path(__file__).resolve().parents[2] / "runners" / "chat"
    return {f"chat/{name}": folder / f"{name}.py" for name in PARTS}


def asked(cell: Cell, files: Mapping[str, str]) -> dict[str, object]:
    """What a request to serve has besides: `models/<name>` of the files are its models, under their names."""
    if cell.workload.kind != KIND:
        return {}
    return {"chat": folder_of(files, "chat"), "models": _models(folder_of(files, "models"))}


def _models(paths: Mapping[str, str]) -> dict[str, object]:
    """name -> path; of `<name>/<file>` name -> {file: path}."""
    found: dict[str, object] = {}
    folders: dict[str, dict[str, str]] = {}
    for key, path in paths.items():
        name, slash, file = key.partition("/")
        if slash:
            found[name] = folders.setdefault(name, {})
            folders[name][file] = path
        else:
            found[name] = path
    return found
