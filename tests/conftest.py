"""Fixtures shared by all tests: a home of its own for each, the reference model, the test data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("QUANTFARM_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty QUANTFARM_HOME, with device leases of its own too."""
    folder = tmp_path / "home"
    monkeypatch.setenv("QUANTFARM_HOME", str(folder))
    monkeypatch.setenv("QUANTFARM_LEASES", str(tmp_path / "leases"))
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference model's F16 GGUF."""
    return ROOT / "reference_model" / "reference-F16.gguf"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test data that lies beside the project; a test that needs it skips without it."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set QUANTFARM_TEST_DATA)")
    return DATA
