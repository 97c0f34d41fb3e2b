"""What breaks on a Ray cluster is named, never waited for in vain, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from agents import Unreachable, Vanished, ray_node
from agents.ray_node import RayAgent
from tests.ray.nodes import HEAD, Cluster
from tests.ray.nodes import cluster as two_nodes

#: Prints its own process id, and hardly ends by itself.
LONG = ["sh", "-c", "echo $$; exec sleep 300"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.mktemp("ray"), "attic") as made:
        yield made


@pytest.fixture
def attic(cluster: Cluster) -> Iterator[RayAgent]:
    agent = RayAgent(cluster.profile("attic", silence_s=3, beat_s=1))
    assert agent.run(["true"], on_line=print, limit_s=60).code == 0
    yield agent
    agent.close()


def gone(pid: int, within_s: float = 30) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def broken(agent: RayAgent, fault: Callable[[], object]) -> tuple[str, int, float]:
    """A run that a fault strikes once it is up: what was said, the process that ran, and seconds until then."""
    lines: list[str] = []
    struck: list[float] = []

    def strike(line: str) -> None:
        lines.append(line)
        struck.append(time.monotonic())
        threading.Thread(target=fault).start()

    with pytest.raises(Vanished) as caught:
        agent.run(LONG, on_line=strike, limit_s=120)
    assert caught.value.retryable
    return str(caught.value), int(lines[0]), time.monotonic() - struck[0]


def test_a_killed_node_is_named_and_is_a_device_again_when_it_is_back(cluster: Cluster, attic: RayAgent) -> None:
    said, pid, seconds = broken(attic, cluster.nodes["attic"].kill)
    assert "the Ray node 'attic' (127.0.0.1) died" in said
    assert seconds < 60
    assert gone(pid)
    with pytest.raises(Unreachable, match=r"'attic' (has died|is not on)"):
        attic.run(["true"], on_line=print, limit_s=30)
    cluster.start("attic")
    assert attic.run(["true"], on_line=print, limit_s=60).code == 0


def test_a_killed_worker_is_named_and_the_next_run_finds_another(cluster: Cluster, attic: RayAgent) -> None:
    worker = cluster.nodes["attic"].worker()
    said, pid, seconds = broken(attic, worker.kill)
    assert re.search(r"the agent on the Ray node 'attic' \(127.0.0.1\) was (killed and )?started anew", said)
    assert seconds < 30
    assert gone(pid), "what it ran is still there"
    assert attic.run(["true"], on_line=print, limit_s=60).code == 0


def test_a_frozen_node_is_not_waited_for(cluster: Cluster, attic: RayAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "WAIT_S", 1.0)
    monkeypatch.setattr(ray_node, "ANSWER_S", 3.0)
    frozen = [one for one in cluster.nodes["attic"].family() if "ray" in one.name()]
    try:
        said, pid, seconds = broken(attic, lambda: [one.suspend() for one in frozen])
    finally:
        for one in frozen:
            one.resume()
    assert "the Ray node 'attic' (127.0.0.1) did not answer within" in said
    assert seconds < 20
    assert gone(pid), "what it ran outlived the silence"


def test_a_killed_driver_is_replaced(cluster: Cluster, attic: RayAgent) -> None:
    children = psutil.Process().children()
    driver = next(one for one in children if "agents.ray_driver" in " ".join(one.cmdline()))
    said, pid, _ = broken(attic, driver.kill)
    assert f"the way to the Ray cluster at {cluster.head} is gone" in said
    assert attic.run(["true"], on_line=print, limit_s=60).code == 0
    assert gone(pid), "the device heard nothing for 3 s, and runs on"


CONTROLLER = """
    import sys
    from agents.ray_node import RayAgent
    from quantfarm.nouns import DeviceProfile, parameters
    options = parameters(head={head!r}, token_file={token!r}, silence_s=3, beat_s=1)
    agent = RayAgent(DeviceProfile(name="attic", kind="ray", address="attic", options=options))
    with agent.lease("the first", lambda who: None):
        agent.run({long!r}, on_line=lambda line: print(line, flush=True), limit_s=600)
"""


def controller(cluster: Cluster) -> tuple[subprocess.Popen[str], int]:
    """Another controller in a process of its own, with a lease and a run; the run's process."""
    code = textwrap.dedent(CONTROLLER.format(head=cluster.head, token=str(cluster.token), long=LONG))
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout
    return other, int(other.stdout.readline())


@pytest.mark.parametrize(("with_driver", "limit_s"), [(False, 15), (True, 30)], ids=["alone", "with its driver"])
def test_a_killed_controller_frees_the_device(
    cluster: Cluster, attic: RayAgent, with_driver: bool, limit_s: float
) -> None:
    """Its driver says farewell; where that was killed too, the device notices the silence (here 3 s)."""
    other, pid = controller(cluster)
    dying = [psutil.Process(other.pid), *(psutil.Process(other.pid).children() if with_driver else [])]
    waits: list[str] = []
    killed: list[float] = []

    def wait(who: str) -> None:
        waits.append(who)
        if not killed:
            for one in dying:
                one.kill()
            killed.append(time.monotonic())

    try:
        with attic.lease("the second", wait):
            assert gone(pid, 0.5), "the lease was free while the measured process still ran"
            assert time.monotonic() - killed[0] < limit_s
    finally:
        other.kill()
        other.wait()
        assert other.stdout
        other.stdout.close()
    assert waits[0].startswith("the first")


def test_a_killed_head_is_an_error_of_its_devices_and_not_of_the_controller(cluster: Cluster) -> None:
    """The last test here: the others need the head."""
    agent = RayAgent(cluster.profile(HEAD))
    said, pid, seconds = broken(agent, cluster.nodes[HEAD].kill)
    assert "the cluster's head" in said
    assert seconds < 30
    assert gone(pid)
    with pytest.raises(Unreachable, match="no Ray head at"):
        agent.run(["true"], on_line=print, limit_s=30)
    agent.close()
