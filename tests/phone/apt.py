"""Debian packages of another suite, from this machine's own mirror; the system's apt is left as it is."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ETC = Path("/etc/apt")

#: Read after the machine's own settings (its proxies and certificates stay): other sources, other lists, no hooks.
CONFIGURATION = """\
Dir::Etc::sourcelist "{folder}/phone.sources";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferences "{folder}/none/preferences";
Dir::Etc::preferencesparts "{folder}/none";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Unavailable(Exception):
    """The packages cannot be had here; the message says why."""


def unpack(packages: Sequence[str], suite: str, into: Path) -> None:
    """Downloads packages of a suite and unpacks them into one folder. Raises Unavailable."""
    with tempfile.TemporaryDirectory(prefix="phone-apt-") as scratch:
        folder = Path(scratch)
        for name in ("none", "lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "phone.sources").write_text(source(ETC, suite))
        (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder))
        _apt(folder, "update", "-q")
        _apt(folder, "download", "-q", *packages)
        for deb in sorted((folder / "debs").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, into], check=True)


def _apt(folder: Path, *command: str) -> None:
    whole = ["apt-get", "-c", str(folder / "apt.conf"), *command]
    done = subprocess.run(whole, cwd=folder / "debs", capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Unavailable(f"apt-get {command[0]}: {(done.stderr or done.stdout)[-1000:]}")


def source(etc: Path, suite: str, codename: str | None = None) -> str:
    """A deb822 source of a suite, at the mirror and with the keyring that this machine's apt uses.

    Raises Unavailable.
    """
    own = codename or platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    for stanza in _stanzas(etc):
        if own in stanza.get("suites", "").split() and "main" in stanza.get("components", "").split():
            found = {**stanza, "types": "deb", "suites": suite, "components": "main"}
            return "".join(f"{key}: {value}\n" for key, value in found.items())
    raise Unavailable(f"no source of Debian's '{own}' in {etc}: the phone is made of Debian packages")


def _stanzas(etc: Path) -> Iterator[dict[str, str]]:
    """All sources in use, as deb822 fields with names in lower case."""
    for path in sorted([*etc.glob("sources.list.d/*.sources")]):
        for text in path.read_text().split("\n\n"):
            stanza = _fields(text)
            if "deb" in stanza.get("types", "").split() and stanza.get("enabled", "yes") != "no":
                yield stanza
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else ():
            if line.startswith("deb "):
                yield _one_line(line)


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():  # a field goes on: an embedded key
            found[last] += "\n" + line
            continue
        key, _, value = line.partition(":")
        last = key.strip().lower()
        found[last] = value.strip()
    return found


def _one_line(line: str) -> dict[str, str]:
    """`deb [signed-by=… arch=…] URI SUITE COMPONENT…` as deb822 fields."""
    words = line.removeprefix("deb ").split("#")[0].strip()
    found: dict[str, str] = {}
    if words.startswith("["):
        options, _, words = words[1:].partition("]")
        names = {"arch": "architectures", "lang": "languages", "target": "targets"}
        for option in options.split():
            key, _, value = option.partition("=")
            found[names.get(key.lower(), key.lower())] = value.replace(",", " ")
    uri, suite, *components = words.split()
    return {**found, "types": "deb", "uris": uri, "suites": suite, "components": " ".join(components)}
