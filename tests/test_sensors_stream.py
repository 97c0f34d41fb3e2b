"""All sensors from one shell: it prints whole looks with the device's own time, and dies with its controller."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from quantfarm.errors import UsageError
from quantfarm.marked import LIMIT, WORD
from quantfarm.runtimes.events import checked
from quantfarm.sensors import Look, choose, stream
from quantfarm.sensors.stream import Stamped, read, to_events

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "mksh": ["mksh"], "busybox": ["busybox", "sh"]}
pytestmark = pytest.mark.timeout(60)
HERE = ("proc_memory", "proc_cpu")
S = 10**9


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    if not shutil.which(command[0]):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {command[0]} here")
    return command


def start(shell: list[str], *names: str, every_s: float = 0.2, root: Path | None = None) -> subprocess.Popen[str]:
    text = stream.script(names or HERE, every_s)
    if root:
        text = text.replace("/sys/", f"{root}/sys/")
    pipe = subprocess.PIPE
    return subprocess.Popen([*shell, "-c", text], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def until(out: IO[str], n: int) -> list[str]:
    """Lines up to the n-th mark that ends a tick."""
    lines: list[str] = []
    for line in out:
        lines.append(line)
        n -= f"{WORD} . " in line  # also behind what was cut off
        if n == 0:
            return lines
    raise AssertionError(f"it ended: {lines}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone_within(seconds: float, pids: list[int]) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_every_shell_prints_looks_with_the_time_since_boot(shell: list[str]) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with start(shell) as running:
        assert running.stdin and running.stdout and running.stderr
        lines = until(running.stdout, 3)
        running.stdin.close()
        assert running.stderr.read() == ""
    looks = list(read(lines))
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert [one.sensor for one in looks] == [*HERE] * 3
    assert all(one.clock == "u" and before - 0.02 <= one.seconds <= after for one in looks)
    assert looks[2].seconds - looks[0].seconds >= 0.19
    assert all(one.look.values for one in looks)


def test_it_ends_when_its_stdin_closes(shell: list[str]) -> None:
    with start(shell, every_s=30) as running:
        assert running.stdin and running.stdout
        until(running.stdout, 1)
        loop = children(running.pid)
        running.stdin.close()
        closed = time.monotonic()
        assert running.stdout.read() == ""  # also the `sleep 30` holds the pipe no more
        running.wait(5)
        assert time.monotonic() - closed < 2
        assert gone_within(2, loop)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_ends_when_its_shell_is_killed(shell: list[str], how: signal.Signals) -> None:
    with start(shell) as running:
        assert running.stdout
        until(running.stdout, 1)
        loop = children(running.pid)
        assert loop
        running.send_signal(how)
        if how is not signal.SIGKILL:
            running.stdin.close() if running.stdin else None
        running.wait(5)
        assert gone_within(2, loop)


def test_it_ends_when_nobody_reads_it(shell: list[str]) -> None:
    with start(shell) as running:
        assert running.stdin and running.stdout
        until(running.stdout, 1)
        loop = children(running.pid)
        running.stdout.close()
        assert gone_within(3, loop)
        running.stdin.close()


def test_it_is_nicer_than_what_it_watches(shell: list[str]) -> None:
    with start(shell) as running:
        assert running.stdin and running.stdout
        until(running.stdout, 1)
        assert os.getpriority(os.PRIO_PROCESS, children(running.pid)[0]) == os.getpriority(os.PRIO_PROCESS, 0) + 10
        running.stdin.close()


def test_a_flood_is_cut_and_the_next_tick_is_whole(tmp_path: Path) -> None:
    """A thermal zone that prints megabytes: the looks after it in its tick are lost, nothing else."""
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu\n" * 500_000)
    (zone / "temp").write_text("45000\n")
    with start(["dash"], "proc_memory", "thermal_zone", "proc_cpu", root=tmp_path) as running:
        assert running.stdin and running.stdout
        lines = until(running.stdout, 2)
        (zone / "type").write_text("cpu\n")
        lines += until(running.stdout, 2)
        running.stdin.close()
    assert sum(map(len, lines)) < 3 * stream.TICK_BYTES
    looks = list(read(lines))
    assert [one.sensor for one in looks if one.look.values][-3:] == ["proc_memory", "thermal_zone", "proc_cpu"]
    zones = [one.look.values for one in looks if one.sensor == "thermal_zone"]
    assert zones[0] == {}
    assert zones[-1] == {"cpu_c": 45}
    assert sum(one.sensor == "proc_cpu" for one in looks) < len(zones)


def test_an_unknown_sensor_or_interval_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown sensor 'nvml'"):
        stream.script(["nvml"])
    with pytest.raises(ValueError, match=r"from 0\.05"):
        stream.script(HERE, every_s=0)


# ------------------------------------------------------------------ reading

MEMORY = ["MemTotal: 2048 kB\n", "MemAvailable: 1024 kB\n"]
FULL = {"mem_total_mib": 2, "mem_available_mib": 1}


def test_a_line_that_a_mark_cuts_off_is_no_number() -> None:
    lines = [f"{WORD} proc_memory u 5.00\n", MEMORY[0], f"MemAvailable: 10{WORD} . u 6.00\n"]
    assert [one.look.values for one in read(lines)] == [{"mem_total_mib": 2}]


def test_a_look_that_no_mark_ends_is_no_look() -> None:
    assert list(read([f"{WORD} proc_memory u 5.00\n", *MEMORY])) == []


def test_lines_may_come_with_or_without_their_ends() -> None:
    lines = [f"{WORD} proc_memory u 5.25\n", *MEMORY, f"{WORD} . u 6.00\n"]
    for given in (lines, [line.rstrip("\n") for line in lines], [line.replace("\n", "\r\n") for line in lines]):
        assert list(read(given)) == [Stamped("u", 5.25, "proc_memory", Look(values=FULL))]


@pytest.mark.parametrize("mark", ["proc_memory", "proc_memory u soon", "nvml u 5.0", "proc_memory u 1e9", "x" * 99])
def test_what_is_no_look_of_ours_is_passed_over(mark: str) -> None:
    assert list(read([f"{WORD} {mark}\n", *MEMORY, f"{WORD} . u 6.00\n"])) == []


def test_a_look_is_bounded_and_read_as_it_comes() -> None:
    def endless() -> Iterator[str]:
        yield f"{WORD} proc_memory u 1.0\n"
        yield from MEMORY
        for _ in range(20):
            yield "x" * LIMIT
        yield f"{WORD} proc_cpu u 2.0\n"
        raise AssertionError("read too far")

    assert next(read(endless())).look.values == FULL


# ------------------------------------------------------------------ events


def stamped(seconds: float, clock: str = "u", **look: Any) -> Stamped:
    return Stamped(clock, seconds, "android_battery", Look(**(look or {"values": {"battery_c": 30.0}})))


BEGIN = {"event": "begin", "t": 50 * S, "clocks": {"boottime_ns": 1000 * S, "wall_ns": 1_700_000_000 * S}}


def test_a_look_is_placed_on_the_run_s_clock_by_what_begin_says_of_the_others() -> None:
    events = to_events([stamped(1002.5)], BEGIN)
    values = {"battery_c": 30.0}
    assert events == [{"event": "sample", "t": round(52.5 * S), "source": "android_battery", "values": values}]
    checked(dict(events[0]))


def test_a_whole_second_of_the_wall_clock_is_over_by_half() -> None:
    assert to_events([stamped(1_700_000_003, "w")], BEGIN)[0]["t"] == round(53.5 * S)
    assert to_events([stamped(1_700_000_003.25, "w")], BEGIN)[0]["t"] == round(53.25 * S)


@pytest.mark.parametrize(
    "begin",
    [{}, {"t": 5}, {"t": 5, "clocks": None}, {"t": 5, "clocks": {}}, {"t": 5, "clocks": {"boottime_ns": "now"}}],
)
def test_without_the_clocks_nothing_is_placed(begin: dict[str, Any]) -> None:
    assert to_events([stamped(1002.5)], begin) == []


def test_what_was_read_before_the_clock_began_is_left_out() -> None:
    assert to_events([stamped(900)], BEGIN) == []


def test_states_are_told_at_first_and_when_they_change() -> None:
    unplugged, charging = {"battery": "discharging"}, {"battery": "charging"}
    looks = [stamped(1000 + i, states=s) for i, s in enumerate((unplugged, unplugged, charging, unplugged))]
    events = to_events(looks, BEGIN)
    assert [(e["event"], e["t"] // S - 50, e["states"]) for e in events] == [
        ("state", 0, unplugged),
        ("state", 2, charging),
        ("state", 3, unplugged),
    ]
    checked(dict(events[0]))


def test_what_is_unknown_is_no_event() -> None:
    assert to_events([stamped(1001, unknown={"battery_c": "empty"})], BEGIN) == []


# ------------------------------------------------------------------ which sensors a device has


def test_this_machine_s_sensors_are_chosen_and_the_missing_ones_have_reasons() -> None:
    command = choose.probe_command("linux-x86_64")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    have, missing = choose.chosen(done.stdout)
    assert set(have) >= set(HERE)
    assert {*have, *missing} == set(choose.on("linux"))
    assert all(missing.values())


def test_a_sensor_is_chosen_for_one_value_and_missing_with_its_first_reasons() -> None:
    zone = "/sys/class/thermal/thermal_zone"
    text = "".join(f"{zone}{n}/type:cpu\ngrep: {zone}{n}/temp: Permission denied\n" for n in range(5))
    said = f"{WORD} sensor.thermal_zone\n{text}{WORD} sensor.proc_memory\n{''.join(MEMORY)}{WORD} .\n"
    reason = "; ".join(f"cpu{n}_c: Permission denied" for n in ("", "_2", "_3")) + "; and 2 more"
    assert choose.chosen(said) == (("proc_memory",), {"thermal_zone": reason})


def test_a_phone_is_not_asked_for_a_mac_s_sensors() -> None:
    assert set(choose.on("android-arm64")).isdisjoint(choose.on("macos-arm64"))
    assert "nvidia_smi" in choose.on("linux-x86_64")
    assert choose.on("plan9") == ()
