"""Agents over a POSIX shell: runs that end with their controller, leases that die with their holder, files by digest.

The shells are real ones, those of the devices that the farm reaches, each with the few programs that such a device has.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from agents import AgentError, Exit, Lease, Vanished, leases, scripts, shell_run
from agents.shell_run import code
from tests.ssh.toolbox import LOCKERS, SHELLS, HereAgent, program, toolbox


@pytest.fixture(params=SHELLS)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HereAgent]:
    """One device for each shell."""
    yield from made(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[HereAgent]:
    """One device where the shell makes no difference."""
    yield from made(tmp_path, "dash")


def made(home: Path, shell: str, **more: str) -> Iterator[HereAgent]:
    agent = HereAgent(home, toolbox(home / "bin", shell, **more))
    yield agent
    for channel in agent.here.channels:
        channel.close()
    for process in on_device(agent):
        with contextlib.suppress(psutil.Error):
            process.kill()


def on_device(agent: HereAgent) -> list[psutil.Process]:
    """Every process that a device's shells left, by what stands in its environment."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("QUANTFARM_LEASES") == str(agent.leases) and process.pid != os.getpid():
                found.append(process)
    return found


def run(agent: HereAgent, *command: str, limit_s: float = 30) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    return agent.run(command, on_line=lines.append, limit_s=limit_s), lines


def within(seconds: float, happens: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.05)
    return bool(happens())


def gone(pid: int, within_s: float = 5) -> bool:
    return within(within_s, lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


# ------------------------------------------------------------------ runs


def test_a_command_gets_its_arguments_as_they_are_and_gives_its_lines_and_status(device: HereAgent) -> None:
    nasty = ["a b", "", "it's", '"q"', "$(touch /tmp/no)", "`id`", "back\\slash\\n", "two\nlines", "*", "-n", "ü→"]
    left, lines = run(device, "printf", "%s|", *nasty)
    assert left == Exit(code=0)
    assert "".join(lines) == "|".join(nasty) + "|"
    left, lines = run(device, "sh", "-c", "echo a; echo b; echo last words >&2; exit 3")
    assert (left.code, lines, left.stderr) == (3, ["a\n", "b\n"], "last words\n")


def test_arguments_of_a_hundred_kilobytes_arrive(device: HereAgent) -> None:
    left, lines = run(device, "printf", "%s", "x" * 100_000)
    assert (left.code, len(lines[0])) == (0, 100_000)


def test_an_argument_with_a_nul_character_is_refused(plain: HereAgent) -> None:
    with pytest.raises(AgentError, match="NUL"):
        run(plain, "echo", "a\0b")


def test_a_signal_is_a_negative_status_and_a_missing_program_127(device: HereAgent) -> None:
    assert run(device, "sh", "-c", "kill -9 $$")[0].code == -9
    assert run(device, "sh", "-c", "kill -11 $$")[0].code == -11
    assert run(device, "no-such-program")[0].code == 127
    assert code(255) == 255


def test_it_is_ended_at_its_limit_with_all_that_it_started(device: HereAgent) -> None:
    left, lines = run(device, "sh", "-c", "sleep 99 & echo $!; sleep 98", limit_s=1)
    assert left.reason == "took longer than its limit of 1 s"
    assert gone(int(lines[0]))


def test_what_a_run_that_ended_well_left_behind_is_ended_too(device: HereAgent) -> None:
    left, lines = run(device, "sh", "-c", "sleep 99 >/dev/null 2>&1 & echo $!")
    assert left == Exit(code=0)
    assert gone(int(lines[0]))


def test_without_setsid_a_shell_with_job_control_ends_all_as_well(tmp_path: Path) -> None:
    """A Mac: bash, and no setsid."""
    for agent in made(tmp_path, "bash", has="perl"):
        left, lines = run(agent, "sh", "-c", "sleep 99 & echo $!; sleep 98", limit_s=1)
        assert left.reason
        assert gone(int(lines[0]))


def test_its_stdin_stays_open_and_closes_when_it_must_end(device: HereAgent) -> None:
    left, lines = run(device, "sh", "-c", "cat; echo closed", limit_s=1)
    assert left.reason
    assert (left.code, lines) == (0, ["closed\n"])


def test_the_device_ends_a_run_whose_controller_says_nothing_any_more(tmp_path: Path, device: HereAgent) -> None:
    device.beat_s = 99
    began = time.monotonic()
    left, _ = run(device, "sleep", "99")
    assert left.code == -9, "two seconds of silence, two of grace"
    assert time.monotonic() - began < 10


def test_a_run_lives_on_while_its_controller_beats(device: HereAgent) -> None:
    assert run(device, "sleep", "3")[0] == Exit(code=0), "longer than it may hear nothing"


def test_nothing_of_the_keeper_stays_when_a_run_is_over(device: HereAgent) -> None:
    run(device, "true")
    assert within(5, lambda: not on_device(device)), on_device(device)


def test_a_controller_that_dies_leaves_nothing(plain: HereAgent) -> None:
    """Its connection breaks: the shell's stdin closes without a word."""
    lines: list[str] = []
    thread = threading.Thread(target=lambda: swallow(lambda: run_into(plain, lines, "sh", "-c", "echo $$; sleep 99")))
    thread.start()
    assert within(10, lambda: lines)
    plain.here.channels[0].process.stdin.close()  # type: ignore[union-attr]
    assert gone(int(lines[0]), 10)
    thread.join(20)
    assert not thread.is_alive()


def run_into(agent: HereAgent, lines: list[str], *command: str) -> None:
    agent.run(command, on_line=lines.append, limit_s=60)


def swallow(work: Callable[[], object]) -> None:
    with contextlib.suppress(AgentError):
        work()


def test_no_end_mark_is_a_device_that_vanished_whatever_was_printed(plain: HereAgent) -> None:
    """The keeper is killed: its client's exit status says nothing, and a forged mark is a line like any other."""
    lines: list[str] = []
    killer = f"echo {'0' * 32} 0; kill -9 -$(($(ps -o pgid= -p $PPID)))"
    with pytest.raises(Vanished, match="never seen"):
        plain.run(["sh", "-c", killer], on_line=lines.append, limit_s=20)
    assert lines == [f"{'0' * 32} 0\n"]


def test_a_script_that_is_cut_off_on_its_way_is_not_begun(device: HereAgent, tmp_path: Path) -> None:
    text = scripts.script("run", ["touch", str(tmp_path / "begun")], {"mark": "m", "silence": 2, "grace": 1})
    for part in (text[: len(text) // 2], text[:-2], text[: text.index(b"\n") + 1]):
        channel = device.here.start(scripts.COMMAND)
        channel.write(part)
        channel.end()
        assert channel.read() == b""
    assert not (tmp_path / "begun").exists()


def test_what_a_login_shell_prints_first_is_not_the_commands(tmp_path: Path) -> None:
    agent = HereAgent(tmp_path, toolbox(tmp_path / "bin"), before="echo Welcome; printf 'last login: today'; ")
    assert run(agent, "echo", "mine") == (Exit(code=0), ["mine\n"])
    with agent.lease("me", print) as lease:
        assert lease.token.count == 1


@pytest.mark.parametrize("shell", ["csh", "fish"])
def test_the_command_line_is_one_that_other_login_shells_hand_on_unchanged(shell: str) -> None:
    """Neither is here to be asked: no newline, no ! and no apostrophe within the quotes is what they need."""
    quoted = scripts.COMMAND.split("'")
    assert len(quoted) == 3 and not quoted[2]
    assert not re.search(r"[!\n]|\\'|\\\\", quoted[1])


# ------------------------------------------------------------------ hostile output


def test_a_line_without_end_is_refused_and_the_run_ended(plain: HereAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_run, "LINE_LIMIT", 2**20)
    began = time.monotonic()
    left, lines = run(plain, "sh", "-c", "cat /dev/zero", limit_s=60)
    assert "printed a line longer than" in left.reason
    assert not lines
    assert time.monotonic() - began < 20


def test_sixty_four_megabytes_in_one_line_are_refused_by_the_real_limit(plain: HereAgent) -> None:
    left, lines = run(plain, "sh", "-c", "head -c 67108864 /dev/zero; echo; echo after; cat", limit_s=60)
    assert left.reason == "printed a line longer than 32 MiB"
    assert not lines


def test_many_bytes_in_many_lines_are_no_trouble(plain: HereAgent) -> None:
    left, lines = run(plain, sys.executable, "-c", "print(('x' * 99 + '\\n') * 100_000, end='')")
    assert (left.code, len(lines), sum(map(len, lines))) == (0, 100_000, 10_000_000)


def test_control_characters_and_broken_utf_8_arrive_as_text_that_no_reader_takes_for_an_event(
    plain: HereAgent,
) -> None:
    left, lines = run(plain, "printf", r"\033[2J\001{\377\376\n\r\n")
    assert left.code == 0
    assert lines == ["\x1b[2J\x01{\ufffd\ufffd\n", "\r\n"]


def test_of_stderr_only_the_last_lines_are_kept(plain: HereAgent) -> None:
    left, _ = run(plain, sys.executable, "-c", "import sys; sys.stderr.write('y' * 5_000_000 + '\\n' + 'z\\n' * 9999)")
    assert left.stderr.endswith("z\n")
    assert len(left.stderr) < 1000


# ------------------------------------------------------------------ leases


def local(agent: HereAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `agents.leases` one of the controllers of this device."""
    monkeypatch.setenv("QUANTFARM_LEASES", str(agent.leases))


def give_up(who: str) -> None:
    raise TimeoutError(who)


def take(agent: HereAgent, holder: str = "me") -> contextlib.AbstractContextManager[Lease]:
    return agent.lease(holder, give_up)


@pytest.mark.parametrize("locker", LOCKERS)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_lease_is_for_one_over_the_shell_and_here_alike(
    shell: str, locker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every shell with everything that can lock; `agents.leases` is the controller on the device itself."""
    for agent in made(tmp_path, shell, has=f"setsid {locker}"):
        local(agent, monkeypatch)
        with take(agent, 'the "first" \\n ü') as first:
            assert first.held()
            with pytest.raises(TimeoutError, match=r'the "first" \\n ü \(process \d+, since 20'), take(agent):
                pass
            with pytest.raises(TimeoutError, match=r'the "first" \\n ü \(process'), leases.lease("local", "x", give_up):
                pass
        with leases.lease("local", "somebody here", print) as second:
            assert second.token.lineage == first.token.lineage
            assert second.token.count == first.token.count + 1
            with pytest.raises(TimeoutError, match=f"somebody here \\(process {os.getpid()}, since"), take(agent):
                pass
        with take(agent) as third:
            assert third.token.count == second.token.count + 1
        assert stat.S_IMODE(agent.leases.stat().st_mode) == 0o1777
        assert stat.S_IMODE((agent.leases / "local.lock").stat().st_mode) == 0o666


def test_a_lease_that_was_given_back_is_not_held(plain: HereAgent) -> None:
    with take(plain) as lease:
        assert lease.held()
    assert not lease.held()
    assert within(3, lambda: not on_device(plain))


def test_the_second_waits_is_told_the_firsts_name_each_second_and_then_has_it(device: HereAgent) -> None:
    told: list[tuple[float, str]] = []
    began = time.monotonic()
    with contextlib.ExitStack() as first:
        first.enter_context(take(device, "controller-1"))
        threading.Timer(2.5, first.close).start()
        with device.lease("controller-2", lambda who: told.append((time.monotonic() - began, who))) as second:
            assert second.held()
        assert all(who.startswith("controller-1 (process ") for _, who in told)
        assert 2 <= len(told) <= 4, told


@pytest.mark.parametrize("locker", LOCKERS)
@pytest.mark.parametrize("shell", SHELLS)
def test_kill_9_of_the_keeper_frees_the_device(shell: str, locker: str, tmp_path: Path) -> None:
    for agent in made(tmp_path, shell, has=f"setsid {locker}"):
        with take(agent) as lease:
            keeper = int(re.findall(r'"pid": (\d+)', (agent.leases / "local.lock").read_text())[0])
            os.kill(keeper, signal.SIGKILL)
            assert within(3, partial(free, agent)), "something else held the lock too"
            agent.here.channels[0].end()
            assert within(5, partial(lost, lease))


def lost(lease: Lease) -> bool:
    return not lease.held()


def free(agent: HereAgent) -> bool:
    """Whether nobody holds the lock now, asked the system itself."""
    return subprocess.run(["flock", "-n", agent.leases / "local.lock", "true"], check=False).returncode == 0


def test_a_device_that_hears_nothing_frees_itself_and_we_know_before_it_does(device: HereAgent) -> None:
    with take(device) as lease:
        lease._beat_s = 99  # type: ignore[attr-defined] # from the next beat on
        assert within(10, lambda: not lease.held())
        ours = time.monotonic()
        assert within(10, lambda: free(device))
        assert time.monotonic() - ours >= -0.3


def test_a_lease_lives_on_while_its_controller_beats(device: HereAgent) -> None:
    with take(device) as lease:
        time.sleep(3.5)
        assert lease.held() and not free(device)


def test_a_keeper_that_does_not_answer_is_not_trusted(plain: HereAgent) -> None:
    with take(plain) as lease:
        for process in on_device(plain):
            process.suspend()
        try:
            assert within(30, lambda: not lease.held())
        finally:
            for process in on_device(plain):
                process.resume()


def test_who_gives_up_waiting_leaves_nothing_on_the_device(plain: HereAgent) -> None:
    with take(plain, "first"):
        before = {process.pid for process in on_device(plain)}
        with pytest.raises(TimeoutError), take(plain, "second"):
            pass
        # The keeper's sleeps come and go: what counts is that the second's shells are gone.
        assert within(5, lambda: not {p.pid for p in on_device(plain) if "sleep" not in p.name()} - before)
    with take(plain, "third") as third:
        assert third.token.count == 2, "the second never had it"


def test_a_lease_begins_only_when_the_last_run_is_really_gone(device: HereAgent) -> None:
    """Also what left the run's own session, and so outlives its end, is something that runs."""
    left, lines = run(device, "sh", "-c", "setsid sleep 3 >/dev/null 2>&1 & echo $!; sleep 0.5")
    assert left.code == 0
    told: list[str] = []
    with device.lease("next", told.append):
        assert gone(int(lines[0]), 0.2)
    assert told and set(told) == {"a run that is coming to its end"}


def test_runs_beside_each_other_do_not_wait_for_each_other(device: HereAgent) -> None:
    first = threading.Thread(target=run, args=(device, "sleep", "3"))
    first.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert run(device, "true")[0].code == 0
    assert time.monotonic() - began < 2
    first.join()


def test_a_device_where_nothing_can_lock_says_so_but_can_be_looked_at(tmp_path: Path) -> None:
    for agent in made(tmp_path, "dash", has="setsid"):
        assert run(agent, "echo", "here")[1] == ["here\n"]
        with pytest.raises(AgentError, match="no flock, perl or python3 here") as said, take(agent):
            pass
        assert (said.value.stage, said.value.retryable) == ("lease", False)


def test_a_folder_of_leases_that_is_a_link_is_refused(plain: HereAgent, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    plain.leases.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AgentError, match="no folder of its own"), take(plain):
        pass


@pytest.mark.parametrize("found", ["", "rubbish", "; rm -rf / 5\n", "abc 99x\n", "abc 0x10\n", "a" * 70 + " 3\nx\n"])
def test_a_lease_file_with_rubbish_begins_a_new_lineage(found: str, device: HereAgent) -> None:
    device.leases.mkdir()
    (device.leases / "local.lock").write_text(found)
    with take(device) as lease:
        assert re.fullmatch("[0-9a-f]{16}", lease.token.lineage)
        assert lease.token.count == 1


@pytest.mark.parametrize("note", ["", "no json", '{"holder": 1}', '["a"]', "\x1b[2J" * 10])
def test_a_holders_note_that_is_rubbish_is_an_unknown_process(
    note: str, plain: HereAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    local(plain, monkeypatch)
    with leases.lease("local", "x", print) as held:
        os.ftruncate(held.fd, 0)
        os.pwrite(held.fd, f"{held.token.lineage} 1\n{note}\n".encode(), 0)
        with pytest.raises(TimeoutError, match="an unknown process"), take(plain):
            pass


def test_a_lease_file_of_another_user_is_locked_and_written(plain: HereAgent) -> None:
    """Linux lets nobody create over another's file in a shared folder, and `>` asks for that."""
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    plain.leases.mkdir()
    plain.leases.chmod(0o1777)
    for name in ("local.lock", "local.run"):
        (plain.leases / name).write_text("")
        (plain.leases / name).chmod(0o666)
        os.chown(plain.leases / name, 12345, 12345)
    with take(plain) as first:
        assert first.token.count == 1
    with take(plain) as second:
        assert second.token.count == 2


def test_a_note_that_is_shorter_than_the_last_is_read_as_it_was_written(
    device: HereAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written over, never emptied first: a keeper killed in between keeps the lineage."""
    local(device, monkeypatch)
    with take(device, "a name that is long " * 20):
        pass
    with take(device, "short") as lease:
        assert lease.token.count == 2
        assert leases.holder_of("local").startswith("short (process ")
    with leases.lease("local", "here", print) as here:
        assert here.token.count == 3


# ------------------------------------------------------------------ files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's $(a)\n`model`.gguf"
    path.write_bytes(os.urandom(300_000))
    return path


def test_a_file_is_sent_once_and_lies_by_its_digest(device: HereAgent, file: Path) -> None:
    digest = (
        subprocess.run(["sha256sum"], input=file.read_bytes(), capture_output=True, check=True).stdout[:64].decode()
    )
    told: list[tuple[int, int]] = []
    for _ in range(3):
        there = device.push(file, "", lambda *done: told.append(done))
        assert there == f"{device.folder}/files/{digest}/{file.name}"
    assert Path(there).read_bytes() == file.read_bytes()
    assert device.here.sent == [(0, 300_000)]
    assert told == [(300_000, 300_000)]


def test_a_file_that_was_changed_on_the_device_is_sent_again(device: HereAgent, file: Path) -> None:
    there = Path(device.push(file, ""))
    there.write_bytes(b"x" * 300_000)
    os.utime(there, (time.time() + 5, time.time() + 5))
    assert Path(device.push(file, "")).read_bytes() == file.read_bytes()
    there.write_bytes(file.read_bytes()[:100])
    assert Path(device.push(file, "")).read_bytes() == file.read_bytes()
    assert len(device.here.sent) == 3


def test_a_file_that_came_in_part_is_gone_on_with(device: HereAgent, file: Path) -> None:
    there = Path(device.push(file, ""))
    there.rename(there.with_name(f".{there.name}.part"))
    os.truncate(there.with_name(f".{there.name}.part"), 100_000)
    assert Path(device.push(file, "")).read_bytes() == file.read_bytes()
    assert device.here.sent[1:] == [(100_000, 300_000)]


def test_what_arrived_damaged_is_thrown_away_and_never_has_the_name(device: HereAgent, file: Path) -> None:
    there = Path(device.push(file, ""))
    there.unlink()
    part = there.with_name(f".{there.name}.part")
    part.write_bytes(b"wrong" * 100)
    with pytest.raises(AgentError, match="damaged") as said:
        device.push(file, "")
    assert (said.value.stage, said.value.retryable) == ("push", True)
    assert not there.exists() and not part.exists()
    assert Path(device.push(file, "")).read_bytes() == file.read_bytes()


def test_what_is_executable_here_is_so_there(device: HereAgent, file: Path) -> None:
    assert not Path(device.push(file, "")).stat().st_mode & 0o111
    file.chmod(0o755)
    assert Path(device.push(file, "")).stat().st_mode & 0o111
    assert len(device.here.sent) == 1


@pytest.mark.parametrize("tool", ["openssl", "sha256sum", "shasum", "toybox"])
def test_any_tool_that_computes_digests_will_do(tool: str, tmp_path: Path, file: Path) -> None:
    for agent in made(tmp_path / "device", "dash", has="setsid flock perl"):
        tools = tmp_path / "device" / "bin"
        for other in ("openssl", "sha256sum"):
            (tools / other).unlink()
        (tools / tool).symlink_to(program(tool))
        assert Path(agent.push(file, "")).read_bytes() == file.read_bytes()


def test_without_one_it_is_said(tmp_path: Path, file: Path) -> None:
    for agent in made(tmp_path / "device", "dash"):
        for other in ("openssl", "sha256sum"):
            (tmp_path / "device" / "bin" / other).unlink()
        with pytest.raises(AgentError, match="no openssl, sha256sum, shasum or toybox here"):
            agent.push(file, "")


def test_a_device_without_room_says_what_is_needed_and_what_is_free(plain: HereAgent, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(2**43)  # bytes, of which none lies on this disk
    with pytest.raises(AgentError, match=r"shell-here is full: 8388608.0 MiB are needed .* MiB are free") as said:
        plain.push(tmp_path / "huge", "0" * 64)
    assert (said.value.stage, said.value.retryable) == ("push", False)
    assert not plain.here.sent


@pytest.mark.parametrize("sha256", ["x", "../../etc", "A" * 64, "0" * 63 + ";"])
def test_a_digest_that_is_none_goes_nowhere(sha256: str, plain: HereAgent, file: Path) -> None:
    with pytest.raises(AgentError, match="no sha256"):
        plain.push(file, sha256)


def test_a_file_is_pulled_whole_or_not_at_all(device: HereAgent, file: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    device.pull(str(file), tmp_path / "to" / "copy")
    assert (tmp_path / "to" / "copy").read_bytes() == file.read_bytes()
    with pytest.raises(AgentError, match="no such file") as said:
        device.pull("/nowhere", tmp_path / "to" / "nothing")
    assert said.value.stage == "pull"
    device.here.fetch = lambda _, to: to.write_bytes(file.read_bytes()[:-1])  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="damaged"):
        device.pull(str(file), tmp_path / "to" / "half")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["copy"]


def test_the_scripts_are_shell_that_a_checker_of_posix_shell_accepts() -> None:
    """`dash -n` reads them all; the bash 3.2 of a Mac has no more than POSIX in common with it."""
    for name in ("run", "lease", "files", "environment"):
        text = scripts.whole(name)
        assert subprocess.run(["dash", "-n"], input=text.encode(), check=False).returncode == 0
        assert not re.search(r"\[\[|\blocal\b \w|<<<|\bfunction\b|\$\{\w+//|&>|\bdeclare\b", text)
    assert shutil.which("dash")
