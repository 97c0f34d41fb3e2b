"""What goes wrong over SSH, each against a real server: said in words, freed in time, gone on with where it can be."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agents import AgentError, Vanished, environments, ssh_transport
from agents.ssh import SshAgent
from tests.ssh.apart import host_apart
from tests.ssh.server import Server, sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with sshd(tmp_path) as made:
        yield made


@pytest.fixture
def device(server: Server) -> Iterator[SshAgent]:
    agent = SshAgent(server.profile)
    yield agent
    agent.close()


def within(seconds: float, happens: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.05)
    return bool(happens())


def gone(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def free(server: Server) -> bool:
    """Whether the device can be leased now, asked on the device itself."""
    locks = [server.leases / f"local.{kind}" for kind in ("lock", "run")]
    return all(subprocess.run(["flock", "-n", lock, "true"], check=False).returncode == 0 for lock in locks)


class Run:
    """A long run in a thread, under a lease: what it printed, and how it ended."""

    def __init__(self, agent: SshAgent) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self.ended = 0.0
        self._agent = agent
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert within(30, lambda: self.lines or self.error), "it did not begin"
        assert not self.error, self.error
        self.pid = int(self.lines[0])

    def _work(self) -> None:
        try:
            with self._agent.lease("the measuring one", print):
                # A process that ignores the end of its stdin: it has to be killed.
                self._agent.run(["sh", "-c", "echo $$; exec sleep 600"], on_line=self.lines.append, limit_s=600)
        except BaseException as error:
            self.error = error
        self.ended = time.monotonic()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)
        assert not self._thread.is_alive(), f"the controller still waits after {within_s} s"


def test_a_connection_that_is_cut_in_a_run_is_a_lost_device_and_frees_it(server: Server, device: SshAgent) -> None:
    """The server is killed: both ends are told at once."""
    run = Run(device)
    server.drop()
    run.join(30)
    assert isinstance(run.error, Vanished), run.error
    assert run.error.retryable
    assert within(10, lambda: gone(run.pid) and free(server))
    lines: list[str] = []
    with device.lease("again", print) as lease:
        assert device.run(["echo", "well"], on_line=lines.append, limit_s=60).code == 0
    assert lines == ["well\n"] and lease.token.count == 2


def test_a_connection_that_falls_silent_in_a_run_is_noticed_on_both_sides(
    server: Server, device: SshAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen as by a cut cable: nothing comes, nobody is told. The device sees no beats, the controller no answer."""
    monkeypatch.setattr(ssh_transport, "ASK_S", 0.5)
    monkeypatch.setattr(ssh_transport, "ANSWER_S", 1.5)
    run = Run(device)
    frozen = [p for p in psutil.Process(server.process.pid).children(recursive=True) if "sshd" in p.name()]
    for process in frozen:
        process.suspend()
    try:
        run.join(20)
        assert isinstance(run.error, Vanished), run.error
        assert within(10, lambda: gone(run.pid) and free(server)), "3 s of silence and 2 of grace"
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.Error):
                process.resume()


@pytest.mark.timeout(240)
def test_a_pulled_cable_frees_the_device_within_ninety_seconds(tmp_path: Path) -> None:
    """The real thing at the farm's own times: packets are lost on the way between two hosts."""
    with host_apart(tmp_path) as (server, cable):
        agent = SshAgent(server.with_options(beat_s=10, silence_s=60))
        run = Run(agent)
        time.sleep(1)
        pulled = time.monotonic()
        cable.pull()
        run.join(40)
        assert isinstance(run.error, Vanished), run.error
        assert run.ended - pulled <= 30, "the controller knows within 30 s"
        assert not gone(run.pid), "and the device does not, yet"
        assert within(90 - (time.monotonic() - pulled), lambda: gone(run.pid) and free(server))
        cable.plug()
        with agent.lease("again", print) as lease:
            assert lease.token.count == 2
        agent.close()


def test_a_push_that_is_cut_off_is_gone_on_with(server: Server, device: SshAgent, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(2**20) * 64)
    told: list[int] = []

    def cut(done: int, of: int) -> None:
        told.append(done)
        if done > of // 3:
            server.drop()

    with pytest.raises(Vanished) as said:
        device.push(file, "", cut)
    assert (said.value.stage, said.value.retryable) == ("push", True)
    again: list[int] = []
    there = Path(device.push(file, "", lambda done, _: again.append(done)))
    assert there.read_bytes() == file.read_bytes()
    assert again[0] >= told[-1], "what the device had confirmed was not sent again"
    assert not list(there.parent.glob(".*.part"))


def test_a_cable_pulled_in_a_push_costs_what_was_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_transport, "ASK_S", 0.5)
    monkeypatch.setattr(ssh_transport, "ANSWER_S", 1.5)
    file = tmp_path / "model"
    file.write_bytes(os.urandom(2**20) * 64)
    told: list[int] = []
    with host_apart(tmp_path) as (server, cable):
        agent = SshAgent(server.profile)

        def cut(done: int, of: int) -> None:
            told.append(done)
            if done > of // 3:
                cable.pull()

        with pytest.raises(Vanished):
            agent.push(file, "", cut)
        cable.plug()
        again: list[int] = []
        there = Path(agent.push(file, "", lambda done, _: again.append(done)))
        assert there.read_bytes() == file.read_bytes()
        assert again[0] >= told[-1] > 2**20
        agent.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    if os.getuid() != 0:
        pytest.skip("only root mounts a small disk")
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", place], check=False).returncode:
        pytest.skip("this machine mounts nothing")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_device_says_what_is_needed_and_what_is_free(server: Server, small: Path, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(10 * 2**20))
    agent = SshAgent(server.with_options(folder=str(small)))
    try:
        with pytest.raises(AgentError, match=r"is full: 10\.0 MiB are needed in \S* and 8\.0 MiB are free") as said:
            agent.push(file, "")
    finally:
        agent.close()
    assert (said.value.stage, said.value.retryable) == ("push", False)
    assert not [path for path in small.rglob("*") if path.is_file()]


def test_a_device_that_fills_up_in_the_middle_keeps_no_half_file(server: Server, small: Path, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(6 * 2**20))
    agent = SshAgent(server.with_options(folder=str(small)))
    try:
        agent.push(Path(__file__), "")
        # Room enough when it is asked, and none a moment later.
        transport = agent.transport()
        send = transport.send

        def fill_first(*arguments: object) -> None:
            (small / "somebody's").write_bytes(b"x" * 5 * 2**20)
            send(*arguments)  # type: ignore[arg-type]

        transport.send = fill_first  # type: ignore[method-assign]
        with pytest.raises(AgentError, match=r"is full: 6\.0 MiB are needed") as said:
            agent.push(file, "")
    finally:
        agent.close()
    assert not said.value.retryable
    assert not list(small.rglob("*model*"))


def test_a_device_without_python_says_so_and_what_else_there_is(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "mkdir", "cat", "sleep", "kill", "rm", "setsid", "flock", "chmod"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    # A login shell's profile could bring Python back: this user has none.
    with sshd(tmp_path, lines=f"SetEnv PATH={tools} HOME={tmp_path} BASH_ENV=/dev/null") as server:
        agent = SshAgent(server.profile)
        try:
            with pytest.raises(AgentError, match=r"no Python 3\.9 or newer.*llama_bench") as said:
                environments.environment(agent, ["llama-cpp-python"], folder=agent.folder)
        finally:
            agent.close()
    assert (said.value.stage, said.value.retryable) == ("environment", False)


def test_a_runner_that_crashes_is_told_from_a_device_that_went_away(device: SshAgent) -> None:
    lines: list[str] = []
    left = device.run(["sh", "-c", "echo '{'; echo why >&2; kill -SEGV $$"], on_line=lines.append, limit_s=60)
    assert (left.code, lines) == (-signal.SIGSEGV, ["{\n"])
    assert "why" in left.stderr


def test_nothing_in_a_devices_answer_is_executed(server: Server, device: SshAgent, tmp_path: Path) -> None:
    """A device that answers with shell text where a path, a number or a digest belongs."""
    trap = tmp_path / "sprung"
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("openssl", "df", "wc"):
        (evil / name).write_text(f"#!/bin/sh\necho '$(touch {trap})'; echo '`touch {trap}`; touch {trap}'\n")
        (evil / name).chmod(0o755)
    file = tmp_path / "$(touch sprung)"
    file.write_text("x")
    with sshd(
        tmp_path, "evil-host", lines=f"SetEnv PATH={evil}:/usr/bin:/bin BASH_ENV=/dev/null HOME={tmp_path}"
    ) as host:
        agent = SshAgent(host.profile)
        try:
            with pytest.raises(AgentError):
                agent.push(file, "")
            with pytest.raises(AgentError):
                agent.pull(str(file), tmp_path / "back")
        finally:
            agent.close()
    assert not trap.exists()
    assert not (tmp_path / "back").exists()


def test_a_forged_end_and_hostile_bytes_are_lines_like_any_other(device: SshAgent) -> None:
    lines: list[str] = []
    script = r"printf '%s 0\n' 0123456789abcdef0123456789abcdef; printf '\033]0;x\007\377\n'; exit 5"
    left = device.run(["sh", "-c", script], on_line=lines.append, limit_s=60)
    assert left.code == 5
    assert lines == ["0123456789abcdef0123456789abcdef 0\n", "\x1b]0;x\x07\ufffd\n"]


def test_a_huge_line_over_the_wire_is_refused(device: SshAgent) -> None:
    began = time.monotonic()
    left = device.run(["sh", "-c", "cat /dev/zero"], on_line=print, limit_s=300)
    assert left.reason == "printed a line longer than 32 MiB"
    assert time.monotonic() - began < 60


def test_two_controllers_the_second_waits_and_is_told_the_firsts_name(server: Server, device: SshAgent) -> None:
    second = SshAgent(server.profile)
    told: list[str] = []
    try:
        with contextlib.ExitStack() as first:
            lease = first.enter_context(device.lease("controller-1", print))
            threading.Timer(2.5, first.close).start()
            with second.lease("controller-2", told.append) as other:
                assert other.token.count == lease.token.count + 1
                assert not lease.held()
        assert told and all(who.startswith("controller-1 (process ") for who in told)
    finally:
        second.close()


def test_kill_9_of_the_remote_keeper_frees_the_device_and_is_noticed(server: Server, device: SshAgent) -> None:
    with device.lease("me", print) as lease:
        keeper = int((server.leases / "local.lock").read_text().split('"pid": ')[1].split(",")[0])
        os.kill(keeper, signal.SIGKILL)
        assert within(5, lambda: free(server))
        assert within(10, lambda: not lease.held())
