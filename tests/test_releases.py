"""The versions of a package between two, in order, from the user's own index: a folder, or a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from quantfarm.errors import FarmError, UsageError
from quantfarm.toolchain import environments, releases
from quantfarm.toolchain.releases import Release
from tests import releases as made

PACKAGE = made.PACKAGE


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with made.used(tmp_path / "index", tmp_path):
        yield tmp_path / "index"


def versions(found: tuple[Release, ...]) -> list[str]:
    return [one.version for one in found]


def test_they_come_in_the_order_of_versions_and_without_pre_releases(folder: Path) -> None:
    made.index(folder, ["0.3.10", "0.3.9", "0.3.11rc1", "0.3.9.post1", "0.10.0", "0.3.11.dev3"])
    assert versions(releases.released(PACKAGE)) == ["0.3.9", "0.3.9.post1", "0.3.10", "0.10.0"]


def test_only_source_packages_count(folder: Path) -> None:
    made.index(folder, ["0.3.9"])
    (folder / "llama_cpp_python-0.3.10-py3-none-any.whl").write_bytes(b"")
    assert versions(releases.released(PACKAGE)) == ["0.3.9"]


def test_a_folder_without_it_is_one_message(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(FarmError, match="the package index in use has no source package of it"):
        releases.released(PACKAGE)


class _Index(SimpleHTTPRequestHandler):
    """PEP 691, with one withdrawn release and a date for another."""

    def do_GET(self) -> None:
        names = ("0.3.9", "0.3.10", "0.3.11")
        files = [
            {"filename": f"llama_cpp_python-{name}.tar.gz", "url": f"llama_cpp_python-{name}.tar.gz", "hashes": {}}
            for name in names
        ]
        files[0] |= {"upload-time": "2026-03-04T05:06:07.123Z"}
        files[1] |= {"yanked": "does not start"}
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": PACKAGE, "files": files, "versions": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Index)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}/simple"
        finally:
            served.shutdown()
            thread.join()


def test_an_index_says_what_was_withdrawn_and_when_one_was_released(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", server)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", server)
    folder.mkdir()
    assert releases.released(PACKAGE) == (Release(version="0.3.9", date="2026-03-04"), Release(version="0.3.11"))


def test_without_a_network_that_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    folder.mkdir()
    with pytest.raises(FarmError, match="no network: the package index cannot be reached"):
        releases.released(PACKAGE)


def test_a_variable_counts_before_a_file_and_a_section_of_its_own_before_the_general_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environments.python_of(environments.tools())
    file = tmp_path / "pip.conf"
    file.write_text("[install]\nfind-links = /install\n[global]\nfind-links = /global\nno-index = yes\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    found = environments.pip_settings(python)
    assert found["find-links"] == "/install"
    assert environments.no_index(found) == ["--no-index"]
    monkeypatch.setenv("PIP_FIND_LINKS", "/variable")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    found = environments.pip_settings(python)
    assert found["find-links"] == "/variable"
    assert environments.no_index(found) == []


# ------------------------------------------------------------------ between two

KNOWN = tuple(Release(version=f"0.3.{n}") for n in (29, 30, 31, 33))


@pytest.mark.parametrize(
    ("good", "bad", "path"),
    [
        ("0.3.29", "0.3.31", ["0.3.29", "0.3.30", "0.3.31"]),
        ("0.3.30", "0.3.32", ["0.3.30", "0.3.31", "0.3.32"]),  # the index does not have the bad one
        ("0.3.33", "0.3.30", ["0.3.33", "0.3.31", "0.3.30"]),  # it came with going back
        ("0.3.31", "0.3.33", ["0.3.31", "0.3.33"]),
    ],
)
def test_the_way_from_good_to_bad(good: str, bad: str, path: list[str]) -> None:
    assert versions(releases.between(KNOWN, good, bad, PACKAGE)) == path


@pytest.mark.parametrize(("good", "bad"), [("0.3.30", "0.3.30"), ("0.3.30", "0.3.30.0"), ("first", "0.3.30")])
def test_what_has_nothing_between_it_is_a_mistake(good: str, bad: str) -> None:
    with pytest.raises(UsageError, match="llama-cpp-python"):
        releases.between(KNOWN, good, bad, PACKAGE)
