"""The made-up store of the benchmarks, small, for tests of what reads a store."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.home import Home

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def store(folder: Path, **size: int) -> Home:
    """A published home under `folder`; `size`: what differs from the small one's."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    import big_store  # pyright: ignore[reportMissingImports]

    made: Any = big_store
    home = Home(folder / "made-up")
    made.make(home, replace(made.SMALL, **size))
    return home
