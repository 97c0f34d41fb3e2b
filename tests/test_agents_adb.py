"""Phones at the adb client: which there are, in what state, and what is particular about them.

What all agents keep is in test_agents_contract.py; what goes wrong with phones in test_phone_faults.py.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import Refused, Unreachable, adb, agent, android
from agents.addresses import parse
from agents.android import Listed, parse_devices
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, parameters
from tests.conftest import DATA
from tests.phone.phones import Phone, phone


@pytest.fixture(scope="module")
def pixel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """A phone that no test of this file harms."""
    with phone(tmp_path_factory.mktemp("pixel"), data=DATA if DATA.is_dir() else None) as made:
        yield made


def client(folder: Path, listing: str, **answers: str) -> str:
    """An adb client that answers so: for states that a daemon of ours cannot be in."""
    program = folder / "adb"
    cases = "".join(f"*' {word} '*|*' {word}') echo '{answer}' ;;\n" for word, answer in answers.items())
    (folder / "listing").write_text(f"List of devices attached\n{listing}\n")
    program.write_text(f"#!/bin/sh\ncase \" $*\" in\n{cases}*' devices '*) cat '{folder}/listing' ;;\nesac\n")
    program.chmod(0o755)
    return str(program)


def at(serial: str, program: str) -> adb.AdbAgent:
    options = parameters(adb=program)
    return adb.AdbAgent(DeviceProfile(name="pixel", kind="adb", address=serial, options=options))


# What `adb devices -l` says


def test_a_recorded_list_of_phones_is_read(data: Path) -> None:
    assert parse_devices((data / "recordings/android/adb-devices-l.txt").read_text()) == [
        Listed("HA0XYY05", "Pixel 7", "device"),
        Listed("172.16.10.20:5555", "", "offline"),
        Listed("emulator-5554", "", "unauthorized"),
    ]


def test_the_servers_own_notes_are_no_phones() -> None:
    text = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached\n\n"
    assert parse_devices(text) == []


def test_a_phone_that_this_user_may_not_open_is_listed_so() -> None:
    line = "0123 no permissions (missing udev rules? user is in the plugdev group); see [http://a.example] usb:1-3"
    assert parse_devices(line) == [Listed("0123", "", "no permissions")]


def test_control_characters_of_a_phone_reach_no_message() -> None:
    (listed,) = parse_devices("AB\x1b[2J device model:Bad\x07One")
    assert listed == Listed("AB\ufffd[2J", "Bad\ufffdOne", "device")


def test_discovery_lists_what_is_plugged_in(pixel: Phone) -> None:
    agent(pixel.profile).run(["true"], on_line=print, limit_s=60)
    assert (pixel.serial, "device") in [(serial, state) for serial, _, state in adb.discover()]


# Which client


def test_without_a_client_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="Install it"):
        android.find_client()


def test_the_client_of_an_android_sdk_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "platform-tools").mkdir()
    program = client(tmp_path / "platform-tools", "")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path))
    assert android.find_client() == program


def test_a_client_that_was_given_and_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="/nowhere/adb is no program"):
        at("X1", "/nowhere/adb").run(["true"], on_line=print, limit_s=9)


# States of a phone


def test_a_phone_that_is_absent_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    there = at("X1", client(tmp_path, "HA0XYY05 device usb:1-3 product:panther model:Pixel_7 transport_id:1"))
    with pytest.raises(Unreachable, match=r"phone X1 is not there.*HA0XYY05 \(Pixel 7, device\)"):
        there.run(["true"], on_line=print, limit_s=9)


def test_a_phone_that_has_not_allowed_this_computer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="unlock it") as refused:
        at("X1", client(tmp_path, "X1 unauthorized usb:1-3")).run(["true"], on_line=print, limit_s=9)
    assert not refused.value.retryable


def test_a_phone_that_stays_offline_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(android, "READY_S", 0.3)
    with pytest.raises(Unreachable, match="phone X1 is offline"):
        at("X1", client(tmp_path, "X1 offline usb:1-3")).run(["true"], on_line=print, limit_s=9)


def test_a_phone_in_its_boot_loader_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="state 'recovery'"):
        at("X1", client(tmp_path, "X1 recovery usb:1-3")).run(["true"], on_line=print, limit_s=9)


def test_a_phone_without_a_udev_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="udev"):
        at("X1", client(tmp_path, "X1 no permissions (user in plugdev group)")).run(["true"], on_line=print, limit_s=9)


def test_a_phone_too_old_to_keep_stderr_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too old"):
        at("X1", client(tmp_path, "X1 device usb:1-3", features="cmd")).run(["true"], on_line=print, limit_s=9)


def test_without_a_serial_several_phones_are_asked_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"several phones.*X1 \(Pixel 7, device\), X2"):
        at("", client(tmp_path, "X1 device model:Pixel_7\nX2 device model:Pixel_8")).run(
            ["true"], on_line=print, limit_s=9
        )


def test_without_a_serial_the_only_phone_is_meant(pixel: Phone) -> None:
    agent(pixel.profile).run(["true"], on_line=print, limit_s=60)
    lines: list[str] = []
    at("", "adb").run(["getprop", "ro.product.model"], on_line=lines.append, limit_s=60)
    assert lines == ["Pixel 8\n"]


@pytest.mark.parametrize("address", ["-x", "a b", "adb://;id", "$(id)"])
def test_what_is_no_serial_never_reaches_the_client(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no address of a phone"):
        at(address, client(tmp_path, "")).run(["true"], on_line=print, limit_s=9)


def test_an_address_as_a_person_writes_it_is_understood(pixel: Phone) -> None:
    address = parse(f"adb://{pixel.serial}")
    device = agent(DeviceProfile(name="pixel", kind=address.kind, address=address.address))
    assert device.run(["true"], on_line=print, limit_s=60).code == 0


# A phone's shell


def test_commands_run_as_the_shell_user_in_androids_shell(pixel: Phone) -> None:
    lines: list[str] = []
    agent(pixel.profile).run(["sh", "-c", "id -un; echo $KSH_VERSION"], on_line=lines.append, limit_s=60)
    assert lines[0] == "shell\n"
    assert "MIRBSD" in lines[1]


def test_bytes_come_as_they_were_written(pixel: Phone) -> None:
    """No terminal lies between: no carriage returns, no escape character."""
    lines: list[str] = []
    agent(pixel.profile).run(["printf", r"a\r\n~.\n\t\nb\n"], on_line=lines.append, limit_s=60)
    assert lines == ["a\r\n", "~.\n", "\t\n", "b\n"]


def test_a_pushed_program_runs_from_where_phones_may_execute(pixel: Phone, tmp_path: Path) -> None:
    program = tmp_path / "bench"
    program.write_text("#!/system/bin/sh\necho measured\n")
    program.chmod(0o755)
    there = agent(pixel.profile).push(program, "")
    assert there.startswith("/data/local/tmp/quantfarm/files/")
    lines: list[str] = []
    agent(pixel.profile).run([there], on_line=lines.append, limit_s=60)
    assert lines == ["measured\n"]


def test_a_large_file_is_sent_by_the_clients_own_push_and_told_of(pixel: Phone, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(os.urandom(adb.SMALL + 17))
    told: list[tuple[int, int]] = []
    there = agent(pixel.profile).push(file, "", lambda done, of: told.append((done, of)))
    assert told[-1] == (adb.SMALL + 17, adb.SMALL + 17)
    assert [path.name for path in pixel.path(there).parent.iterdir() if path.suffix != ".checked"] == ["model.gguf"]
    assert pixel.path(there).read_bytes() == file.read_bytes()


def test_what_a_phone_says_of_itself_is_what_it_was_recorded_to_say(pixel: Phone, data: Path) -> None:
    facts = agent(pixel.profile).probe()
    assert facts["platform"] == pixel.profile.platform
    assert facts["os"].startswith("Android 14")
    assert {"thermal_zone", "android_thermal", "android_battery"} <= set(facts["sensors"])


def test_nothing_that_a_phone_says_is_executed(tmp_path: Path) -> None:
    with phone(tmp_path) as hostile:
        evil = "$(touch /data/local/tmp/pwned)`touch /data/local/tmp/pwned`';touch /data/local/tmp/pwned;'"
        hostile.properties(ro__product__model=evil, ro__product__board=evil, ro__build__version__release=evil)
        hostile.says("battery", f"{evil}\n" * 3)
        hostile.program("uname", f"cat <<'END'\n{evil}\nEND")
        device = agent(hostile.profile)
        device.probe()
        with device.lease("me", print):
            device.run(["true"], on_line=print, limit_s=60)
        assert not hostile.path("/data/local/tmp/pwned").exists()


# Several at once


def test_two_phones_work_at_once_and_keep_apart(pixel: Phone, tmp_path: Path) -> None:
    with phone(tmp_path) as other:
        other.properties(ro__product__model="The Other")
        said: dict[str, list[str]] = {}
        both = threading.Barrier(2, timeout=60)

        def work(one: Phone) -> None:
            device, lines = agent(one.profile), said.setdefault(one.serial, [])
            with device.lease("me", print):

                def hear(line: str) -> None:
                    lines.append(line)
                    if line == "ready\n":
                        both.wait()

                script = "getprop ro.product.model; echo ready; sleep 1; echo done"
                device.run(["sh", "-c", script], on_line=hear, limit_s=60)

        threads = [threading.Thread(target=work, args=(one,)) for one in (pixel, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert said == {
            pixel.serial: ["Pixel 8\n", "ready\n", "done\n"],
            other.serial: ["The Other\n", "ready\n", "done\n"],
        }


def test_sensors_stream_beside_a_run_and_see_the_phone_get_hot(tmp_path: Path) -> None:
    with phone(tmp_path) as warm:
        device = agent(warm.profile)
        temperatures: list[str] = []
        stop = threading.Event()
        script = "while :; do cat /sys/class/thermal/thermal_zone0/temp; sleep 0.1; done"
        sensors = threading.Thread(
            target=device.run,
            args=(["sh", "-c", script],),
            kwargs={"on_line": temperatures.append, "limit_s": 60, "stopped": stop.is_set},
        )
        sensors.start()
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            warm.heat(0, 48000)

        device.run(["sh", "-c", "echo hot; sleep 1; echo done"], on_line=hear, limit_s=60)
        stop.set()
        sensors.join(30)
        assert lines == ["hot\n", "done\n"]
        assert temperatures[0] != temperatures[-1]
        assert temperatures[-1] == "48000\n"


def test_the_tests_phone_listens_on_this_machine_alone(pixel: Phone) -> None:
    sockets = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    (listening,) = [line.split()[3] for line in sockets.splitlines() if f":{pixel.port} " in line]
    assert listening in (f"127.0.0.1:{pixel.port}", f"[::ffff:127.0.0.1]:{pixel.port}")
