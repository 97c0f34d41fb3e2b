"""Every sensor against every recording of what it reads: exact values, and "unknown" in place of a wrong one."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from quantfarm.errors import UsageError
from quantfarm.sensors import TABLE, Look, sensor

#: Whose `grep` reads the files: a phone has toybox, a router busybox.
GREPS = {"GNU": "", "toybox": "toybox ", "busybox": "busybox "}


def look(name: str, text: str) -> Look:
    return sensor(name).parse(text)


def seen(name: str, command: str, root: Path) -> str:
    """What a sensor's own command prints on a device whose /sys is `root`/sys."""
    shell = command.replace("/sys/", f"{root}/sys/")
    return subprocess.run(["dash", "-c", shell], capture_output=True, text=True, check=False).stdout


def look_at(name: str, root: Path, grep: str = "GNU") -> Look:
    if not shutil.which(GREPS[grep].strip() or "grep"):
        pytest.skip(f"no {grep} here")
    return look(name, seen(name, sensor(name).command().replace("grep ", f"{GREPS[grep]}grep "), root))


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)
    return root


# ------------------------------------------------------------------ the table


@pytest.mark.parametrize("name", TABLE)
def test_every_sensor_keeps_the_contract(name: str) -> None:
    one = sensor(name)
    assert one.name == name
    assert one.platforms <= {"linux", "android", "macos"}
    assert one.platforms
    assert one.parse("").values == {}
    assert one.parse("").unknown


@pytest.mark.parametrize("name", TABLE)
def test_every_command_ends_at_once_and_harmlessly_where_the_sensor_is_not(name: str) -> None:
    """This machine has few of them: each says something that is no reading, or reads it."""
    command = ["dash", "-c", sensor(name).command()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    assert done.stderr == ""
    found = look(name, done.stdout)
    assert found.values or found.unknown


def test_an_unknown_sensor_is_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="did you mean hwmon"):
        sensor("hwmonn")


# ------------------------------------------------------------------ Linux


def test_memory_of_a_virtual_machine_and_of_a_phone(data: Path) -> None:
    text = (data / "recordings/linux/linux-proc_meminfo").read_text()
    assert look("proc_memory", text) == Look(
        values={
            "mem_total_mib": 3997272 / 1024,
            "mem_available_mib": 3386876 / 1024,
            "mem_free_mib": 2760316 / 1024,
            "swap_used_mib": 0.0,
        }
    )
    text = (data / "recordings/android/proc-meminfo-6gb-phone.txt").read_text()
    assert look("proc_memory", text).values["mem_available_mib"] == 3162484 / 1024


def test_processors_since_boot(data: Path) -> None:
    text = (data / "recordings/linux/linux-proc_stat").read_text() + "0.52 0.58 0.59 3/597 12345\n"
    assert look("proc_cpu", text) == Look(
        values={
            "cpu_busy_ms": 10 * (6002 + 152 + 8398 + 1174),
            "cpu_idle_ms": 10 * (3444436 + 448),
            "cpu_stolen_ms": 0,
            "running_count": 1,
            "load_1min": 0.52,
        }
    )


def test_this_machine_s_own_memory_and_processors() -> None:
    for name in ("proc_memory", "proc_cpu"):
        done = subprocess.run(["sh", "-c", sensor(name).command()], capture_output=True, text=True, check=True)
        found = look(name, done.stdout)
        assert len(found.values) >= 4
        assert found.unknown == {}


def clocks(data: Path, phone: str) -> dict[str, str]:
    """A phone's clock files by policy, from its recording (whose files are by processor)."""
    files = json.loads((data / "recordings" / "android" / f"{phone}.json").read_text())["files"]
    found: dict[str, str] = {}
    for path, text in files.items():
        folder, _, file = path.rpartition("/")
        cpus = files.get(f"{folder}/related_cpus", "").split()
        if cpus and folder.endswith(f"/cpu{cpus[0]}/cpufreq"):
            found[f"/sys/devices/system/cpu/cpufreq/policy{cpus[0]}/{file}"] = str(text)
    return found


@pytest.mark.parametrize("grep", GREPS)
def test_clocks_of_a_pixel_8_by_group_of_cores(data: Path, tmp_path: Path, grep: str) -> None:
    found = look_at("cpufreq", tree(tmp_path, clocks(data, "pixel-8")), grep)
    assert found.values == pytest.approx(
        {
            "policy0_mhz": 1197,
            "policy4_mhz": 2130,
            "policy4_limit_mhz": 2367,
            "policy8_mhz": 500,
            "policy8_limit_mhz": 2914,
            "cpu_mhz": (4 * 1197 + 4 * 2130 + 500) / 9,
        }
    )
    assert found.unknown == {}


def test_clocks_of_a_pixel_2_xl(data: Path, tmp_path: Path) -> None:
    found = look_at("cpufreq", tree(tmp_path, clocks(data, "pixel-2-xl")))
    assert found.values["policy0_mhz"] == pytest.approx(1900.8)
    assert found.values["policy4_mhz"] == pytest.approx(300)
    assert found.values["cpu_mhz"] == pytest.approx((4 * 1900.8 + 4 * 300) / 8)


def zones(data: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for line in (data / "recordings/android/thermal-zones-sm7325.txt").read_text().splitlines():
        zone, kind, temp = line.split(" ")
        files[f"/sys/class/thermal/{zone}/type"] = f"{kind}\n"
        files[f"/sys/class/thermal/{zone}/temp"] = f"{temp}\n" if temp else ""
    return files


@pytest.mark.parametrize("grep", GREPS)
def test_89_zones_of_a_phone_of_which_24_are_no_temperatures(data: Path, tmp_path: Path, grep: str) -> None:
    found = look_at("thermal_zone", tree(tmp_path, zones(data)), grep)
    assert len(found.values) + len(found.unknown) == 89
    values = {
        **dict.fromkeys(("pa_therm0_c", "pa_therm1_c", "msm_skin_therm_usr_c", "battery_c", "usb_c"), 27),
        **{"pm8350c_tz_c": 37, "cpu_0_2_usr_c": 33.1, "cpuss_0_usr_c": 31.9, "quiet_therm_c": 28.797},
        **{"gpuss_0_step_c": 30.3, "modem_skin_usr_c": 28, "ddr_usr_c": 31.1, "charger_therm0_c": 29.759},
    }
    assert {name: found.values[name] for name in values} == pytest.approx(values)
    assert min(found.values.values()) == 27
    assert max(found.values.values()) == 37
    no_temperature = "no temperature: a zone for a voltage, a current or a charge"
    off = "reads 2 °C where the rest of the device is at 30: not powered"
    modem = ("mmw0", "mmw1", "mmw2", "mmw3", "streamer", "mmw0_mod", "mmw1_mod", "mmw2_mod", "mmw3_mod")
    assert found.unknown == {
        **{"modem_wifi_usr_c": "empty", "pmr735a_tz_c": "empty", "vbat_c": no_temperature},
        **{f"pm8350c_bcl_lvl{n}_c": no_temperature for n in range(3)},
        **{f"pm7325b_bcl_lvl{n}_c": no_temperature for n in range(3)},
        **{f"pm7325b_ibat_lvl{n}_c": no_temperature for n in range(2)},
        **{f"modem_{name}_usr_c": off for name in modem},
    }


@pytest.mark.parametrize(
    ("kind", "said", "why"),
    [
        ("cpu_therm", "-274000\n", "reads -274: outside what is possible"),
        ("cpu_therm", "0\n", "reads 0: nothing is measured there"),
        ("cpu_therm", "", "empty"),
        ("cpu_therm", "38\n", "reads 38: not in thousandths of a degree"),
        ("cpu_therm", "381000\n", "reads 381: outside what is possible"),
        ("cpu_therm", "cold\n", "no number: 'cold'"),
        ("soc", "87000\n", "no temperature: a zone for a voltage, a current or a charge"),
        ("pmi8998_bcl", "4100\n", "no temperature: a zone for a voltage, a current or a charge"),
    ],
)
def test_a_zone_that_gives_no_temperature_is_unknown(tmp_path: Path, kind: str, said: str, why: str) -> None:
    folder = "/sys/class/thermal/thermal_zone0"
    found = look_at("thermal_zone", tree(tmp_path, {f"{folder}/type": f"{kind}\n", f"{folder}/temp": said}))
    assert found == Look(unknown={f"{kind}_c": why})


def test_a_zone_that_may_not_be_read_says_so() -> None:
    text = "/sys/class/thermal/thermal_zone3/type:cpu\ngrep: /sys/class/thermal/thermal_zone3/temp: Permission denied\n"
    assert look("thermal_zone", text) == Look(unknown={"cpu_c": "Permission denied"})


def test_two_zones_of_one_type_are_told_apart(tmp_path: Path) -> None:
    files = {f"/sys/class/thermal/thermal_zone{n}/{f}": t for n in (0, 2, 10) for f, t in (("type", "acpitz\n"),)}
    files |= {f"/sys/class/thermal/thermal_zone{n}/temp": f"{40 + n}000\n" for n in (0, 2, 10)}
    found = look_at("thermal_zone", tree(tmp_path, files))
    assert found.values == {"acpitz_c": 40, "acpitz_2_c": 42, "acpitz_3_c": 50}


@pytest.mark.parametrize("grep", GREPS)
@pytest.mark.parametrize(
    ("machine", "values"),
    [
        (
            "general",
            {
                **{"nvme_composite_c": 35.85, "nvme_sensor_1_c": 35.85, "nvme_sensor_2_c": 38.85},
                **{"k10temp_tctl_c": 33.25, "k10temp_tccd1_c": 33.25},
            },
        ),
        (
            "with_device_tag",
            {
                **{"nvme_composite_c": 32.85, "nvme_sensor_1_c": 32.85, "nvme_sensor_2_c": 36.85},
                **{"nvme2_composite_c": 35.85, "nvme2_sensor_1_c": 35.85, "nvme2_sensor_2_c": 37.85},
                **{"k10temp_tctl_c": 31.875, "k10temp_tccd1_c": 30.75},
            },
        ),
    ],
)
def test_hwmon_chips_by_their_labels(data: Path, machine: str, values: dict[str, float], grep: str) -> None:
    found = look_at("hwmon", data / "recordings/linux/hwmon" / machine, grep)
    assert found.values == pytest.approx(values)
    assert found.unknown == {}


def test_hwmon_power_fans_and_energy_in_their_units(tmp_path: Path) -> None:
    gpu = {"name": "amdgpu", "power1_average": "31000000", "power1_label": "PPT", "fan1_input": "1200"}
    gpu |= {"freq1_input": "2400000000", "freq1_label": "sclk", "energy1_input": "123456789"}
    files = {f"/sys/class/hwmon/hwmon0/{file}": f"{text}\n" for file, text in gpu.items()}
    assert look_at("hwmon", tree(tmp_path, files)).values == pytest.approx(
        {"amdgpu_ppt_w": 31, "amdgpu_fan1_rpm": 1200, "amdgpu_sclk_mhz": 2400, "amdgpu_energy1_uj": 123456789}
    )


RAPL = {
    **{"intel-rapl:0/name": "package-0", "intel-rapl:0/energy_uj": "229000000000"},
    **{"intel-rapl:0/max_energy_range_uj": "262143328850", "intel-rapl:0:0/name": "core"},
    **{"intel-rapl:0:0/energy_uj": "5", "intel-rapl:1/name": "psys", "intel-rapl:1/energy_uj": "77"},
    **{"intel-rapl-mmio:0/name": "package-0", "intel-rapl-mmio:0/energy_uj": "229000000111"},
}


def test_rapl_counters_with_the_range_that_they_wrap_at(tmp_path: Path) -> None:
    found = look_at("rapl", tree(tmp_path, {f"/sys/class/powercap/{f}": f"{text}\n" for f, text in RAPL.items()}))
    assert found.values == {
        "package_0_uj": 229000000000,
        "package_0_range_uj": 262143328850,
        "package_0_core_uj": 5,
        "psys_uj": 77,
    }


def test_rapl_counters_that_only_root_may_read_are_unknown_with_that_reason() -> None:
    folder = "/sys/class/powercap/intel-rapl:0"
    text = f"{folder}/name:package-0\ngrep: {folder}/energy_uj: Permission denied\n{folder}/max_energy_range_uj:262\n"
    reason = "permission denied: the energy counters can be read by root alone here"
    assert look("rapl", text) == Look(unknown={"package_0_uj": reason})


def supply(root: Path, **supplies: dict[str, str]) -> Look:
    files = {f"/sys/class/power_supply/{s}/{f}": f"{t}\n" for s, known in supplies.items() for f, t in known.items()}
    return look_at("linux_battery", tree(root, files))


def test_a_laptop_on_its_battery(tmp_path: Path) -> None:
    pack = {"type": "Battery", "status": "Discharging", "capacity": "71", "current_now": "1050000"}
    found = supply(
        tmp_path,
        AC={"type": "Mains", "online": "0"},
        BAT0={**pack, "voltage_now": "11400000"},
        hidpp_battery_0={"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "5"},
    )
    assert found.values == pytest.approx(
        {
            **{"battery_discharging_flag": 1, "battery_charging_flag": 0, "plugged_flag": 0, "battery_pct": 71},
            **{"battery_v": 11.4, "battery_a": 1.05, "battery_w": 11.97},
        }
    )
    assert found.states == {"battery": "discharging"}


def test_a_laptop_on_mains_has_no_power_from_its_battery(tmp_path: Path) -> None:
    pack = {"type": "Battery", "status": "Charging", "capacity": "71", "power_now": "20000000"}
    found = supply(tmp_path, AC={"type": "Mains", "online": "1"}, BAT0={**pack, "voltage_now": "11400000"})
    assert "battery_w" not in found.values
    assert found.values["plugged_flag"] == 1
    assert found.states == {"battery": "charging"}


def test_a_tool_that_is_not_there_is_said_in_a_word() -> None:
    for text in ("sh: vcgencmd: not found\n", "vcgencmd: inaccessible or not found\n"):
        assert look("vcgencmd", text).unknown == {"firmware": "the program is not there"}


def test_a_raspberry_pi_with_too_low_a_voltage(data: Path) -> None:
    found = look("vcgencmd", (data / "recordings/linux/pi-undervolted.txt").read_text())
    now = {"undervoltage_flag": 1, "arm_capped_flag": 0, "throttled_flag": 1, "soft_limit_flag": 0}
    ever = {name.replace("_flag", "_since_boot_flag"): value for name, value in now.items()}
    assert found == Look(values={"soc_c": 39.7, "core_v": 1.2, **now, **ever})
    assert look("vcgencmd", "frequency(48)=1500398464\n").values == pytest.approx({"arm_mhz": 1500.398464})


def test_jetsons(data: Path) -> None:
    lines = (data / "recordings/linux/tegrastats-orin-nano.txt").read_text().splitlines(keepends=True)
    looks = [look("tegrastats", line) for line in lines]
    assert looks[0].values == pytest.approx(
        {
            **{"mem_used_mib": 2272, "mem_total_mib": 7620, "swap_used_mib": 221, "gpu_pct": 0},
            **{"cpu_pct": 0, "cpu_mhz": (3 * 729 + 3 * 1036) / 6, "cpu_c": 54.937, "soc2_c": 55.562},
            **{"soc0_c": 56.156, "gpu_c": 55.468, "tj_c": 56.656, "soc1_c": 56.656},
            **{"vdd_in_w": 4.673, "vdd_cpu_gpu_cv_w": 0.527, "vdd_soc_w": 1.339},
        }
    )
    assert looks[1].values["cpu_pct"] == pytest.approx((1 + 4 + 8 + 4 + 5 + 4) / 6)
    assert (looks[2].values["cpu_c"], looks[2].values["vdd_in_w"]) == (51, 5.832)  # the moment's, not the average
    assert (looks[3].values["mem_total_mib"], looks[3].values["vin_sys_5v0_w"]) == (62841, 4.306)
    assert all(one.unknown == {} for one in looks)
    assert look("tegrastats", "".join(lines)) == looks[3]
    assert look("tegrastats", lines[0].replace("gpu@55.468C", "gpu@-256C")).unknown == {
        "gpu_c": "reads -256: outside what is possible"
    }
    assert look("tegrastats", lines[0].replace("0%@1036", "off")).values["cpu_mhz"] == 729


def test_an_amd_gpu(data: Path) -> None:
    found = look("rocm_smi", (data / "recordings/linux/rx6700xt_rocm612.json").read_text())
    assert found.values == pytest.approx(
        {
            **{"gpu0_c": 45, "gpu0_junction_c": 47, "gpu0_mem_c": 46, "gpu0_w": 6, "gpu0_pct": 0},
            **{"gpu0_mem_total_mib": 12868124672 / 2**20, "gpu0_mem_used_mib": 1572745216 / 2**20, "gpu0_mem_mhz": 96},
        }
    )
    assert found.unknown == {"gpu0_mhz": "reads 0: nothing is measured there"}


# ------------------------------------------------------------------ NVIDIA

GPUS = {
    "a10g.xml": (17, 25.58, 0, 22, 23028, 210, 405, 0, "P8"),
    "tesla-t4.xml": (40, 26.78, 0, 1032, 15360, 585, 5000, None, "P0"),
    "rtx-3080-v13.xml": (27, 139.62, 65, 9184, 10240, 1950, 9251, 0, "P2"),
    "rtx-4000-sff-ada-v13.xml": (38, 8.81, 0, 3534, 20475, 210, 405, 30, "P8"),
}
FIGURES = ("c", "w", "pct", "mem_used_mib", "mem_total_mib", "mhz", "mem_mhz", "fan_pct")


@pytest.mark.parametrize("file", GPUS)
def test_nvidia_s_xml_of_old_and_new_drivers(data: Path, file: str) -> None:
    *figures, state = GPUS[file]
    found = look("nvidia_smi", (data / "recordings/nvidia-smi" / file).read_text())
    wanted = {f"gpu0_{name}": value for name, value in zip(FIGURES, figures, strict=True) if value is not None}
    assert found.values == {**wanted, "gpu0_hot_flag": 0, "gpu0_power_capped_flag": 0}
    assert found.states == {"gpu0_pstate": state}
    assert found.unknown == ({} if figures[-1] is not None else {"gpu0_fan_pct": "not said"})


def test_nvidia_s_csv_of_three_gpus(data: Path) -> None:
    found = look("nvidia_smi", (data / "recordings/nvidia-smi/query-gpu-a100.csv").read_text())
    gpus = {0: 44, 1: 42, 2: 43}
    memory = {"mem_used_mib": 4, "mem_total_mib": 40960, "pct": 0}
    assert found.values == {
        **{f"gpu{n}_c": c for n, c in gpus.items()},
        **{f"gpu{n}_{name}": value for n in gpus for name, value in memory.items()},
    }
    assert found.states == {f"gpu{n}_pstate": "P0" for n in gpus}


HEADER = "temperature.gpu, power.draw [W], fan.speed [%], clocks.current.sm [MHz], clocks_throttle_reasons.active\n"


def test_what_a_gpu_does_not_support_is_unknown() -> None:
    found = look("nvidia_smi", HEADER + "[N/A], [Not Supported], [N/A], 1980 MHz, 0x0000000000000020\n")
    assert found.values == {"gpu0_mhz": 1980, "gpu0_hot_flag": 1, "gpu0_power_capped_flag": 0}
    assert found.unknown == {f"gpu0_{name}": "not said" for name in ("c", "w", "fan_pct")}


def test_a_driver_that_does_not_know_a_field_is_asked_again_without_it() -> None:
    refused = 'Field "clocks_throttle_reasons.active" is not a valid field to query.\n\n'
    found = look("nvidia_smi", refused + "temperature.gpu, power.draw [W], pstate\n51, 70.10 W, P2\n")
    assert found == Look(values={"gpu0_c": 51, "gpu0_w": 70.1}, states={"gpu0_pstate": "P2"})


def test_a_driver_that_cannot_be_reached_is_a_reason() -> None:
    text = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    assert look("nvidia_smi", text).unknown["gpus"].startswith('nvidia-smi tells of none: "NVIDIA-SMI has failed')


def test_xml_that_declares_entities_expands_none(data: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><nvidia_smi_log><gpu>&a;</gpu></nvidia_smi_log>'
    assert look("nvidia_smi", bomb).unknown == {"gpus": "not XML as nvidia-smi writes it"}
    text = (data / "recordings/macos/powermetrics-thermal.plist").read_text()
    bomb = text.replace("<plist ", '<!DOCTYPE plist [<!ENTITY a "Heavy">]><plist ').replace("Nominal", "&a;")
    assert look("powermetrics", bomb).values == {}


# ------------------------------------------------------------------ Android


def test_a_phone_s_temperatures_are_the_hal_s_own_and_not_the_cached_ones(data: Path) -> None:
    found = look("android_thermal", (data / "recordings/android/dumpsys-thermalservice-pixel-hal2.txt").read_text())
    assert found.values == pytest.approx(
        {
            **{"cpu0_gold_usr_c": 31.7, "cpu1_gold_usr_c": 31.4, "cpu2_gold_usr_c": 30.4, "cpu3_gold_usr_c": 31},
            **{"cpu0_silver_usr_c": 32.3, "cpu1_silver_usr_c": 32, "cpu2_silver_usr_c": 32, "cpu3_silver_usr_c": 31.4},
            **{"gpu0_usr_c": 31.4, "gpu1_usr_c": 31, "battery_maxfg_c": 25.9, "skin_fps_therm_monitor_c": 28.348},
            **{"usbc_therm_monitor_c": 26.926, "thermal_status_level": 0, "sensor_status_level": 0},
        },
        abs=1e-5,
    )
    assert found.unknown == found.states == {}


HAL = "Thermal Status: 0\nHAL Ready: true\nCurrent temperatures from HAL:\n"


def test_a_sensor_that_throttles_under_a_global_status_of_0_is_told() -> None:
    line = "\tTemperature{mValue=44.1, mType=3, mName=VIRTUAL-SKIN, mStatus=3}\n"
    found = look("android_thermal", HAL + line)
    assert found.values == {"thermal_status_level": 0, "skin_virtual_skin_c": 44.1, "sensor_status_level": 3}
    assert found.states == {"hottest": "VIRTUAL-SKIN: severe"}


def test_dead_sensors_and_what_is_no_temperature_are_unknown() -> None:
    lines = "Temperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}\n"
    lines += "Temperature{mValue=4285.0, mType=6, mName=vbat, mStatus=0}\n"
    lines += "Temperature{mValue=NaN, mType=1, mName=GPU, mStatus=0}\n"
    assert look("android_thermal", HAL + lines).unknown == {
        "battery_subbat_c": "reads 0: nothing is measured there",
        "vbat_c": "no temperature: a voltage",
        "gpu_c": "no number: 'NaN'",
    }


def test_a_phone_without_a_thermal_hal(data: Path) -> None:
    text = "Thermal Status: 0\nCached temperatures:\nTemperature{mValue=50, mType=0, mName=CPU, mStatus=0}\n"
    assert look("android_thermal", text).values == {}
    assert look("android_thermal", HAL).unknown == {"temperatures": "the thermal HAL tells none"}


def dumped(data: Path, file: str, kernel: str = "") -> Look:
    return look("android_battery", (data / "recordings/android" / file).read_text() + kernel)


def kernel(current: str, voltage: str = "4318000") -> str:
    folder = "/sys/class/power_supply/battery"
    return f"{folder}/type:Battery\n{folder}/current_now:{current}\n{folder}/voltage_now:{voltage}\n"


def test_a_full_phone_on_usb(data: Path) -> None:
    found = dumped(data, "dumpsys-battery-usb-full.txt")
    assert found.values == pytest.approx(
        {
            **{"battery_discharging_flag": 0, "battery_charging_flag": 0, "plugged_flag": 1},
            **{"battery_pct": 100, "battery_c": 27.4, "battery_v": 4.352},
        }
    )
    assert found.states == {"battery": "full"}
    assert found.unknown == {"battery_w": "the current is not told"}


UNPLUGGED = "dumpsys-battery-android14plus-unplugged.txt"


def test_an_unplugged_phone_whose_dump_also_has_times_of_broadcasts(data: Path) -> None:
    found = dumped(data, UNPLUGGED)
    assert found.values == pytest.approx(
        {
            **{"battery_discharging_flag": 1, "battery_charging_flag": 0, "plugged_flag": 0},
            **{"battery_pct": 100, "battery_c": 27, "battery_v": 4.318},
        }
    )
    assert found.states == {"battery": "discharging"}


@pytest.mark.parametrize("current", ["-853000", "853000", "-853", "853"])
def test_the_current_s_sign_and_unit_are_worked_out(data: Path, current: str) -> None:
    found = dumped(data, UNPLUGGED, kernel(current))
    assert found.values["battery_a"] == pytest.approx(0.853)
    assert found.values["battery_w"] == pytest.approx(0.853 * 4.318)


@pytest.mark.parametrize("voltage", ["4318000", "4318"])
def test_the_voltage_s_unit_is_worked_out(data: Path, voltage: str) -> None:
    assert dumped(data, UNPLUGGED, kernel("-853000", voltage)).values["battery_v"] == pytest.approx(4.318)


def test_a_current_whose_unit_cannot_be_told_is_unknown(data: Path) -> None:
    found = dumped(data, "dumpsys-battery-usb-full.txt", kernel("1953"))
    assert found.unknown["battery_a"] == "'1953' while full: µA or mA"
    assert "battery_w" not in found.values


def test_on_a_cable_the_battery_s_power_is_not_the_device_s(data: Path) -> None:
    found = dumped(data, "dumpsys-battery-usb-full.txt", kernel("-853000"))
    assert found.values["battery_a"] == pytest.approx(0.853)
    assert found.unknown["battery_w"].startswith("plugged in")


# ------------------------------------------------------------------ macOS

PAGE = 16384 / 2**20


def test_memory_of_a_mac(data: Path) -> None:
    found = look("vm_stat", (data / "recordings/macos/vm_stat-16k-pressure.txt").read_text())
    assert found.values == {
        **{"mem_free_mib": 4518 * PAGE, "mem_active_mib": 194947 * PAGE, "mem_inactive_mib": 191193 * PAGE},
        **{"mem_wired_mib": 159117 * PAGE, "mem_compressor_mib": 454496 * PAGE},
        **{"mem_available_mib": (4518 + 191193) * PAGE},
        **{"pageins_count": 7854456, "swapins_count": 470789, "swapouts_count": 929703},
    }
    found = look("vm_stat", (data / "recordings/macos/memory_pressure.txt").read_text())
    assert found.values["mem_free_pct"] == 38
    assert found.values["mem_available_mib"] == (4490 + 191194) * PAGE


def test_what_a_mac_is_fed_from(data: Path) -> None:
    folder = data / "recordings/macos"
    found = look("macos_power", (folder / "pmset-g-batt.txt").read_text() + (folder / "pmset-g-therm.txt").read_text())
    flags = {"plugged_flag": 1, "battery_discharging_flag": 0, "battery_charging_flag": 0}
    assert found.values == {**flags, "battery_pct": 99}
    assert found.states == {"battery": "full", "thermal_warning": "none recorded"}
    assert look("macos_power", "CPU_Speed_Limit \t= 65\n").values == {"cpu_speed_limit_pct": 65}


def test_powermetrics_of_an_m4_max(data: Path) -> None:
    found = look("powermetrics", (data / "recordings/macos/powermetrics-m4-max-Mac16,5.plist").read_text())
    assert found.values == pytest.approx(
        {
            **{"cpu_w": 2.97845, "gpu_w": 0.269614, "ane_w": 0, "package_w": 3.24807, "thermal_pressure_level": 0},
            **{"e_cluster_mhz": 1154.44, "p0_cluster_mhz": 3560.87, "p1_cluster_mhz": 1260.02},
            **{"gpu_mhz": 338, "gpu_pct": 100 * (1 - 0.877343)},
        }
    )
    assert found.states == {"thermal_pressure": "Nominal"}


def test_powermetrics_asked_for_less(data: Path) -> None:
    folder = data / "recordings/macos"
    thermal = (folder / "powermetrics-thermal.plist").read_text()
    power = (folder / "powermetrics-socpower.plist").read_text()
    assert look("powermetrics", thermal) == Look(
        values={"thermal_pressure_level": 0}, states={"thermal_pressure": "Nominal"}
    )
    wanted = {"cpu_w": 9.92435, "gpu_w": 0.169958, "ane_w": 0, "package_w": 10.0943, "gpu_pct": 9.8643}
    assert look("powermetrics", power).values == pytest.approx(wanted)
    assert look("powermetrics", thermal + "\0" + power).values == pytest.approx(wanted)  # the last sample counts
    heavy = look("powermetrics", thermal.replace("Nominal", "Heavy"))
    assert heavy.values == {"thermal_pressure_level": 2}


def test_powermetrics_without_root_is_a_reason() -> None:
    found = look("powermetrics", "sudo: a password is required\n")
    assert found.unknown["powermetrics"].endswith("(it takes root without a password): 'sudo: a password is required'")


def test_macmon_s_documented_line() -> None:
    """No recording of it is at hand: this is the line in its own documentation."""
    temp = {"cpu_temp_avg": 43.73614, "gpu_temp_avg": 36.95167}
    memory = {"ram_total": 25769803776, "ram_usage": 20985479168, "swap_total": 4294967296, "swap_usage": 2602434560}
    power = {"cpu_power": 0.20486385, "gpu_power": 0.017451683, "ane_power": 0.0, "all_power": 0.22231553}
    uses = {"ecpu_usage": [1181, 0.082656614], "pcpu_usage": [1974, 0.015181291], "gpu_usage": [461, 0.021497859]}
    line = json.dumps({"temp": temp, "memory": memory, **power, **uses, "sys_power": 5.876533, "ram_power": 0.11635789})
    assert look("macmon", line + "\n").values == pytest.approx(
        {
            **{"cpu_c": 43.73614, "gpu_c": 36.95167, "mem_total_mib": 24576, "mem_used_mib": 20985479168 / 2**20},
            **{"swap_used_mib": 2602434560 / 2**20, "cpu_w": 0.20486385, "gpu_w": 0.017451683, "ane_w": 0},
            **{"package_w": 0.22231553, "system_w": 5.876533, "ram_w": 0.11635789, "ecpu_mhz": 1181},
            **{"ecpu_pct": 8.2656614, "pcpu_mhz": 1974, "pcpu_pct": 1.5181291, "gpu_mhz": 461, "gpu_pct": 2.1497859},
        }
    )
    broken = look("macmon", '{"temp": {"cpu_temp_avg": NaN, "gpu_temp_avg": 0.0}, "cpu_power": "hot"}\n')
    assert broken.unknown.keys() == {"cpu_c", "gpu_c", "cpu_w"}
