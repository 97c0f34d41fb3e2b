"""Ray nodes that this machine's `quantfarm agent` started: their processes, token, and what is written down of them.

HOME/agent/NAME.json    a node that runs here: process, head, address, files. No secret.
HOME/agent/ray-token    the cluster's token, made by its head; for its owner's eyes alone
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from agents import Refused, Unreachable, ray_link
from agents.addresses import NODE
from agents.ray_actor import DEVICE, NAMES, START
from agents.ray_boot import LOOPBACK
from agents.ray_link import Cluster, on_loopback
from quantfarm.errors import FarmError, UsageError, unknown
from quantfarm.home import default_root

PORT = 6379
#: Ray wants at least 75 MiB; files come in pieces of 32.
OBJECT_STORE = 128 * 2**20
START_S = 120.0
STOP_S = 20.0
FAREWELL_S = 1.0
TOKEN = "ray-token"  # noqa: S105 - a file's name
#: Ray's own ways with memory and priority are not for what is measured: workers at nice 15, first to be killed.
QUIET = {
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A node of ours. `pid` is of the process that owns it, with the time that it was started (its identity)."""

    name: str
    pid: int
    created: float
    is_head: bool
    head: str
    bind: str
    token_file: str
    folder: str
    start: str  # which start of a node of this name

    @property
    def alive(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return abs(psutil.Process(self.pid).create_time() - self.created) < 1.0
        return False

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.head, Path(self.token_file), self.bind)

    @property
    def log(self) -> Path:
        return Path(self.folder) / "node.log"


def folder() -> Path:
    path = default_root() / "agent"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FarmError(f"cannot make the folder {path}: {error.strerror} (set QUANTFARM_HOME)") from error
    return path


def running() -> list[Running]:
    """Nodes of ours that run; what is written down of others is taken away."""
    found: list[Running] = []
    for path in sorted(folder().glob("*.json")):
        try:
            one = Running(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        if one.alive:
            found.append(one)
        else:
            _forget(one)
    return found


def one(name: str) -> Running:
    """The node of that name, or the only one. Raises UsageError."""
    found = {node.name: node for node in running()}
    if not found:
        raise UsageError("no agent of ours runs on this machine")
    if not name and len(found) > 1:
        raise UsageError(f"several agents run here: say which ({', '.join(found)})")
    if name and name not in found:
        raise unknown("agent", name, found)
    return found[name or next(iter(found))]


def of(options: Mapping[str, Any]) -> Cluster:
    """The cluster that a profile's options name, or this machine's. Raises UsageError."""
    if (cluster := known(options)) is None:
        raise UsageError(
            "this machine is on no Ray cluster: `quantfarm agent start --head` here, or give the profile's option "
            "`head` (HOST:PORT), or RAY_ADDRESS"
        )
    if not cluster.token_file.is_file():
        raise UsageError(
            f"no token at {cluster.token_file}: bring the one of the cluster's head here (its `quantfarm agent status` "
            "says where it lies) and give the profile's option `token_file`, or RAY_AUTH_TOKEN_PATH"
        )
    return cluster


def known(options: Mapping[str, Any] = {}) -> Cluster | None:
    """The cluster named, by options or variables, else that of a node which runs here (a head's first)."""
    nodes = sorted(running(), key=lambda node: not node.is_head)
    head = str(options.get("head") or os.environ.get("RAY_ADDRESS") or (nodes[0].head if nodes else ""))
    if not head:
        return None
    here = next((node for node in nodes if node.head == head), None)
    token = options.get("token_file") or os.environ.get("RAY_AUTH_TOKEN_PATH") or (here.token_file if here else "")
    return Cluster(head, Path(str(token) or folder() / TOKEN).expanduser(), here.bind if here else "")


def token_file(given: Path | None, *, make: bool) -> Path:
    """Where the token lies; a head makes one where there is none. Raises UsageError."""
    path = (given or Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or folder() / TOKEN)).expanduser().absolute()
    if make:
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_hex(32))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"no token at {path}: copy the head's there over a way that others cannot read (scp), or give --token-file"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"others can read the token {path}: chmod 600 {path}")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A node to be: a head where `address` is empty."""

    name: str
    bind: str
    token_file: Path
    address: str = ""
    port: int = PORT

    @property
    def head(self) -> str:
        return self.address or f"{self.bind}:{self.port}"


def wish(name: str, address: str, bind: str, port: int, token: Path | None) -> Wish:
    """Checked before anything is started. Raises UsageError, Unreachable."""
    ray_link.need_ray()
    if not NODE.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a device: letters, digits, dots and dashes, 64 at the most")
    if any(node.name == name for node in running()):
        raise UsageError(f"an agent called '{name}' runs here already: quantfarm agent stop {name}")
    if address:
        ray_link.knock(address)
        if not on_loopback(address) and not bind:
            raise UsageError(
                f"the head at {address} is on another machine: give --bind with the address of this machine "
                "that the head can reach, on a VPN (the token does not encrypt)"
            )
    made = Wish(
        name=name, bind=bind or LOOPBACK, address=address, port=port, token_file=token_file(token, make=not address)
    )
    if not address and _taken(made.head):
        raise UsageError(f"something listens at {made.head} already: give another --port")
    return made


def _taken(head: str) -> bool:
    try:
        ray_link.knock(head)
    except Unreachable:
        return False
    return True


def command(wish: Wish, temp: Path, start: str) -> list[str]:
    """How Ray is started: no dashboard, little memory, one resource with the device's name."""
    where = ["--head", "--port", str(wish.port), "--include-dashboard", "false"] if not wish.address else []
    return [
        *(sys.executable, "-P", "-m", "agents.ray_boot", "start", "--block", "--disable-usage-stats"),
        *(where or ["--address", wish.address]),
        *("--node-ip-address", wish.bind, "--num-cpus", "1", "--object-store-memory", str(OBJECT_STORE)),
        *("--resources", json.dumps({f"device:{wish.name}": 1})),
        *("--labels", f"{DEVICE}={wish.name},{START}={start}"),
        *("--include-log-monitor", "false", "--temp-dir", str(temp)),
    ]


def environment(cluster: Cluster) -> dict[str, str]:
    """Of a node: what was set here reaches the measured processes, what we set for Ray does not."""
    mine = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return {**mine, **QUIET, **ray_link.settings(cluster), NAMES: json.dumps(sorted(os.environ))}


@contextlib.contextmanager
def node(wish: Wish) -> Iterator[tuple[Running, subprocess.Popen[bytes]]]:
    """A node for as long as this is held: its process ends with ours, whatever becomes of us.

    Raises Refused (another version, a wrong token, a name that is taken), FarmError.
    """
    # Short: Ray's sockets lie in it, and a socket's path has 107 bytes. Ours alone, which Ray's own folder inside
    # is not: it lets everybody into that.
    temp = Path(tempfile.mkdtemp(prefix="qf-ray-", dir="/tmp"))
    me = psutil.Process()
    made = Running(
        name=wish.name,
        pid=me.pid,
        created=me.create_time(),
        is_head=not wish.address,
        head=wish.head,
        bind=wish.bind,
        token_file=str(wish.token_file),
        folder=str(temp),
        start=secrets.token_hex(8),
    )
    with made.log.open("wb") as log:
        process = subprocess.Popen(
            command(wish, temp / "r", made.start),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment(made.cluster),
            start_new_session=True,
        )
    try:
        _await(made, process)
        _write(made)
        yield made, process
    finally:
        _end(process)
        _forget(made)


def _await(node: Running, process: subprocess.Popen[bytes]) -> None:
    """Until the cluster itself tells of the node."""
    end = time.monotonic() + START_S
    while _taken(node.head) is False:
        _still(node, process, end)
    link = ray_link.Link(node.cluster)
    try:
        while node.start not in (alive := [one["start"] for one in link.nodes() if _is(one, node.name)]):
            _still(node, process, end)
    finally:
        link.close()
    if len(alive) > 1:
        raise UsageError(f"a node called '{node.name}' is on the cluster at {node.head} already: give another --name")
    if on_loopback(node.bind) and (open_to_all := exposed(process.pid)):
        raise FarmError(f"Ray listens beyond this machine ({', '.join(open_to_all)}): it was stopped again")


def _is(told: Mapping[str, Any], name: str) -> bool:
    return told["alive"] and told["device"] == name


def _still(node: Running, process: subprocess.Popen[bytes], end: float) -> None:
    """Raises where it will not come any more."""
    time.sleep(0.2)
    if process.poll() is not None:
        told = node.log.read_text(errors="replace")
        if found := re.search(r"(?i)[^\n]*version mismatch.*", told, re.S):
            raise Refused(f"the cluster at {node.head} runs other versions: {' '.join(found[0].split())[:500]}")
        if re.search(r"(?i)unauthenticated|authentication", told):
            raise Refused(
                f"the Ray head at {node.head} does not know the token in {node.token_file}: it must be its own"
            )
        raise FarmError(f"Ray did not start: {' '.join(told.split())[-500:]}")
    if time.monotonic() > end:
        raise FarmError(f"Ray did not come up within {START_S:g} s: see {node.log}")


def exposed(pid: int) -> list[str]:
    """Addresses beyond loopback that a process, or one that it started, listens on."""
    found: set[str] = set()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                listening = (c.laddr for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN)
                found |= {f"{a.ip}:{a.port}" for a in listening if not on_loopback(f"{a.ip.removeprefix('::ffff:')}:0")}
    return sorted(found)


def stop(node: Running) -> None:
    """Our own process, which takes its node with it. Raises FarmError."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(node.pid)
        if node.alive:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except psutil.TimeoutExpired as error:
                raise FarmError(f"the agent '{node.name}' (process {node.pid}) does not end") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ray's own farewell may take ten seconds, and nothing here needs it."""
    assert process.stdin
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(OSError):
        process.stdin.close()  # what agents.ray_boot ends by
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(FAREWELL_S)
    for one in family:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=FAREWELL_S)


def _write(node: Running) -> None:
    path = folder() / f"{node.name}.json"
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(asdict(node)))
    part.replace(path)


def _forget(node: Running) -> None:
    (folder() / f"{node.name}.json").unlink(missing_ok=True)
    temp = Path(node.folder)
    if temp.name.startswith("qf-ray-"):
        shutil.rmtree(temp, ignore_errors=True)


def detached(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """`quantfarm agent start …` in the background, in a session of its own."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "agent", "start", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
