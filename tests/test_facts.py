"""What a device is, from one shell text and a pure reading of its answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents import machine
from quantfarm import facts
from quantfarm.marked import WORD
from quantfarm.nouns import DeviceProfile

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "mksh": ["mksh"], "busybox": ["busybox", "sh"]}


def ask(*shell: str) -> dict[str, Any]:
    done = subprocess.run([*shell, "-c", facts.COMMAND], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return facts.parse(done.stdout.splitlines())


def said(**sections: str) -> list[str]:
    """An answer with these sections, as a device gives it."""
    lines: list[str] = []
    for name, text in sections.items():
        lines += [f"{WORD} {name.replace('_', '-') if name != 'sw_vers' else name}", *text.splitlines()]
    return [*lines, f"{WORD} ."]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gives_the_same_facts_as_this_machine_has_of_itself(shell: str) -> None:
    command = SHELLS[shell]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} here")
    found = ask(*command)
    assert {name: found[name] for name in machine.facts()} == machine.facts()
    assert set(found["sensors"]) >= {"proc_memory", "proc_cpu"}
    assert found["tools"]["python3"]["version"].startswith("3.")
    assert found["tools"]["storage"] == {"path": str(Path.cwd()), "free_mib": found["tools"]["storage"]["free_mib"]}
    DeviceProfile(name="here", **facts.profile_fields(found))


def recorded(data: Path, phone: str) -> list[str]:
    """A phone's answer as COMMAND would bring it, from its recorded files and properties."""
    folder = data / "recordings" / "android"
    files = json.loads((folder / f"{phone}.json").read_text())["files"]
    siblings = [text for path, text in files.items() if path.endswith("thread_siblings_list")]
    return said(
        uname="Linux\n5.15.110-android14\naarch64",
        getprop=(folder / f"{phone}.getprop.txt").read_text(),
        cpuinfo=files["/proc/cpuinfo"],
        topology="".join(siblings),
        meminfo="MemTotal:        7617880 kB",
    )


def test_a_pixel_8(data: Path) -> None:
    assert facts.profile_fields(facts.parse(recorded(data, "pixel-8"))) == {
        "platform": "android-arm64",
        "os": "Android 14 (UQ1A.240105.004), kernel 5.15.110-android14",
        "chip": "zuma",  # it has no ro.soc.model: the board's name is the best that it says
        "cores": 9,
        "memory_mib": 7439,
        "accelerators": (),
        "sensors": (),
        "missing": (),
    }


def test_a_pixel_2_xl_names_its_chip_in_cpuinfo(data: Path) -> None:
    found = facts.parse(recorded(data, "pixel-2-xl"))
    assert found["chip"] == "Qualcomm Technologies, Inc MSM8998"
    assert found["cores"] == 8
    assert found["os"].startswith("Android 8.1.0 (")


def test_a_newer_phone_names_its_soc_and_a_malformed_line_is_passed_over(data: Path) -> None:
    text = (data / "recordings" / "android" / "getprop-pixel10pro-short.txt").read_text()
    found = facts.parse(said(uname="Linux\n6.6.1\naarch64", getprop=text))
    assert found["chip"] == "Tensor G5"
    assert found["os"] == "Android 16 (CP1A.260505.005), kernel 6.6.1"


def test_a_macbook_air_and_none_of_its_serial_numbers(data: Path) -> None:
    folder = data / "recordings" / "macos"
    darwin = (folder / "uname-a.txt").read_text().split()
    profile = (folder / "system_profiler-SPHardwareDataType-m4-air.txt").read_text()
    lines = said(uname="\n".join([darwin[0], darwin[2], darwin[-1]]), sw_vers="15.7.2")
    found = facts.parse([*lines[:-1], f"{WORD} system_profiler", *profile.splitlines(), f"{WORD} ."])
    assert facts.profile_fields(found) == {
        "platform": "macos-arm64",
        "os": "macOS 15.7.2",
        "chip": "Apple M4",
        "cores": 10,
        "memory_mib": 24576,
        "accelerators": ("Apple M4 GPU",),
        "sensors": (),
        "missing": (),
    }
