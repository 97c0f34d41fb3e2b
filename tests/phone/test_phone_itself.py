"""The tests' phone: what it is made of comes from this machine's own mirror, and it is never skipped in CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.phone import apt, base, phones

MIRROR = "http://mirror.example/debian"


def etc(folder: Path, name: str = "", text: str = "") -> Path:
    """An /etc/apt with one file."""
    (folder / "sources.list.d").mkdir()
    if name:
        (folder / name).write_text(text)
    return folder


def test_the_mirror_and_its_keys_are_those_of_a_deb822_source(tmp_path: Path) -> None:
    security = f"Types: deb\nURIs: {MIRROR}-security\nSuites: bookworm-security\nComponents: main\n"
    off = f"Enabled: no\nTypes: deb\nURIs: {MIRROR}-off\nSuites: bookworm\nComponents: main\n"
    text = f"# ours\nTypes: deb deb-src\nURIs: {MIRROR}\nSuites: bookworm bookworm-updates\nComponents: main contrib\n"
    folder = etc(tmp_path, "sources.list.d/debian.sources", f"{security}\n{off}\n{text}Signed-By: /k.gpg\n")
    found = apt.source(folder, "trixie", "bookworm").splitlines()
    assert sorted(found) == [
        "components: main",
        "signed-by: /k.gpg",
        "suites: trixie",
        "types: deb",
        f"uris: {MIRROR}",
    ]


def test_the_mirror_and_its_keys_are_those_of_a_one_line_source(tmp_path: Path) -> None:
    lines = f"deb-src {MIRROR} bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] {MIRROR} bookworm main contrib # ours\n"
    folder = etc(tmp_path, "sources.list", lines)
    assert sorted(apt.source(folder, "trixie", "bookworm").splitlines()) == [
        "architectures: amd64",
        "components: main",
        "signed-by: /k.gpg",
        "suites: trixie",
        "types: deb",
        f"uris: {MIRROR}",
    ]


def test_without_a_debian_source_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(apt.Unavailable, match="no source of Debian's 'bookworm'"):
        apt.source(etc(tmp_path), "trixie", "bookworm")


def test_where_there_can_be_no_phone_a_test_is_skipped_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "unusable", lambda: "no namespaces here")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no namespaces here"):
        phones.require()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no namespaces here"):
        phones.require()


def test_what_cannot_be_downloaded_leaves_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(*_: object) -> None:
        raise apt.Unavailable("no network")

    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path))
    monkeypatch.setattr(apt, "unpack", none)
    with pytest.raises(apt.Unavailable):
        base.base()
    assert not list((tmp_path / "test-phone").iterdir())


def test_nothing_of_a_phone_is_left_when_its_test_has_failed(tmp_path: Path) -> None:
    class Failed(Exception):
        pass

    processes: dict[int, str] = {}
    with pytest.raises(Failed), phones.phone(tmp_path) as made:
        processes.update(made.processes())
        raise Failed
    assert any("adbd" in line for line in processes.values())
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    assert str(made.root) not in Path("/proc/mounts").read_text()
