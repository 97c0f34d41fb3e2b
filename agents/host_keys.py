"""Host keys: by which a device is known again. Never added but by `remember`, after somebody has looked.

Read are the user's own known_hosts and the farm's (option `known_hosts` of a profile, else the environment's
QUANTFARM_KNOWN_HOSTS, else `known_hosts` in the farm's folder); written is the farm's alone.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from agents import Refused
from quantfarm.home import default_root
from quantfarm.nouns import DeviceProfile


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A key that a host showed: its host as known_hosts names it, its type, and itself in base64."""

    name: str
    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def fetch(profile: DeviceProfile) -> HostKey:
    """The key that a device shows now; nobody is logged in. Raises Unreachable, Refused, UsageError."""
    from agents import ssh_config, ssh_login  # noqa: PLC0415 - they check keys with this module

    with ssh_login.greeted(ssh_config.target(profile)) as (_, key):
        return key


def accepted(profile: DeviceProfile, key: HostKey) -> bool:
    """Whether the key is known already. Raises Refused where another is known in its place, or it is revoked."""
    from agents import ssh_config  # noqa: PLC0415

    files = ssh_config.target(profile).known_hosts
    if _known(key, files):
        return True
    return False if not entries(key.name, files) else check(key, files, profile.name) is None


def remember(key: HostKey, file: Path) -> None:
    """Writes the key into the farm's file, in place of what it had for that host. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in lines if line.split(" ")[0] != key.name]
    kept.append(f"{key.name} {key.kind} {key.base64}")
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as made:
        made.write("\n".join(kept) + "\n")
    Path(made.name).replace(file)


def check(key: HostKey, files: Iterable[Path], device: str) -> None:
    """Raises Refused for a key that is not the one known."""
    files = tuple(files)
    if _known(key, files):
        return
    others = entries(key.name, files)
    if not others:
        raise Refused(
            f"the host key of {device} ({key.name}) is not known: {key.kind} {key.fingerprint}. If that is its "
            "fingerprint (on the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), accept it: "
            f"quantfarm device add … --host-key {key.fingerprint}"
        )
    known = ", ".join(sorted({f"{other.fingerprint} ({other.kind}) in {file}" for file, other in others}))
    raise Refused(
        f"the host key of {device} ({key.name}) has CHANGED: it shows {key.fingerprint} ({key.kind}), "
        f"known is {known}. Somebody may be in between, or the device was set up anew. "
        "It is not used until you have looked: then take the old line out, and accept the new one with "
        f"quantfarm device add … --host-key {key.fingerprint}"
    )


def _known(key: HostKey, files: Iterable[Path]) -> bool:
    """Raises Refused for a revoked key."""
    found = False
    for file in files:
        for marker, names, kind, text in _lines(file):
            if text != key.base64 or kind != key.kind or not _names(names, key.name):
                continue
            if marker == "@revoked":
                raise Refused(f"the host key {key.fingerprint} of {key.name} is revoked in {file}")
            found = found or not marker
    return found


def entries(name: str, files: Iterable[Path]) -> list[tuple[Path, HostKey]]:
    """All keys known for a host."""
    return [
        (file, HostKey(name=name, kind=kind, base64=text))
        for file in files
        for marker, names, kind, text in _lines(file)
        if not marker and _names(names, name)
    ]


def kinds(name: str, files: Iterable[Path]) -> list[str]:
    """The types of key known for a host: to be asked for first, so that a known host shows a known key."""
    return list(dict.fromkeys(key.kind for _, key in entries(name, files)))


def of(name: str, key: paramiko.PKey) -> HostKey:
    return HostKey(name=name, kind=key.get_name(), base64=key.get_base64())


def _lines(file: Path) -> Iterator[tuple[str, str, str, str]]:
    """(marker, names, type, key) of each line that has them."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) >= 3 and not words[0].startswith("#"):
            with contextlib.suppress(ValueError):
                base64.b64decode(words[2], validate=True)
                yield marker, words[0], words[1], words[2]


def _names(names: str, name: str) -> bool:
    """Whether a line's first column is of a host: plain, hashed, with patterns, with exceptions."""
    found = False
    for one in names.split(","):
        if one.startswith("|1|"):
            found = found or _hashed(one, name)
        elif one.startswith("!") and fnmatch.fnmatchcase(name, _pattern(one[1:])):
            return False
        else:
            found = found or fnmatch.fnmatchcase(name, _pattern(one))
    return found


def _pattern(text: str) -> str:
    """Brackets are part of a name here: `[host]:2222`."""
    return text.replace("[", "[[]")


def _hashed(text: str, name: str) -> bool:
    try:
        _, _, salt, digest = text.split("|")
        wanted = hmac.new(base64.b64decode(salt), name.encode(), "sha1").digest()
        return hmac.compare_digest(wanted, base64.b64decode(digest))
    except ValueError:
        return False


def farms_file(profile: DeviceProfile) -> Path:
    """Where the farm keeps the keys that were accepted."""
    given = dict(profile.options).get("known_hosts") or os.environ.get("QUANTFARM_KNOWN_HOSTS")
    return Path(str(given)).expanduser() if given else default_root() / "known_hosts"
