"""An environment that cannot be made: which requirement, why, and what to do, in one message that leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, environments, unresolved
from tests.farms import free_port


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's tools (uv), and environments of this test's own."""
    uv, settings = (
        environments.program("uv", "uv>=0.9"),
        environments.pip_settings(environments.python_of(environments.tools())),
    )
    monkeypatch.setattr(environments, "program", lambda *_: uv)
    monkeypatch.setattr(environments, "tools", lambda *_: tmp_path)
    monkeypatch.setattr(environments, "pip_settings", lambda _: settings)
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))


def made(*requirements: str) -> str:
    """Why it could not be."""
    with pytest.raises(FarmError) as error:
        environments.environment("lab", requirements)
    assert not [path for path in cache.folder("environments").iterdir() if path.suffix != ".lock"]
    said = str(error.value)
    assert said.startswith("the environment for lab cannot be made: ")
    assert "\n" not in said
    return said


def test_a_version_that_nobody_has_is_named_with_what_there_is() -> None:
    said = made("numpy>=2.0", "idna>=9999")
    assert "idna>=9999 cannot be had" in said
    assert "only idna<=" in said
    assert "numpy" not in said
    assert "find-links" in said


def test_two_that_contradict_each_other_are_both_named() -> None:
    assert "idna>=3, idna<3 cannot be had" in made("idna>=3", "idna<3")


def test_an_index_that_cannot_be_reached_is_said_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"127.0.0.1:{free_port()}"
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(environments, "pip_settings", lambda _: {"index-url": f"http://{place}/simple"})
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    said = made("idna>=3")
    assert "no network: the package index cannot be reached" in said
    assert place in said
    assert "it needs idna>=3" in said


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because farm-lab was not found in the\n"
            "      package registry and you require farm_lab>=1, we can conclude that your\n      "
            "requirements are unsatisfiable.",
            "farm-lab>=1 cannot be had: farm-lab was not found in the package registry and you require farm_lab>=1",
        ),
        (
            "Because lab==1 depends on other>=5 and only other<=3 is available, we can conclude that lab==1 cannot be "
            "used. And because you require lab, we can conclude that your requirements are unsatisfiable.",
            "lab==1 depends on other>=5 and only other<=3 is available",
        ),
        ("  × Failed to build `other==1.0`\nerror: command 'cc' failed: No CMAKE_CXX_COMPILER could be found", "other"),
        ("ERROR: No matching distribution found for farm-lab>=1", "farm-lab>=1 cannot be had"),
        ("", "farm-lab>=1, lab: it said nothing"),
    ],
)
def test_what_uv_and_pip_say_is_understood(said: str, found: str) -> None:
    assert found in unresolved.why(["farm-lab>=1", "lab"], said)


def test_an_address_is_told_without_its_password() -> None:
    said = unresolved.why(["lab"], "Failed to fetch: https://me:secret@index.example/simple/lab/\ntcp connect error")
    assert "index.example" in said
    assert "secret" not in said
