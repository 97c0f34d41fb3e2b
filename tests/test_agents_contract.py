"""What every agent keeps, whatever lies between it and its device: the same suite over all real kinds."""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from agents import TABLE, Agent, Vanished, agent
from quantfarm.nouns import DeviceProfile

#: Each kind's devices, as tests/… makes them: a context manager that yields something with a `profile`.
MAKERS: dict[str, str] = {
    "local": "tests.devices:here",
    "ssh": "tests.devices:ssh",
    "adb": "tests.devices:phone",
    "ray": "tests.devices:ray_node",
}
#: Answers only what a runner would be asked: it has tests of its own.
SCRIPTED = {"fake"}


def test_every_kind_in_the_table_is_held_to_the_contract() -> None:
    assert set(TABLE) == set(MAKERS) | SCRIPTED


@pytest.fixture(scope="module", params=sorted(MAKERS))
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProfile]:
    module, _, name = MAKERS[request.param].partition(":")
    make: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[DeviceProfile]]
    make = getattr(importlib.import_module(module), name)
    with make(request, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture
def device(profile: DeviceProfile) -> Iterator[Agent]:
    reached = agent(profile)
    yield reached
    reached.close()


def run(device: Agent, script: str, *arguments: str, limit_s: float = 60) -> tuple[int, list[str]]:
    lines: list[str] = []
    left = device.run(["sh", "-c", script, "sh", *arguments], on_line=lines.append, limit_s=limit_s)
    assert not left.reason, left
    return left.code, [line.rstrip("\n") for line in lines]


def test_lines_come_in_order_and_the_commands_own_status_with_them(device: Agent) -> None:
    code, lines = run(device, "echo one; echo; echo three; exit 7")
    assert (code, lines) == (7, ["one", "", "three"])


def test_a_last_line_without_a_newline_is_a_line(device: Agent) -> None:
    assert run(device, "printf 'half a line'") == (0, ["half a line"])


def test_arguments_arrive_as_they_are(device: Agent) -> None:
    nasty = ["a b", "", "$(echo no)", "`id`", "it's", '"quoted"', "back\\slash", "a;b|c&d", "*", "tab\there", "ü→"]
    code, lines = run(device, 'for a in "$@"; do printf "[%s]\n" "$a"; done', *nasty)
    assert (code, lines) == (0, [f"[{word}]" for word in nasty])


def test_what_it_said_on_stderr_is_kept_apart(device: Agent) -> None:
    lines: list[str] = []
    left = device.run(["sh", "-c", "echo out; echo last words >&2; exit 1"], on_line=lines.append, limit_s=60)
    assert [line.strip() for line in lines] == ["out"]
    assert left.stderr.strip().endswith("last words")


def test_a_killed_command_is_told_from_one_that_ended(device: Agent) -> None:
    code, _ = run(device, "kill -9 $$")
    assert code in (-9, 137)


def test_a_command_that_is_not_there_is_an_exit_status_not_a_lost_device(device: Agent) -> None:
    try:
        left = device.run(["/nowhere/at-all"], on_line=print, limit_s=60)
    except FileNotFoundError:
        pytest.fail("a missing program must be told as an exit status")
    assert left.code != 0


def test_it_ends_at_its_limit_with_all_it_started(device: Agent) -> None:
    lines: list[str] = []
    began = time.monotonic()
    left = device.run(["sh", "-c", "echo $$; sleep 300 & sleep 300"], on_line=lines.append, limit_s=2)
    assert left.reason == "took longer than its limit of 2 s"
    assert time.monotonic() - began < 60
    assert not _alive(device, int(lines[0]))


def test_it_ends_soon_after_a_stop_is_asked_for(device: Agent) -> None:
    lines: list[str] = []
    command = ["sh", "-c", "echo up; sleep 300"]
    left = device.run(command, on_line=lines.append, limit_s=300, stopped=lambda: bool(lines))
    assert left.reason == "stopped on request"


def test_two_run_at_once(device: Agent) -> None:
    """The sensors' shell beside the measured run."""
    beside: list[str] = []
    stop = threading.Event()
    script = "while :; do echo tick; sleep 1; done"
    thread = threading.Thread(
        target=device.run,
        args=(["sh", "-c", script],),
        kwargs={"on_line": beside.append, "limit_s": 60, "stopped": stop.is_set},
    )
    thread.start()
    try:
        assert run(device, "sleep 3; echo done") == (0, ["done"])
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert len(beside) >= 2


def test_a_file_is_sent_once_by_its_digest_and_arrives_whole(device: Agent, tmp_path: Path) -> None:
    file = tmp_path / "it's a model.gguf"
    file.write_bytes(os.urandom(3 * 2**20 + 17))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    there = device.push(file, digest)
    assert run(device, 'sha256sum < "$1"', there)[1][0].split()[0] == digest
    told: list[tuple[int, int]] = []
    assert device.push(file, digest, lambda done, of: told.append((done, of))) == there
    assert all(done == of for done, of in told), "it was there: nothing is sent"
    back = tmp_path / "back"
    device.pull(there, back)
    assert back.read_bytes() == file.read_bytes()


def test_what_is_executable_here_is_so_there(device: Agent, tmp_path: Path) -> None:
    program = tmp_path / "program.sh"
    program.write_text("#!/bin/sh\necho ran\n" if os.name else "")
    program.chmod(0o755)
    there = device.push(program, "")
    assert run(device, 'test -x "$1" && sh "$1"', there) == (0, ["ran"])


def test_pulling_what_is_not_there_leaves_nothing_here(device: Agent, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        device.pull("/nowhere/at-all", tmp_path / "back")
    assert not list(tmp_path.iterdir())


def test_it_says_what_the_device_is(device: Agent) -> None:
    facts = device.probe()
    assert facts["cores"] >= 1
    assert facts["memory_mib"] > 100
    assert facts["os"] and facts["chip"]


def test_a_lease_is_for_one_at_a_time_and_each_has_a_greater_token(device: Agent, profile: DeviceProfile) -> None:
    other = agent(profile)
    waits: list[str] = []

    class GaveUp(Exception):
        pass

    def give_up(who: str) -> None:
        waits.append(who)
        raise GaveUp

    try:
        with device.lease("the first", print) as first:
            assert first.held()
            with pytest.raises(GaveUp), other.lease("the second", give_up):
                pytest.fail("two held the lease at once")
        with other.lease("the second", print) as second:
            assert second.token.lineage == first.token.lineage
            assert second.token.count > first.token.count
        assert not first.held() or profile.kind == "local"
    finally:
        other.close()
    assert waits and "the first" in waits[0]


def test_an_end_mark_of_its_own_cannot_be_forged(device: Agent) -> None:
    """A command that prints what looks like an end is still running."""
    code, lines = run(
        device, 'echo \'{"event":"end","ok":true}\'; printf \'\\036end 0\\n\'; sleep 1; echo after; exit 5'
    )
    assert code == 5
    assert lines[-1] == "after"


def _alive(device: Agent, pid: int) -> bool:
    try:
        return run(device, 'kill -0 "$1" 2>/dev/null && ! grep -q "State:.Z" "/proc/$1/status"', str(pid))[0] == 0
    except Vanished:
        return True
