"""The reference corpus: source text that every CPython carries, split by module.

The reference model is trained on one part and judged on the other, so that a
perplexity can be measured anywhere with no download. The text differs between
Python versions: the sha256 of what was scored is part of every quality result.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

#: Parts that distributions split off, that hold tables, or that are not the library itself.
LEFT_OUT = frozenset(
    {
        *("test", "tests", "idle_test", "_bundled", "__phello__", "__pycache__", "site-packages", "dist-packages"),
        *("idlelib", "tkinter", "turtledemo", "lib2to3", "distutils", "ensurepip", "encodings"),
    }
)
#: Documentation text: for training only, it is too unlike code to judge code by.
TRAIN_ONLY = frozenset({"pydoc_data.topics"})
#: One module in this many is held out.
HELD_OUT_SHARE = 16


def is_held_out(module: str) -> bool:
    """Whether a module belongs to the held-out part: decided by its name alone."""
    if module in TRAIN_ONLY:
        return False
    return hashlib.sha256(module.encode()).digest()[0] % HELD_OUT_SHARE == 0


def modules(root: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The (dotted name, path) of every library module that counts, in order of name."""
    root = root or Path(sysconfig.get_paths()["stdlib"])
    found = {".".join(path.relative_to(root).with_suffix("").parts): path for path in _sources(root)}
    yield from sorted(found.items())


def _sources(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not _left_out(name)]
        yield from (Path(folder, name) for name in files if name.endswith(".py") and not _left_out(name))


def _left_out(name: str) -> bool:
    return name.removesuffix(".py") in LEFT_OUT or name.startswith(("config-", "_sysconfigdata"))


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def documents(held_out: bool, root: Path | None = None) -> list[str]:
    """The module texts of one part, in order of module name; empty files are left out."""
    texts = (_text(path) for name, path in modules(root) if is_held_out(name) == held_out)
    return [text for text in texts if text]


@functools.cache
def held_out_text(root: Path | None = None) -> bytes:
    """The held-out part as one UTF-8 text: what perplexity is measured on by default."""
    return "\n".join(documents(held_out=True, root=root)).encode()
