"""What a device is, from one shell text and a pure reading of its answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents import machine
from quantfarm import facts
from quantfarm.facts import conditions
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
        lines += [f"{WORD} {'os-release' if name == 'os_release' else name}", *text.splitlines()]
    return [*lines, f"{WORD} ."]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gives_the_same_facts_as_this_machine_has_of_itself(shell: str) -> None:
    command = SHELLS[shell]
    if not shutil.which(command[0]):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {command[0]} here")
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


def test_a_linux_board_a_gpu_and_a_radeon() -> None:
    pi = "processor\t: 0\nprocessor\t: 1\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    pi += "Model\t\t: Raspberry Pi 5 Model B Rev 1.0"
    found = facts.parse(
        said(
            uname="Linux\n6.6.31\naarch64",
            cpuinfo=pi,
            os_release='PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"',
            nvidia="NVIDIA GeForce RTX 4090, 24564 MiB, 595.58.03\nNVIDIA-SMI has failed",
            rocm='{"card0": {"Card Series": "Navi 22"}, "system": {"Driver version": "6"}}',
            programs="nvidia-smi /usr/bin/nvidia-smi\nuv \nflock flock\nsudo /usr/bin/sudo\nevil /bin/evil",
            storage="/home/me\nFilesystem 1024-blocks Used Available Capacity Mounted on\n/dev/root 100 50 20480 1% /",
        )
    )
    assert facts.profile_fields(found) == {
        "platform": "linux-arm64",
        "os": "Debian GNU/Linux 12 (bookworm), kernel 6.6.31",
        "chip": "Raspberry Pi 5 Model B Rev 1.0",
        "cores": 2,
        "accelerators": ("NVIDIA GeForce RTX 4090, 24564 MiB", "Navi 22"),
        "sensors": (),
        "missing": (),
    }
    assert found["tools"] == {
        "nvidia-smi": {"path": "/usr/bin/nvidia-smi", "version": "595.58.03"},
        "sudo": {"path": "/usr/bin/sudo"},
        "storage": {"path": "/home/me", "free_mib": 20},
    }


def test_an_arm_server_without_a_name_goes_by_its_codes_and_threads_of_one_core_are_one() -> None:
    codes = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
    assert facts.parse(said(uname="Linux\n6\naarch64", cpuinfo=codes))["chip"] == "ARM core 0x41/0xd0c"
    found = facts.parse(said(uname="Linux\n6\nx86_64", topology="0,4\n1,5\n2,6\n3,7\n0,4\n1,5\n2,6\n3,7"))
    assert found["cores"] == 4
    two_sockets = "".join(f"processor : {n}\nphysical id : {n // 4}\ncpu cores : 2\n" for n in range(8))
    assert facts.parse(said(uname="Linux\n6\nx86_64", cpuinfo=two_sockets))["cores"] == 4


def test_a_processor_of_the_recordings(data: Path) -> None:
    text = (data / "recordings/linux/linux-proc_cpuinfo").read_text()
    found = facts.parse(said(uname="Linux\n3.10\nx86_64", cpuinfo=text))
    assert (found["chip"], found["cores"]) == ("Intel(R) Core(TM) i5-7360U CPU @ 2.30GHz", 1)


@pytest.mark.parametrize("lines", [[], ["", "\0", "x" * 10**6], [f"{WORD} uname", "\x1b[2J", "9" * 400, "$(reboot)"]])
def test_a_device_that_says_nothing_or_nonsense_has_no_facts(lines: list[str]) -> None:
    found = facts.profile_fields(facts.parse(lines))
    assert {"chip", "cores", "memory_mib"}.isdisjoint(found) or found["chip"].isprintable()
    DeviceProfile(name="x", **found)


def test_an_answer_cut_off_anywhere_is_read_without_failing(data: Path) -> None:
    text = "\n".join(recorded(data, "pixel-8"))
    whole = facts.parse(text.splitlines())
    for end in [*range(0, len(text), 37), *range(len(text) - 100, len(text))]:
        found = facts.parse(text[:end].splitlines())
        assert found.get("memory_mib") in (None, whole["memory_mib"])
        assert found.get("cores", 0) <= whole["cores"]


# ------------------------------------------------------------------ conditions


def conditions_here(*shell: str) -> dict[str, Any]:
    done = subprocess.run([*shell, "-c", conditions.COMMAND], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return conditions.parse(done.stdout.splitlines())


@pytest.mark.parametrize("shell", SHELLS)
def test_conditions_here_are_those_that_the_machine_tells_of_itself(shell: str) -> None:
    command = SHELLS[shell]
    if not shutil.which(command[0]):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {command[0]} here")
    found, own = conditions_here(*command), machine.conditions()
    assert found.keys() >= own.keys()
    assert (found["governor"], found["on_mains"]) == (own["governor"], own["on_mains"])
    assert found["load_1min"] == pytest.approx(own["load_1min"], abs=1.0)
    assert found["memory_available_mib"] == pytest.approx(own["memory_available_mib"], rel=0.2)


def test_who_computes_beside_is_named() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        try:
            top = conditions_here("sh")["top_process"]
        finally:
            busy.kill()
    assert top["cpu_pct"] > 10
    assert top["name"]


def test_a_phone_s_conditions(data: Path) -> None:
    policy = "/sys/devices/system/cpu/cpufreq/policy"
    limits = (
        f"{policy}0/scaling_max_freq:1704000\n{policy}4/scaling_max_freq:1836000\n{policy}0/cpuinfo_max_freq:1704000\n"
    )
    folder = data / "recordings/android"
    found = conditions.parse(
        said(
            load="4.01 3.9 3.5 2/3000 999",
            governor="sched_pixel",
            limits=f"{limits}{policy}4/cpuinfo_max_freq:2367000",
            before="100.00 1.0\n7 (llm (x) y) R 1 1 1 1 1 1 1 1 1 1 50 10 0 0\n8 (idle) S 1 1 1 1 1 1 1 1 1 1 9 9 0",
            after="100.50 1.0\n7 (llm (x) y) R 1 1 1 1 1 1 1 1 1 1 70 15 0 0\n8 (idle) S 1 1 1 1 1 1 1 1 1 1 9 9 0",
            screen="  mWakefulness=Asleep\nDisplay Power: state=OFF",
            **{
                "sensor.proc_memory": (folder / "proc-meminfo-6gb-phone.txt").read_text(),
                "sensor.android_battery": (folder / "dumpsys-battery-android14plus-unplugged.txt").read_text(),
            },
        )
    )
    assert found == {
        "load_1min": 4.01,
        "memory_available_mib": 3088,
        "governor": "sched_pixel",
        "on_mains": False,
        "battery_pct": 100,
        "battery": "discharging",
        "screen": "off",
        "cpu_limits_mhz": {"policy0": 1704, "policy4": 1836},
        "cpu_limited": True,
        "thermal_status": None,
        "top_process": {"name": "llm (x) y", "cpu_pct": 50},
    }


def test_a_mac_s_conditions(data: Path) -> None:
    folder = data / "recordings/macos"
    power = (folder / "pmset-g-batt.txt").read_text()
    memory = (folder / "vm_stat-16k-pressure.txt").read_text()
    ps = "%CPU COMM\n 98.7 Google Chrome He\n  3.0 WindowServer"
    found = conditions.parse(
        said(load="{ 2.10 1.9 1.8 }", ps=ps, **{"sensor.macos_power": power, "sensor.vm_stat": memory})
    )
    assert {name: value for name, value in found.items() if value is not None} == {
        "load_1min": 2.1,
        "memory_available_mib": 3057,
        "on_mains": True,
        "battery_pct": 99,
        "battery": "full",
        "top_process": {"name": "Google Chrome He", "cpu_pct": 98.7},
    }


def test_conditions_that_nobody_tells_are_none() -> None:
    for lines in ([], ["garbage"], [f"{WORD} load", "9" * 500, f"{WORD} before", "x" * 10**5]):
        assert set(conditions.parse(lines).values()) == {None}
