"""How a person names the way to a device: `ssh://user@host:port`, `ray://NODE`, `adb://SERIAL`, `local`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from quantfarm.errors import UsageError, unknown

#: kind -> what its address looks like, as an example.
FORMS = {
    "local": "local",
    "ssh": "ssh://[user@]host[:port]",
    "ray": "ray://NODE",
    "adb": "adb://SERIAL",
    "fake": "fake",
}
#: Kinds whose device is the machine that the controller runs on, or none at all.
WITHOUT_ADDRESS = ("local", "fake")
# Nothing may begin with "-": a program could take it for an option.
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\$-]{0,62}")
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}|\[[0-9A-Fa-f:]{2,45}\]:[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """`kind` is a name in the agents' table; `address` what its agent understands."""

    kind: str
    address: str

    def __str__(self) -> str:
        return f"{self.kind}://{self.address}" if self.address else self.kind


def parse(url: str) -> Address:
    """Raises UsageError for what is no address of a device."""
    kind, separator, rest = url.strip().partition("://")
    if kind not in FORMS:
        hint = f". A device at a host is ssh://{url}" if not separator and ("@" in url or "." in url) else ""
        error = unknown("way to a device", kind, FORMS.values() if not separator else FORMS)
        raise UsageError(f"{error}{hint}")
    if kind in WITHOUT_ADDRESS:
        if rest:
            raise UsageError(f"'{url}': {kind} has no address; say `{kind}`")
        return Address(kind, "")
    rest = rest.removesuffix("/")
    if not rest:
        raise UsageError(f"'{url}' names no device: it is {FORMS[kind]}")
    return Address(kind, _ssh(url, rest) if kind == "ssh" else _named(url, kind, rest))


def _named(url: str, kind: str, rest: str) -> str:
    if not (NODE if kind == "ray" else SERIAL).fullmatch(rest):
        raise UsageError(
            f"'{url}' is no {FORMS[kind]}: '{rest}' is not what a {'node' if kind == 'ray' else 'phone'} is called"
        )
    return rest


def _ssh(url: str, rest: str) -> str:
    user, at, place = rest.rpartition("@")
    if at and ":" in user:
        raise UsageError(f"an address holds no password (ssh://{place}): put your key on the device, or use an agent")
    if at and not USER.fullmatch(user):
        raise UsageError(f"'{url}': '{user}' is no user's name")
    host, port = _host_and_port(url, place)
    if port and not 0 < int(port) < 65536:
        raise UsageError(f"'{url}': {port} is no port (1 to 65535)")
    return f"{user}{at}{host}{f':{port}' if port else ''}"


def _host_and_port(url: str, place: str) -> tuple[str, str]:
    """The host (an IPv6 address in brackets) and the port's digits, which may be empty."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]/]*)(?::([0-9]{1,5}))?", place)
    host = found[1] if found else ""
    if not found or not (_is_ipv6(host[1:-1]) if host.startswith("[") else HOST.fullmatch(host)):
        raise UsageError(f"'{url}' is no {FORMS['ssh']}: '{place}' is no host (an IPv6 address goes into brackets)")
    return host, found[2] or ""


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
