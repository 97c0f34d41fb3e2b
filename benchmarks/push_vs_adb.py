"""How fast a file gets onto a phone: our push ÷ `adb push`, in ABBA pairs; goal: at least 0.9 of its speed.

    python benchmarks/push_vs_adb.py SERIAL [--mib 256] [--pairs 10] [--json FILE]

`sent` is the bytes' way alone. `sent_and_checked` has the sha256 computed on the phone too, as each push of ours
does; beside `adb push` that is `sha256sum` there. What is there already must not be sent again.
Without a phone: `python -m tests.phone.phones` starts the tests' one (as root). It has no cable, so this is
the most that either way can do, and its sha256sum does without the processor's instructions for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import abba
from pushing import MIB, known, present_s, rates

from agents import Progress
from agents.adb import FOLDER, AdbAgent, AdbTransport
from agents.android import Client, find_client
from agents.shell_files import digest_of
from quantfarm.nouns import DeviceProfile, parameters

PLACE = f"{FOLDER}/benchmark"
GOALS = {"sent_mib_s": abba.at_least(0.9), "sent_and_checked_mib_s": abba.at_least(0.9)}


class TimedTransport(AdbTransport):
    """Knows how long the bytes took that it sent last."""

    sent_s = 0.0

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        began = time.perf_counter()
        super().send(file, to, offset, on_progress)
        TimedTransport.sent_s = time.perf_counter() - began


class TimedAgent(AdbAgent):
    def connect(self) -> AdbTransport:
        there = super().connect()
        return TimedTransport(there.client, there.serial)


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return time.perf_counter() - began


def by_adb(client: Client, serial: str, file: Path) -> abba.Figures:
    timed(client.to(serial, "shell", f"rm -rf {PLACE}; mkdir -p {PLACE}"))
    sent = timed(client.to(serial, "push", str(file), f"{PLACE}/file"))
    checked = sent + timed(client.to(serial, "shell", f"sha256sum {PLACE}/file"))
    return rates(file, sent, checked)


def by_us(agent: TimedAgent, client: Client, serial: str, file: Path) -> abba.Figures:
    timed(client.to(serial, "shell", f"rm -rf {PLACE}; mkdir -p {PLACE}"))
    began = time.perf_counter()
    agent.push(file, known(file))
    return rates(file, TimedTransport.sent_s, time.perf_counter() - began)


def main() -> None:
    parser = abba.arguments("our push ÷ adb push")
    parser.add_argument("serial", help="a phone of `adb devices`")
    parser.add_argument("--mib", type=int, default=256)
    given = parser.parse_args()
    client = Client(find_client())
    profile = DeviceProfile(name="phone", kind="adb", address=given.serial, options=parameters(folder=PLACE))
    agent = TimedAgent(profile)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.gguf"
        file.write_bytes(os.urandom(given.mib * MIB))
        file.with_suffix(".sha256").write_text(digest_of(file))
        agent.transport()
        try:
            runs = abba.alternate(
                lambda: by_adb(client, given.serial, file),
                lambda: by_us(agent, client, given.serial, file),
                given.pairs,
            )
            again = present_s(agent, file)
        finally:
            timed(client.to(given.serial, "shell", f"rm -rf {PLACE}"))
    settings = {"mib": given.mib, "present_s": again, "adb": client.ask("version").split("\n")[0]}
    abba.report("push", ("adb push", "ours"), runs, GOALS, settings, given.json)
    print(f"a push of what is there: {again:.3f} s, nothing sent")


if __name__ == "__main__":
    main()
