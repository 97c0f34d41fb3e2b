"""The adb client: where it is, which phones it sees, and in what state."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agents import Refused, Unreachable
from agents.addresses import SERIAL
from agents.shell_run import clean, last_line
from quantfarm.errors import FarmError, UsageError

#: How long a question to the adb server may take; it is started with the first one.
ANSWER_S = 30.0
#: How long a phone may take from being connected to being ready.
READY_S = 10.0
#: A serial that is an address: connected to by us, where all others are found by the server.
NETWORK = re.compile(r"[A-Za-z0-9_.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]{2,45}\]:[0-9]{1,5}")
LISTED = re.compile(r"(\S+)\s+(no permissions|\S+)(.*)")
MODEL = re.compile(r"\smodel:(\S+)")
#: Where Android Studio and its command-line tools put the client, below the user's home.
SDKS = ("Android/Sdk", "Library/Android/sdk", "AppData/Local/Android/Sdk")


class Listed(NamedTuple):
    """A phone as `adb devices -l` lists it; `state` is "device" for one that can be used."""

    serial: str
    model: str
    state: str


def parse_devices(text: str) -> list[Listed]:
    """The lines of `adb devices -l`; the server's own notes (`* daemon started …`) are no phones."""
    found: list[Listed] = []
    for line in text.splitlines():
        listed = LISTED.fullmatch(line.strip())
        if not listed or line.startswith(("*", "List of devices", "adb server")):
            continue
        model = MODEL.search(listed[3])
        found.append(Listed(clean(listed[1]), clean(model[1]).replace("_", " ") if model else "", clean(listed[2])))
    return found


def find_client(given: str = "") -> str:
    """The adb client: as given, on PATH, or in an Android SDK. Raises UsageError."""
    if given:
        found = shutil.which(given)
        if not found:
            raise UsageError(f"option `adb`: {given} is no program; leave it out to use the adb client on PATH")
        return found
    roots = [os.environ.get(name, "") for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    sdks = [*(Path(root) for root in roots if root), *(Path.home() / sdk for sdk in SDKS)]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *(str(sdk / "platform-tools") for sdk in sdks)])
    found = shutil.which("adb", path=path)
    if not found:
        raise UsageError(
            "no adb client here: it is on no PATH and in no Android SDK. Install it (apt-get install adb, "
            "brew install android-platform-tools), or set ANDROID_HOME to your SDK"
        )
    return found


@dataclass(frozen=True, slots=True)
class Client:
    """The adb client as a program. The server that it talks to is the environment's (ANDROID_ADB_SERVER_PORT)."""

    program: str

    def ask(self, *words: str) -> str:
        """What it prints. Raises FarmError with its own words where it failed or took too long."""
        try:
            done = subprocess.run(
                [self.program, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FarmError(f"adb {words[0]}: {error}") from error
        told = done.stdout.decode(errors="replace")
        if done.returncode:
            raise FarmError(f"adb {words[0]}: {last_line(done.stderr.decode(errors='replace') or told)}")
        return told

    def devices(self) -> list[Listed]:
        return parse_devices(self.ask("devices", "-l"))

    def is_ready(self, serial: str) -> bool:
        try:
            return self.ask("-s", serial, "get-state").strip() == "device"
        except FarmError:
            return False

    def to(self, serial: str, *words: str) -> list[str]:
        """The command line that has one phone do something."""
        return [self.program, "-s", serial, *words]


def discover() -> list[tuple[str, str, str]]:
    """Serial, model and state of each phone that the adb server sees. Raises UsageError (no client), FarmError."""
    return [(one.serial, one.model, one.state) for one in Client(find_client()).devices()]


def chosen(client: Client, address: str) -> str:
    """The serial of a profile's address; without one, that of the only phone there is.

    Raises UsageError, Unreachable.
    """
    serial = address.removeprefix("adb://").removesuffix("/")
    if serial and not SERIAL.fullmatch(serial):
        raise UsageError(f"'{address}' is no address of a phone: it is adb://SERIAL, with a serial of `adb devices`")
    if serial:
        return serial
    there = _ask_devices(client)
    if len(there) == 1:
        return there[0].serial
    if there:
        raise UsageError(f"several phones are there: say which one as adb://SERIAL. {_told(there)}")
    raise Unreachable("no phone is there: is one plugged in, with USB debugging on? `adb devices` lists none")


def make_ready(client: Client, serial: str) -> None:
    """Connects to a phone on the network where it is not; returns once it can be used. Raises Unreachable, Refused."""
    until = time.monotonic() + READY_S
    state = _state(client, serial)
    if state != "device" and NETWORK.fullmatch(serial):
        _connect(client, serial, state)
        state = _state(client, serial)
    # A phone that was just plugged in or connected to is `offline` or `authorizing` for a moment.
    while state in ("offline", "authorizing", "connecting") and time.monotonic() < until:
        time.sleep(0.1)
        state = _state(client, serial)
    if state != "device":
        raise _not_ready(client, serial, state)


def _connect(client: Client, serial: str, state: str) -> None:
    """The server goes on calling a connection that broke its own, and so would not make a new one: it is told."""
    if state not in ("", "unauthorized", "authorizing"):
        _quietly(client, "disconnect", serial)
    _quietly(client, "connect", serial)


def _quietly(client: Client, *words: str) -> None:
    """What came of it is in the state afterwards: adb says "failed to connect" with status 0."""
    try:
        client.ask(*words)
    except FarmError:
        return


def _state(client: Client, serial: str) -> str:
    return next((listed.state for listed in _ask_devices(client) if listed.serial == serial), "")


def _ask_devices(client: Client) -> list[Listed]:
    try:
        return client.devices()
    except FarmError as error:
        raise Unreachable(f"the adb server does not answer: {error}") from error


def _not_ready(client: Client, serial: str, state: str) -> Unreachable | Refused:
    there = _ask_devices(client)
    match state:
        case "":
            hint = "on, and in this network?" if NETWORK.fullmatch(serial) else "plugged in, with USB debugging on?"
            return Unreachable(f"phone {serial} is not there: {hint} {_told(there)}")
        case "unauthorized" | "authorizing":
            return Refused(
                f"phone {serial} has not allowed this computer: unlock it and answer 'Allow USB debugging?' with "
                "Allow (no question? plug it in again, or revoke its USB debugging authorisations)"
            )
        case "no permissions":
            return Refused(
                f"this user may not open phone {serial}: its udev rule is missing, or its group (plugdev) is not "
                "yours. Install android-sdk-platform-tools-common (or android-udev), then plug it in again"
            )
        case "offline":
            return Unreachable(f"phone {serial} is offline: it does not answer. Plug it in again, or restart it")
        case _:
            return Unreachable(f"phone {serial} is in state '{state}': restart it into Android")


def _told(there: Sequence[Listed]) -> str:
    listed = ", ".join(f"{one.serial} ({', '.join(filter(None, (one.model, one.state)))})" for one in there)
    return f"adb devices says: {listed or 'none'}"
