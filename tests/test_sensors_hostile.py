"""Whatever a device prints, no parser fails and none gives a number that cannot be."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.sensors import TABLE, Look, sensor
from quantfarm.sensors.reading import LIMITS
from tests.test_sensors import GPUS, HAL, HEADER, RAPL, UNPLUGGED, kernel, seen, tree, zones

MACOS, LINUX, ANDROID = "recordings/macos", "recordings/linux", "recordings/android"
#: Sensor -> recordings of what it reads.
FILES = {
    "proc_memory": (f"{LINUX}/linux-proc_meminfo", f"{ANDROID}/proc-meminfo-6gb-phone.txt"),
    "proc_cpu": (f"{LINUX}/linux-proc_stat",),
    "vcgencmd": (f"{LINUX}/pi-undervolted.txt",),
    "tegrastats": (f"{LINUX}/tegrastats-orin-nano.txt",),
    "rocm_smi": (f"{LINUX}/rx6700xt_rocm612.json",),
    "nvidia_smi": ("recordings/nvidia-smi/query-gpu-a100.csv", *(f"recordings/nvidia-smi/{file}" for file in GPUS)),
    "android_thermal": (f"{ANDROID}/dumpsys-thermalservice-pixel-hal2.txt",),
    "android_battery": (f"{ANDROID}/dumpsys-battery-usb-full.txt", f"{ANDROID}/{UNPLUGGED}"),
    "vm_stat": (f"{MACOS}/vm_stat-16k-pressure.txt", f"{MACOS}/memory_pressure.txt"),
    "macos_power": (f"{MACOS}/pmset-g-batt.txt", f"{MACOS}/pmset-g-therm.txt"),
    "powermetrics": tuple(f"{MACOS}/powermetrics-{end}" for end in ("m4-max-Mac16,5.plist", "socpower.plist")),
}
#: Recordings about other things: facts, processes, lists of devices. No sensor may see a device in them.
OTHER = (
    *(f"{ANDROID}/{name}" for name in ("adb-devices-l.txt", "dumpsys-meminfo-pid-head.txt", "pixel-8.getprop.txt")),
    *(f"{ANDROID}/{name}" for name in ("dumpsys-meminfo-system-tail.txt", "getprop-pixel10pro-short.txt")),
    *(f"{LINUX}/{name}" for name in ("linux-proc_cpuinfo", "linux-proc_pid_status")),
    *(f"{MACOS}/{name}" for name in ("uname-a.txt", "system_profiler-SPHardwareDataType-m4-air.txt")),
)
NAME = re.compile(r"[a-z0-9_]{1,64}")


def sound(look: Look) -> None:
    """What holds of every look: finite, within what its unit can be, by a plain name; nothing said twice."""
    for name, value in look.values.items():
        assert NAME.fullmatch(name), name
        low, high = LIMITS[name.rpartition("_")[2]]
        assert math.isfinite(value)
        assert low <= value <= high, (name, value)
    assert not look.values.keys() & look.unknown.keys()
    for text in (*look.states.values(), *look.unknown.values()):
        assert text
        assert text.isprintable()
        assert len(text) < 300
    assert len(look.values) + len(look.unknown) + len(look.states) <= 3 * 512


@pytest.fixture(scope="module")
def texts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Sensor -> texts that it reads: its recordings, and what its command prints over recorded files."""
    found = {name: [(data / file).read_text() for file in files] for name, files in FILES.items()}
    root = tree(tmp_path_factory.mktemp("phone"), zones(data))
    for path, text in RAPL.items():
        tree(root, {f"/sys/class/powercap/{path}": f"{text}\n"})
    pack = {"type": "Battery", "status": "Discharging", "current_now": "1050000", "voltage_now": "11400000"}
    tree(root, {f"/sys/class/power_supply/BAT0/{file}": f"{text}\n" for file, text in pack.items()})
    clocks = {"scaling_cur_freq": "1197000", "scaling_max_freq": "1704000", "affected_cpus": "0 1 2 3"}
    tree(root, {f"/sys/devices/system/cpu/cpufreq/policy0/{file}": f"{text}\n" for file, text in clocks.items()})
    for name in ("thermal_zone", "rapl", "linux_battery", "cpufreq"):
        found[name] = [seen(name, sensor(name).command(), root)]
    hwmon = data / LINUX / "hwmon" / "with_device_tag"
    found["hwmon"] = [seen("hwmon", sensor("hwmon").command(), hwmon)]
    found["android_battery"].append(found["android_battery"][1] + kernel("-853000"))
    found["android_thermal"].append(HAL + "Temperature{mValue=44.1, mType=3, mName=VIRTUAL-SKIN, mStatus=3}\n")
    found["nvidia_smi"].append(HEADER + "61, 70.10 W, 30 %, 1980 MHz, 0x20\n")
    found["macmon"] = ['{"temp": {"cpu_temp_avg": 43.7}, "cpu_power": 0.2, "gpu_usage": [461, 0.02]}\n']
    return found


def cuts(text: str) -> list[int]:
    """Every place where a text can end; of a long one some hundreds, its first and last thousand whole."""
    ends = range(len(text))
    return list(ends) if len(text) <= 4000 else sorted({*ends[:1000], *ends[-1000:], *ends[:: len(text) // 300]})


@pytest.mark.parametrize("name", TABLE)
def test_a_text_that_is_cut_off_anywhere_gives_fewer_values_and_no_other_ones(
    name: str, texts: dict[str, list[str]]
) -> None:
    for text in texts[name]:
        whole = sensor(name).parse(text).values
        # Of tegrastats' lines the last whole one counts: cut, it is an earlier one.
        lines = (
            [sensor(name).parse(line).values for line in text.splitlines(keepends=True)] if name == "tegrastats" else []
        )
        for end in cuts(text):
            look = sensor(name).parse(text[:end])
            sound(look)
            if lines:
                assert not look.values or look.values in lines
            else:
                wrong = {n: v for n, v in look.values.items() if not math.isclose(whole.get(n, -1), v, rel_tol=1e-9)}
                wrong.pop("cpu_mhz", None)  # the mean over fewer cores
                assert not wrong, text[max(0, end - 80) : end]


@pytest.mark.parametrize("name", TABLE)
def test_every_text_that_a_sensor_reads_gives_it_values(name: str, texts: dict[str, list[str]]) -> None:
    assert texts[name]
    for text in texts[name]:
        look = sensor(name).parse(text)
        sound(look)
        assert look.values or look.states


@pytest.mark.parametrize("name", TABLE)
def test_texts_about_other_things_give_no_values(name: str, data: Path, texts: dict[str, list[str]]) -> None:
    kin = {"linux_battery", "android_battery"}  # the same files of the kernel
    others = [t for other, theirs in texts.items() if other != name and {name, other} != kin for t in theirs]
    for text in [*others, *((data / file).read_text() for file in OTHER)]:
        look = sensor(name).parse(text)
        sound(look)
        assert not look.values, (name, look.values, text[:200])


EVIL = (
    "\0",
    "\x1b[31m",
    "\r",
    "\x7f",
    "\u202e",
    "\ud800",
    "999999999999999999999999",
    "-",
    "1e99",
    "nan",
    "inf",
    "\n\n",
)


@pytest.mark.parametrize("name", TABLE)
def test_texts_with_control_characters_and_huge_numbers_in_them(name: str, texts: dict[str, list[str]]) -> None:
    dice = random.Random(name)
    for text in texts[name]:
        for _ in range(150 if len(text) < 5000 else 20):
            spoilt = list(text)
            for _ in range(dice.randint(1, 5)):
                spoilt[dice.randrange(len(spoilt))] = dice.choice(EVIL)
            sound(sensor(name).parse("".join(spoilt)))


@pytest.mark.parametrize("name", TABLE)
def test_every_number_of_a_text_blown_up(name: str, texts: dict[str, list[str]]) -> None:
    for text in texts[name]:
        for huge in ("9" * 30, "-274000", "0", "1e308", "9" * 5000):
            sound(sensor(name).parse(re.sub(r"[0-9]+", huge, text)))


@pytest.mark.parametrize("name", TABLE)
@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=300) | st.text("{}[]<>:=,./0123456789\n \tKkMmBbuUpPsS%@'\"", max_size=300))
def test_any_text_at_all(name: str, text: str) -> None:
    sound(sensor(name).parse(text))
    sound(sensor(name).parse(text + "\n"))


@pytest.mark.parametrize("name", TABLE)
def test_a_megabyte_of_anything_is_read_in_no_time(name: str, texts: dict[str, list[str]]) -> None:
    import time

    began = time.monotonic()
    for filler in ("a", "9", "/", "[" * 50, ": ", "Temperature{", "\n", '{"a":', "<a>"):
        sound(sensor(name).parse(filler * (2**20 // len(filler)) + "\n"))
    for text in texts[name]:
        sound(sensor(name).parse(text * max(1, 2**20 // len(text))))
    assert time.monotonic() - began < 60
