"""Phones for the tests: AOSP's own adbd in a chroot, as the shell user, in a mount and pid namespace of its own.

    with phone(tmp_path) as pixel:
        agent(pixel.profile).run(["getprop", "ro.product.model"], …)
        pixel.unplug()      # kill -9 of the daemon: the cable is pulled, what runs on the phone runs on
        pixel.plug_in()     # the same phone at the same address
        pixel.crash()       # the phone itself dies, with all that runs on it

Not like a phone: no authorisation prompt, no pm or am, not all tools of Android's toybox, and the machine's own
processor, memory and /proc. Port and files are its own; it listens on 127.0.0.1 alone.

`python -m tests.phone.phones` starts one for use by hand, until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantfarm.nouns import DeviceProfile, Scalar, parameters
from tests.phone import apt, base

#: Set to the process whose adb server the environment names.
OURS = "QUANTFARM_TEST_ADB_SERVER"
SHELL = 2000  # Android's uid of adb's shell
MIB = 2**20
#: Runs as root in the phone's own namespaces, then becomes its first process. $1: the phone, $2: what phones share.
BOOT = """
mount --make-rprivate /
for name in usr system; do mount --bind "$2/$name" "$1/$name"; mount -o remount,bind,ro "$1/$name"; done
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
mkdir "$1/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$1/dev/pts"
for name in null zero urandom random tty; do touch "$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
ln -s pts/ptmx "$1/dev/ptmx"
if [ "$3" != 0 ]; then mount -t tmpfs -o "size=$3,mode=0771,uid=2000,gid=2000" storage "$1/data/local/tmp"; fi
exec chroot --userspec=2000:2000 "$1" /system/bin/env -i PATH=/system/bin /system/bin/init
"""
PROPERTIES = {
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.brand": "google",
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.product.board": "shiba",
    "sys.boot_completed": "1",
}
THERMAL = """\
IsStatusOverride: false
Thermal Status: 0
HAL Ready: true
Current temperatures from HAL:
Temperature{mValue=31.7, mType=0, mName=cpu0, mStatus=0}
Temperature{mValue=28.3, mType=3, mName=skin, mStatus=0}
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  present: true
  level: 80
  scale: 100
  voltage: 4318
  temperature: 270
"""
ZONES = "thermal_zone0 cpu-0-0-usr 31500\nthermal_zone1 battery 27000\nthermal_zone2 vbat 4285\nthermal_zone3 usb \n"
#: /sys/class/power_supply/battery: µA, µV, %, tenths of a degree. Made up: there is no recording of these files.
SUPPLY = {"current_now": "-412500", "voltage_now": "4318000", "capacity": "80", "temp": "270", "status": "Discharging"}


class Phone:
    """One phone. `root` is its folder on this machine: a file of the phone lies at `phone.path("/its/path")`."""

    def __init__(self, root: Path, *, storage_bytes: int = 0, clock_offset_s: int = 0) -> None:
        self.root, self.storage_bytes = root, storage_bytes
        self.port = _free_port()
        self.options: dict[str, Scalar] = {}
        self._process: subprocess.Popen[str] | None = None
        _furnish(root, clock_offset_s)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def profile(self) -> DeviceProfile:
        return DeviceProfile(
            name=f"phone-{self.port}",
            kind="adb",
            address=self.serial,
            platform=f"android-{_arch()}",
            options=parameters(self.options),
        )

    def path(self, there: str) -> Path:
        """Where a file of the phone is on this machine; its mounts are seen too while it runs."""
        inside = Path(f"/proc/{self.pid}/root") if self._process else self.root
        return inside / there.lstrip("/")

    @property
    def pid(self) -> int:
        """The phone's first process, as this machine numbers it."""
        assert self._process, "the phone is off"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text().split()[0])

    def processes(self) -> dict[int, str]:
        """All that runs on the phone: pid of this machine -> command line."""
        own = _namespace(self.pid)
        found: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if _namespace(int(entry.name)) == own:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
        return {pid: line for pid, line in found.items() if line}

    def boot(self) -> None:
        """Switches the phone on, with its cable in."""
        shared = base.base()
        boot = ["sh", "-euc", BOOT, "boot", str(self.root), str(shared), str(self.storage_bytes)]
        pipe = subprocess.PIPE
        with (self.root / "boot.log").open("w") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", *boot],
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.plug_in()

    def plug_in(self) -> None:
        """The cable goes in: the daemon answers again, at the same address."""
        self._tell(f"start {self.port}", "started")
        _await_port(self.port)

    def unplug(self) -> None:
        """The cable is pulled: the daemon is gone at once; what it started is left to itself."""
        self._tell("signal KILL", "signalled")

    def drop(self) -> None:
        """The cable is out and in again, as the daemon sees it: its connections are closed and it lives."""
        subprocess.run(["adb", "disconnect", self.serial], check=True, capture_output=True, timeout=60)

    def freeze(self) -> None:
        """The way to the phone goes silent: nothing answers, nothing is closed."""
        self._tell("signal STOP", "signalled")

    def thaw(self) -> None:
        self._tell("signal CONT", "signalled")

    def crash(self) -> None:
        """The phone itself dies, with all that runs on it."""
        if not self._process:
            return
        last = Path(f"/proc/{self.pid}") if self._process.poll() is None else None
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while last and last.exists():  # the first process is the last to go
            time.sleep(0.005)
        for stream in (process.stdin, process.stdout):
            assert stream
            with contextlib.suppress(OSError):
                stream.close()

    def heat(self, zone: int, milli_c: int | str) -> None:
        """A thermal zone reads so from now on, in thousandths of a degree."""
        (self.root / f"sys/class/thermal/thermal_zone{zone}/temp").write_text(f"{milli_c}\n")

    def says(self, service: str, text: str) -> None:
        """What `dumpsys SERVICE` prints from now on."""
        (self.root / f"fixtures/dumpsys-{service}.txt").write_text(text)

    def properties(self, **changed: str) -> None:
        """Properties are so from now on; `__` in a name stands for a dot."""
        path = self.root / "fixtures/getprop.txt"
        lines = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
        lines.update({f"[{name.replace('__', '.')}]": f"[{value}]" for name, value in changed.items()})
        path.write_text("".join(f"{key}: {value}\n" for key, value in sorted(lines.items())))

    def program(self, name: str, script: str) -> None:
        """A shell script takes the place of one of the phone's programs."""
        path = self.root / "product/bin" / name
        _write(path, f"#!/system/bin/sh\n{script}")
        path.chmod(0o755)

    def use(self, recordings: Path) -> None:
        """Answers as a recorded Pixel 8 did (with the processor's name of this machine), zones as a recorded phone."""
        android = recordings / "android"
        shutil.copy(android / "pixel-8.getprop.txt", self.root / "fixtures/getprop.txt")
        self.properties(ro__product__cpu__abi=_abi())
        self.says("thermalservice", (android / "dumpsys-thermalservice-pixel-hal2.txt").read_text())
        self.says("battery", (android / "dumpsys-battery-android14plus-unplugged.txt").read_text())
        _zones(self.root, (android / "thermal-zones-sm7325.txt").read_text())
        for name, text in json.loads((android / "pixel-8.json").read_text())["files"].items():
            if name.startswith("/sys/"):
                _write(self.root / name.lstrip("/"), text)

    def _tell(self, order: str, answer: str) -> None:
        assert self._process and self._process.stdin and self._process.stdout, "the phone is off"
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        assert said == answer, f"{order}: {said!r}; {(self.root / 'boot.log').read_text()}"


@contextmanager
def phone(
    folder: Path, *, storage_bytes: int = 0, clock_offset_s: int = 0, data: Path | None = None
) -> Iterator[Phone]:
    """A phone that is switched on and plugged in; all of it is gone at the end.

    `storage_bytes`: it can store no more than that (0: what the disk has). `clock_offset_s`: its wall clock is that
    far off. `data`: the folder of test data whose recordings it answers with. Skips the test where there can be no
    phone, and fails it there in CI.
    """
    require()
    root = Path(tempfile.mkdtemp(prefix="phone-", dir=folder))
    made = Phone(root, storage_bytes=storage_bytes, clock_offset_s=clock_offset_s)
    if data:
        made.use(data / "recordings")
    with adb_server():
        try:
            made.boot()
            yield made
        finally:
            made.crash()


def require() -> None:
    """Skips a test where there can be no phone; in CI, where nothing may be skipped, fails it."""
    reason = base.unusable()
    if not reason:
        try:
            base.base()
        except apt.Unavailable as why:
            reason = f"no phone: {why}"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@contextmanager
def adb_server() -> Iterator[None]:
    """An adb server of the tests' own, on a port and with keys of its own, that all clients started here use.

    Inside another such block it is that one's.
    """
    if os.environ.get(OURS) == str(os.getpid()):
        yield
        return
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv(OURS, str(os.getpid()))
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(_free_port()))
        # The server alone must not look for emulators, nor write keys into the user's home.
        environment = {**os.environ, "HOME": home, "ADB_LOCAL_TRANSPORT_MAX_PORT": "1"}
        try:
            subprocess.run(["adb", "start-server"], env=environment, check=True, capture_output=True, timeout=60)
            yield
        finally:
            subprocess.run(["adb", "kill-server"], env=environment, check=False, capture_output=True, timeout=60)


def _furnish(root: Path, clock_offset_s: int) -> None:
    """The phone's own folders and what it answers with, before anything is recorded."""
    root.chmod(0o755)
    shared = base.base()
    for name in ("usr", "system", "proc", "dev", "fixtures", "sys", "data/local/tmp"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        if (shared / name).is_symlink():
            (root / name).symlink_to((shared / name).readlink())
    shutil.copytree(shared / "etc", root / "etc", symlinks=True)
    (root / "clock_offset_s").write_text(f"{clock_offset_s}\n")
    log = root / "adbd.log"
    log.touch()
    for path in (log, root / "data/local/tmp"):
        os.chown(path, SHELL, SHELL)
    (root / "data/local/tmp").chmod(0o771)
    named = {**PROPERTIES, "ro.product.cpu.abi": _abi()}
    (root / "fixtures/getprop.txt").write_text("".join(f"[{key}]: [{value}]\n" for key, value in named.items()))
    (root / "fixtures/dumpsys-thermalservice.txt").write_text(THERMAL)
    (root / "fixtures/dumpsys-battery.txt").write_text(BATTERY)
    _zones(root, ZONES)
    for name, value in SUPPLY.items():
        _write(root / "sys/class/power_supply/battery" / name, value)


def _zones(root: Path, listing: str) -> None:
    """Thermal zones from lines of `thermal_zoneN NAME MILLI_C`; a reading may be missing."""
    shutil.rmtree(root / "sys/class/thermal", ignore_errors=True)
    for line in listing.splitlines():
        zone, name, *value = line.split()
        _write(root / "sys/class/thermal" / zone / "type", name)
        _write(root / "sys/class/thermal" / zone / "temp", *value)


def _write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line.rstrip("\n") + "\n" for line in lines))


def _arch() -> str:
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _abi() -> str:
    return {"aarch64": "arm64-v8a"}.get(platform.machine(), platform.machine())


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_port(port: int) -> None:
    """Until the daemon listens; looked up, not connected to: a connection would be a controller."""
    wanted = f":{port:04X} "
    for _ in range(500):
        listening = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
        if any(wanted in line and " 0A " in line for text in listening for line in text.splitlines()):
            return
        time.sleep(0.02)
    raise AssertionError(f"adbd does not listen on port {port}")


def main() -> None:
    """One phone, until Ctrl-C."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell has what it starts in the background ignore Ctrl-C
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, phone(Path(folder)) as made, contextlib.suppress(KeyboardInterrupt):
        server = f"ANDROID_ADB_SERVER_PORT={os.environ['ANDROID_ADB_SERVER_PORT']}"
        print(f"export {server}; adb connect {made.serial}", flush=True)  # noqa: T201
        print(f"Its first process is {made.pid}, its files are in {made.root}. Ctrl-C ends it.", flush=True)  # noqa: T201
        signal.pause()


if __name__ == "__main__":
    main()
