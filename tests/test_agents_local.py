"""The local agent: lines as they come, one limit, one lifeline, and nothing left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from agents import Exit, leases
from agents.local import LINE_LIMIT, LocalAgent
from quantfarm.nouns import DeviceProfile


def local() -> LocalAgent:
    return LocalAgent(DeviceProfile(name="local"))


def run(code: str, limit_s: float = 60) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    left = local().run([sys.executable, "-c", textwrap.dedent(code)], on_line=lines.append, limit_s=limit_s)
    return left, lines


def gone(pid: int, within_s: float = 20) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_lines_come_as_they_were_printed_and_the_status_with_them() -> None:
    left, lines = run("print('a'); print('b'); raise SystemExit(3)")
    assert [line.strip() for line in lines] == ["a", "b"]
    assert left.code == 3
    assert left.reason == ""


def test_the_last_words_on_stderr_are_kept_and_no_more() -> None:
    left, _ = run("import sys\nfor i in range(10_000): print(i, file=sys.stderr)")
    assert left.stderr.splitlines()[-1] == "9999"
    assert len(left.stderr) < 1000


def test_a_run_that_hangs_is_ended_at_its_limit_with_all_it_started() -> None:
    left, lines = run(
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, flush=True)
        time.sleep(600)
        """,
        limit_s=2,
    )
    assert left.reason == "took longer than its limit of 2 s"
    assert gone(int(lines[0]))


def test_a_run_is_ended_soon_after_a_stop_is_asked_for() -> None:
    lines: list[str] = []
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    left = local().run(command, on_line=lines.append, limit_s=600, stopped=lambda: bool(lines))
    assert left.reason == "stopped on request"


def test_a_line_without_end_is_refused() -> None:
    left, lines = run(f"import sys; sys.stdout.write('x' * {LINE_LIMIT + 10}); sys.stdout.flush(); input()")
    assert "printed a line longer than" in left.reason
    assert not lines


def test_a_run_watches_its_lifeline_so_a_killed_controller_frees_the_device(tmp_path: Path) -> None:
    """The controller is killed with -9: what it ran sees its stdin close, ends, and only then the lease is free."""
    code = f"""
        import sys
        sys.path.insert(0, {str(Path.cwd())!r})
        from agents.local import LocalAgent
        from quantfarm.nouns import DeviceProfile
        child = "import os, sys, time; print(os.getpid(), flush=True); sys.stdin.read(); time.sleep(1)"
        agent = LocalAgent(DeviceProfile(name="local"))
        with agent.lease("the first", print):
            agent.run([sys.executable, "-c", child], on_line=lambda line: print(line, flush=True), limit_s=600)
    """
    environment = {**os.environ, "QUANTFARM_LEASES": str(tmp_path / "leases")}
    controller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert controller.stdout
    child = int(controller.stdout.readline())
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    waited: list[str] = []
    os.environ["QUANTFARM_LEASES"] = environment["QUANTFARM_LEASES"]
    try:
        with local().lease("the second", waited.append):
            assert gone(child, within_s=0.5), "the lease was free while the measured process still ran"
    finally:
        del os.environ["QUANTFARM_LEASES"]
        controller.stdout.close()
    assert waited and waited[0].startswith("the first (process ")


def test_a_lease_is_for_one_and_says_who_holds_it(home: Path) -> None:
    waits: list[str] = []
    with leases.lease("desk", "the first", waits.append):
        code = "from agents.leases import lease\nwith lease('desk', 'me', lambda who: print(who, flush=True)): pass"
        second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert second.stdout
        said = second.stdout.readline()
        assert second.poll() is None, "the second did not wait"
    assert second.wait(30) == 0
    second.stdout.close()
    assert "the first" in said and str(os.getpid()) in said
    assert not waits


def test_a_folder_of_leases_is_everybodys_but_never_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTFARM_LEASES", str(tmp_path / "leases"))
    assert leases.folder().stat().st_mode & 0o7777 == 0o1777
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("QUANTFARM_LEASES", str(tmp_path / "link"))
    with pytest.raises(PermissionError, match="no folder of its own"):
        leases.folder()


def test_each_holding_has_the_next_token_of_its_lineage(home: Path) -> None:
    with leases.lease("desk", "one", print) as first:
        pass
    with leases.lease("desk", "two", print) as second:
        assert second.token.lineage == first.token.lineage
        assert second.token.count == first.token.count + 1
    (leases.folder() / "desk.lock").unlink()  # a device that forgot begins anew
    with leases.lease("desk", "three", print) as third:
        assert third.token.lineage != first.token.lineage


def test_a_lease_waits_for_a_run_that_is_coming_to_its_end(home: Path) -> None:
    """A controller elsewhere that lost its lease may still have a process on the device."""
    waits: list[str] = []
    with (leases.folder() / "desk.run").open("w") as run:
        fcntl.flock(run, fcntl.LOCK_SH)
        code = "from agents.leases import lease\nwith lease('desk', 'me', lambda who: print(who, flush=True)): pass"
        second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert second.stdout
        waits.append(second.stdout.readline())
        assert second.poll() is None
    assert second.wait(30) == 0
    second.stdout.close()
    assert "a run that is coming to its end" in waits[0]


def test_a_program_that_is_not_there_is_told_as_a_shell_would() -> None:
    left = local().run(["/nowhere/at-all"], on_line=print, limit_s=5)
    assert left.code == 127
    assert "/nowhere/at-all" in left.stderr


def test_this_machine_tells_what_it_is() -> None:
    facts = local().probe()
    assert set(facts) == {"os", "chip", "cores", "memory_mib"}
    assert facts["memory_mib"] == psutil.virtual_memory().total // 2**20
