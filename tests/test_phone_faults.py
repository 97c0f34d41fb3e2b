"""What goes wrong with phones, done to real ones: never a success, nothing left running, and it works again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents import Agent, AgentError, Unreachable, Vanished, adb, agent, shell_run
from agents.shell_run import LINE_LIMIT
from tests.phone.phones import MIB, Phone, adb_server, phone

#: How soon a phone that hears nothing from its controller ends what it does, in these tests.
SILENCE_S = 3
#: How the way to a phone ends: its daemon dies at once, or lives on and sees its connections closed.
CUTS: dict[str, Callable[[Phone], None]] = {"daemon killed": Phone.unplug, "cable pulled": Phone.drop}


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with adb_server():
        yield


@pytest.fixture
def pixel(tmp_path: Path) -> Iterator[Phone]:
    """A phone whose runs and leases end SILENCE_S after the last that they heard of their controller."""
    with phone(tmp_path) as made:
        made.options = {"beat_s": 1, "silence_s": SILENCE_S}
        yield made


@pytest.fixture(params=CUTS)
def cut(request: pytest.FixtureRequest) -> Callable[[Phone], None]:
    return CUTS[request.param]


@contextmanager
def back_in(pixel: Phone) -> Iterator[None]:
    """Afterwards the phone is plugged in, if it is not."""
    yield
    if not any("adbd" in line for line in pixel.processes().values()):
        pixel.plug_in()


def works(device: Agent) -> bool:
    lines: list[str] = []
    left = device.run(["echo", "here"], on_line=lines.append, limit_s=60)
    return (left.code, left.reason, lines) == (0, "", ["here\n"])


def running(pixel: Phone, word: str) -> list[str]:
    return [line for line in pixel.processes().values() if word in line]


def eventually(said: Callable[[], object], within_s: float = 20, every_s: float = 0.05) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if said():
            return True
        time.sleep(every_s)
    return False


def big(folder: Path, mib: int) -> Path:
    file = folder / "model.gguf"
    file.write_bytes(os.urandom(mib * MIB))
    return file


# The cable is pulled while something runs


def test_a_run_whose_phone_went_away_is_never_a_success(pixel: Phone, cut: Callable[[Phone], None]) -> None:
    """The client's own status is no help: it is 0 then, also for this command that would have ended with 9."""
    device = agent(pixel.profile)
    when: list[float] = []

    def pull(line: str) -> None:
        cut(pixel)
        when.append(time.monotonic())

    with pytest.raises(Vanished) as gone:
        device.run(["sh", "-c", "echo up; sleep 471; exit 9"], on_line=pull, limit_s=300)
    assert gone.value.retryable
    assert time.monotonic() - when[0] < 10
    assert eventually(lambda: not running(pixel, "471")), pixel.processes()


def test_plugged_in_again_it_works_again_with_the_same_agent(pixel: Phone) -> None:
    device = agent(pixel.profile)
    assert works(device)
    pixel.unplug()
    with pytest.raises(Unreachable, match="is not there"):
        works(device)
    pixel.plug_in()
    assert works(device)


def test_a_phone_that_was_off_between_two_runs_works_again(pixel: Phone) -> None:
    device = agent(pixel.profile)
    assert works(device)
    pixel.crash()
    pixel.boot()
    assert works(device)


def test_a_phone_that_dies_with_all_on_it_is_vanished(pixel: Phone) -> None:
    with pytest.raises(Vanished):
        agent(pixel.profile).run(["sh", "-c", "echo up; sleep 300"], on_line=lambda _: pixel.crash(), limit_s=300)


def test_another_program_that_restarts_the_adb_server_costs_one_run(pixel: Phone) -> None:
    """What an adb client of another version does."""
    device = agent(pixel.profile)

    def kill(line: str) -> None:
        subprocess.run(["adb", "kill-server"], check=True, capture_output=True, timeout=60)

    with pytest.raises(Vanished):
        device.run(["sh", "-c", "echo up; sleep 300"], on_line=kill, limit_s=300)
    assert works(device)


def test_one_phone_pulled_does_not_disturb_another(pixel: Phone, tmp_path: Path) -> None:
    with phone(tmp_path) as other:
        assert works(agent(pixel.profile))
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            if line == "up\n":
                pixel.unplug()

        left = agent(other.profile).run(["sh", "-c", "echo up; sleep 2; echo done"], on_line=hear, limit_s=60)
    assert (left.code, lines) == (0, ["up\n", "done\n"])


def test_a_phone_that_falls_silent_ends_the_run_by_itself(pixel: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is closed and nothing answers: a network that drops everything."""
    monkeypatch.setattr(shell_run, "END_S", 2)
    device = agent(pixel.profile)
    with pytest.raises(Vanished):
        device.run(["sh", "-c", "echo up; sleep 471"], on_line=lambda _: pixel.freeze(), limit_s=5)
    assert eventually(lambda: not running(pixel, "471"))
    pixel.thaw()
    assert works(device)


def test_a_controller_that_is_killed_leaves_nothing_running(pixel: Phone) -> None:
    with controller(pixel, "agent.run(['sleep', '471'], on_line=print, limit_s=300)"):
        assert eventually(lambda: running(pixel, "sleep 471"))
    assert eventually(lambda: not running(pixel, "sleep 471"))


# The cable is pulled while a file is sent


@pytest.mark.parametrize("way", ["push", "shell"])
def test_a_push_that_was_cut_off_is_gone_on_with(
    pixel: Phone, cut: Callable[[Phone], None], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb, "SMALL", 0 if way == "push" else 2**40)
    device, file = agent(pixel.profile), big(tmp_path, 96)
    with back_in(pixel), cut_while_arriving(pixel, cut), pytest.raises(Vanished) as gone:
        device.push(file, "")
    assert gone.value.stage == "push"
    (part,) = parts(pixel)
    arrived = part.stat().st_size
    assert 0 < arrived < 96 * MIB
    told: list[tuple[int, int]] = []
    there = device.push(file, "", lambda done, of: told.append((done, of)))
    assert told[0][0] >= arrived, "what had arrived is not sent again"
    assert told[-1] == (96 * MIB, 96 * MIB)
    assert pixel.path(there).read_bytes() == file.read_bytes()
    assert not parts(pixel)


def test_a_push_to_a_phone_that_falls_silent_is_given_up_and_gone_on_with(
    pixel: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb, "SMALL", 2**40)
    pixel.options = {**pixel.options, "stall_s": 1}
    device, file = agent(pixel.profile), big(tmp_path, 96)
    with cut_while_arriving(pixel, Phone.freeze), pytest.raises(Vanished, match="nothing moved"):
        device.push(file, "")
    pixel.thaw()
    assert pixel.path(device.push(file, "")).read_bytes() == file.read_bytes()


def test_what_arrived_damaged_is_thrown_away(pixel: Phone, tmp_path: Path) -> None:
    device, file = agent(pixel.profile), big(tmp_path, 1)
    there = device.push(file, "")
    place = pixel.path(there)
    part = place.with_name(".model.gguf.part")
    place.rename(part)  # as if it had not been checked yet
    part.write_bytes(b"x" * 1000)
    with pytest.raises(AgentError, match="damaged") as error:
        device.push(file, "")
    assert error.value.retryable
    assert pixel.path(device.push(file, "")).read_bytes() == file.read_bytes()


@contextmanager
def cut_while_arriving(pixel: Phone, cut: Callable[[Phone], None]) -> Iterator[None]:
    """Ends the way to the phone as soon as the first bytes of a file are there; nothing more arrives meanwhile."""

    def watch() -> None:
        assert eventually(lambda: any(path.stat().st_size for path in parts(pixel)), 60, every_s=0.001)
        pixel.freeze()
        cut(pixel)
        if cut is Phone.drop:
            pixel.thaw()

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join(60)


def parts(pixel: Phone) -> list[Path]:
    """Files that have arrived in part."""
    return list(pixel.path("/data/local/tmp").glob("quantfarm/files/*/.*.part"))


# A full phone


def test_a_file_that_a_phone_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    with phone(tmp_path, storage_bytes=8 * MIB) as small, pytest.raises(AgentError, match="is full") as full:
        agent(small.profile).push(big(tmp_path, 16), "")
    assert not full.value.retryable


@pytest.mark.parametrize("way", ["push", "shell"])
def test_a_phone_that_becomes_full_meanwhile_says_so_and_keeps_no_part(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb, "SMALL", 0 if way == "push" else 2**40)
    with phone(tmp_path, storage_bytes=8 * MIB) as small:
        # It says that there is room; once it could not be written, it tells the truth.
        asked = "/data/local/tmp/asked"
        plenty = "echo Filesystem 1024-blocks Used Available Capacity Mounted; echo tmpfs 99999999 0 99999999 0% /"
        small.program("df", f'[ -e {asked} ] && exec /system/bin/df "$@"\n: >{asked}\n{plenty}\n')
        device = agent(small.profile)
        with pytest.raises(AgentError, match="is full") as full:
            device.push(big(tmp_path, 16), "")
        assert not full.value.retryable
        assert not parts(small)
        assert works(device)


# A phone's clock


@pytest.mark.parametrize("offset_s", [-25 * 365 * 86400, 11 * 3600], ids=["25 years back", "11 hours ahead"])
def test_a_clock_that_is_off_changes_nothing(offset_s: int, tmp_path: Path) -> None:
    with phone(tmp_path, clock_offset_s=offset_s) as lost:
        device, other = agent(lost.profile), agent(lost.profile)
        lines: list[str] = []
        device.run(["date", "+%s"], on_line=lines.append, limit_s=60)
        assert abs(int(lines[0]) - time.time() - offset_s) < 60, "this phone's clock is off indeed"
        file = big(tmp_path, 1)
        there = device.push(file, "")
        told: list[tuple[int, int]] = []
        assert device.push(file, "", lambda done, of: told.append((done, of))) == there
        assert not told, "it is there: nothing is sent"
        with device.lease("me", print) as lease:
            assert lease.held()
            with pytest.raises(TooLong), other.lease("another", give_up):
                pytest.fail("two held the lease at once")
            began = time.monotonic()
            assert works(device)
            left = device.run(["sleep", "300"], on_line=print, limit_s=1)
            assert left.reason.startswith("took longer")
            assert time.monotonic() - began < 60
        with other.lease("another", print) as next_lease:
            assert next_lease.token.count == lease.token.count + 1


# What a hostile phone prints


def test_a_line_without_an_end_is_refused_and_the_run_ended(pixel: Phone) -> None:
    longest = [0]

    def hear(line: str) -> None:
        longest[0] = max(longest[0], len(line))

    left = agent(pixel.profile).run(["cat", "/dev/zero"], on_line=hear, limit_s=120)
    assert "line longer than" in left.reason
    assert longest[0] <= LINE_LIMIT
    assert eventually(lambda: not running(pixel, "cat /dev/zero"))


def test_bytes_that_are_no_text_are_given_and_harm_nothing(pixel: Phone) -> None:
    lines: list[str] = []
    device = agent(pixel.profile)
    left = device.run(["printf", r"\377\376\0\033[2Jx\n{\n"], on_line=lines.append, limit_s=60)
    assert left.code == 0
    assert lines == ["\ufffd\ufffd\0\x1b[2Jx\n", "{\n"]


def test_control_characters_in_a_phones_reasons_reach_no_message(pixel: Phone, tmp_path: Path) -> None:
    pixel.program("sha256sum", r"printf '\033[2Jgotcha\n' >&2; exit 1")
    with pytest.raises(AgentError) as error:
        agent(pixel.profile).push(big(tmp_path, 1), "")
    assert "\x1b" not in str(error.value)


# The lease of a phone


#: A controller that takes the lease and says so.
HOLD = "with agent.lease('the first', print):\n    print('held', flush=True)\n"


class TooLong(Exception):
    pass


def give_up(who: str) -> None:
    raise TooLong(who)


def test_a_second_controller_waits_and_is_told_who_holds_the_phone(pixel: Phone) -> None:
    with controller(pixel, HOLD + "    time.sleep(300)") as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        with pytest.raises(TooLong, match="the first"), agent(pixel.profile).lease("the second", give_up):
            pytest.fail("two held the lease at once")


def test_the_lease_is_free_once_its_controller_was_killed(pixel: Phone) -> None:
    with controller(pixel, HOLD + "    agent.run(['sleep', '471'], on_line=print, limit_s=300)") as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        assert eventually(lambda: running(pixel, "sleep 471"))
    assert leased_within(pixel, 30)
    assert not running(pixel, "sleep 471"), "what ran under the lease is gone before another has it"


def test_the_lease_is_free_once_the_cable_was_pulled(pixel: Phone, cut: Callable[[Phone], None]) -> None:
    device = agent(pixel.profile)
    with back_in(pixel), device.lease("the first", print) as lease:
        cut(pixel)
        assert eventually(lambda: not lease.held())
    assert leased_within(pixel, 30)


def test_the_lease_of_a_phone_that_fell_silent_is_given_up_on_both_sides(pixel: Phone) -> None:
    with agent(pixel.profile).lease("the first", print) as lease:
        pixel.freeze()
        assert eventually(lambda: not lease.held(), SILENCE_S + 5)
        assert eventually(lambda: len(pixel.processes()) <= 2, SILENCE_S + 10), pixel.processes()
        pixel.thaw()
        assert leased_within(pixel, 30)


def leased_within(pixel: Phone, limit_s: float) -> bool:
    until = time.monotonic() + limit_s

    def wait(who: str) -> None:
        if time.monotonic() > until:
            raise TooLong(who)

    with agent(pixel.profile).lease("the next", wait) as lease:
        return lease.held()


@contextmanager
def controller(pixel: Phone, script: str) -> Iterator[subprocess.Popen[str]]:
    """Another controller, which does something with the phone until it is killed."""
    whole = (
        "import sys, time\nfrom agents.adb import AdbAgent\nfrom quantfarm.nouns import DeviceProfile, parameters\n"
        "options = parameters(beat_s=1, silence_s=int(sys.argv[2]))\n"
        "agent = AdbAgent(DeviceProfile(name='phone', kind='adb', address=sys.argv[1], options=options))\n" + script
    )
    command = [sys.executable, "-c", whole, pixel.serial, str(SILENCE_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()
