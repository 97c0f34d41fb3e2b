"""Ray nodes as devices: brought up by the command line, found by name, bound to loopback, let in by a token."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agents import AgentError, Refused, Unreachable, ray_actor, ray_cluster, ray_link, ray_node
from agents.ray_node import RayAgent
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile
from tests.ray.nodes import HEAD, Cluster, cli
from tests.ray.nodes import cluster as two_nodes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.mktemp("ray"), "attic") as made:
        yield made


@pytest.fixture
def attic(cluster: Cluster) -> Iterator[RayAgent]:
    agent = RayAgent(cluster.profile("attic"))
    yield agent
    agent.close()


def output(agent: RayAgent, script: str, *arguments: str) -> list[str]:
    lines: list[str] = []
    left = agent.run(["sh", "-c", script, "sh", *arguments], on_line=lines.append, limit_s=60)
    assert (left.code, left.reason) == (0, ""), left
    return [line.rstrip("\n") for line in lines]


# --- the command line


def test_starting_a_node_says_what_to_do_next(cluster: Cluster) -> None:
    assert f"quantfarm agent start --address {cluster.head} --name NAME" in cluster.nodes[HEAD].log
    assert "quantfarm device add attic ray://attic" in cluster.nodes["attic"].log


def test_status_tells_of_our_nodes_alone_and_where_the_token_lies(cluster: Cluster) -> None:
    told = json.loads(cli(cluster.nodes[HEAD].folder, "status", "--json").stdout)
    assert [(row["name"], row["head"], row["is_head"]) for row in told] == [(HEAD, cluster.head, True)]
    assert told[0]["token_file"] == str(cluster.token)


def test_the_token_is_for_its_owner_alone_and_is_said_nowhere(cluster: Cluster, attic: RayAgent) -> None:
    secret = cluster.token.read_text()
    assert cluster.token.stat().st_mode & 0o777 == 0o600
    assert len(secret) >= 32
    said = [*output(attic, "env")]
    for node in cluster.nodes.values():
        said += [path.read_text(errors="replace") for path in (node.folder / "home").rglob("*.json")]
        said += [node.log, *(" ".join(one.cmdline()) for one in node.family())]
        folder = Path(json.loads((node.folder / "home" / "agent" / f"{node.name}.json").read_text())["folder"])
        assert folder.stat().st_mode & 0o077 == 0, "Ray's sockets and logs are open to others"
        said += [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]
    assert len(said) > 20
    assert not [text for text in said if secret in text]


def test_nothing_listens_beyond_loopback(cluster: Cluster, attic: RayAgent) -> None:
    assert output(attic, "echo up") == ["up"]  # its actor listens too
    assert [ray_cluster.exposed(node.process.pid) for node in cluster.nodes.values()] == [[], []]
    listening = [
        connection
        for node in cluster.nodes.values()
        for one in node.family()
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 6, "the check above looked at nothing"


def test_a_name_that_is_on_the_cluster_already_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    join = ["start", "--address", cluster.head, "--token-file", str(cluster.token), "--name", "attic"]
    here = cli(cluster.nodes["attic"].folder, *join)
    assert here.returncode == 2
    assert "an agent called 'attic' runs here already: quantfarm agent stop attic" in here.stderr
    elsewhere = cli(tmp_path, *join)
    assert elsewhere.returncode == 2
    assert "a node called 'attic' is on the cluster" in elsewhere.stderr
    assert not list((tmp_path / "home" / "agent").glob("*.json"))


def test_a_node_with_another_token_is_not_let_in(cluster: Cluster, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    wrong.chmod(0o600)
    left = cli(tmp_path, "start", "--address", cluster.head, "--name", "thief", "--token-file", str(wrong))
    assert left.returncode == 1
    assert f"does not know the token in {wrong}" in left.stderr


def test_a_token_that_others_can_read_or_that_is_missing_is_said(cluster: Cluster, tmp_path: Path) -> None:
    open_to_all = tmp_path / "token"
    open_to_all.write_text(cluster.token.read_text())
    open_to_all.chmod(0o644)
    join = ["start", "--address", cluster.head, "--name", "cellar"]
    assert f"chmod 600 {open_to_all}" in cli(tmp_path, *join, "--token-file", str(open_to_all)).stderr
    assert "copy the head's there" in cli(tmp_path, *join).stderr


def test_a_head_on_another_machine_needs_to_know_our_address(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_link, "knock", lambda _head: None)
    with pytest.raises(UsageError, match="give --bind with the address of this machine"):
        ray_cluster.wish("cellar", "192.0.2.7:6379", "", ray_cluster.PORT, None)


def test_an_agent_in_the_background_is_stopped_by_us_with_all_it_started(cluster: Cluster, tmp_path: Path) -> None:
    join = ["--address", cluster.head, "--token-file", str(cluster.token), "--name", "cellar", "--detach"]
    begun = cli(tmp_path, "start", *join)
    assert begun.returncode == 0, begun.stderr
    found = json.loads(cli(tmp_path, "status", "--json").stdout)[0]
    ours = psutil.Process(found["pid"])
    family = [ours, *ours.children(recursive=True)]
    assert len(family) >= 3
    folder = json.loads((tmp_path / "home" / "agent" / "cellar.json").read_text())["folder"]
    assert "did you mean cellar" in cli(tmp_path, "stop", "celar").stderr
    assert cli(tmp_path, "stop").returncode == 0
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left
    assert not Path(folder).exists()
    assert all(node.process.poll() is None for node in cluster.nodes.values()), "it stopped nodes of others"


def test_a_killed_agent_leaves_no_node_behind(cluster: Cluster) -> None:
    node = cluster.start("cellar")
    family = node.family()
    node.process.kill()
    _, left = psutil.wait_procs(family, timeout=20)
    assert not left
    assert json.loads(cli(node.folder, "status", "--json").stdout) == []


# --- the agent


def test_nodes_are_discovered_by_their_devices_names(
    cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_node.discover() == []
    monkeypatch.setenv("QUANTFARM_HOME", str(cluster.nodes["attic"].folder / "home"))
    found = ray_node.discover()
    assert ("attic", "127.0.0.1", "device:attic") in found
    assert (HEAD, "127.0.0.1", "device:desk") in found


def test_a_controller_has_no_ray_inside_it(attic: RayAgent) -> None:
    assert output(attic, "echo here") == ["here"]
    assert "ray" not in sys.modules


def test_what_is_measured_gets_neither_rays_settings_nor_its_priority(attic: RayAgent) -> None:
    variables = {line.partition("=")[0] for line in output(attic, "env")}
    ours = {name for name in variables if name.startswith("RAY_")}
    assert not ours | (variables & {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", ray_actor.NAMES})
    assert {"PATH", "QUANTFARM_LEASES"} <= variables
    assert output(attic, "nice; cat /proc/self/oom_score_adj") == ["0", "0"]


def test_the_devices_own_interpreter_and_builds_are_told(attic: RayAgent) -> None:
    facts = attic.probe()
    assert facts["options"] == {"python": sys.executable}
    assert facts["builds"]["llama_cpp"].startswith("llama-cpp-python ")
    assert facts["platform"].startswith("linux-")


def test_two_devices_are_leased_and_run_at_once(cluster: Cluster, attic: RayAgent) -> None:
    desk = RayAgent(cluster.profile(HEAD))
    try:
        with attic.lease("one", print), desk.lease("two", print) as second:
            assert second.held()
            assert output(desk, "echo $QUANTFARM_LEASES") == [str(cluster.nodes[HEAD].folder / "leases")]
    finally:
        desk.close()


def test_much_output_comes_whole(attic: RayAgent) -> None:
    lines = output(attic, "seq 1 400000")
    assert len(lines) == 400000
    assert lines[-1] == "400000"


def test_a_controller_that_is_slow_to_listen_holds_the_output_back(attic: RayAgent) -> None:
    """Neither side keeps it all: the process waits."""
    lines: list[int] = []

    def slow(line: str) -> None:
        lines.append(len(line))
        time.sleep(0.02 if len(lines) < 100 else 0)

    left = attic.run(
        ["sh", "-c", "i=0; while [ $i -lt 300 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done"],
        on_line=slow,
        limit_s=60,
    )
    assert left.code == 0
    assert lines == [100001] * 300


def test_a_push_that_was_cut_off_is_gone_on_with(
    attic: RayAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_node, "PIECE", 2**20)
    file = tmp_path / "model.gguf"
    file.write_bytes(os.urandom(5 * 2**20 + 3))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    class Cut(Exception):
        pass

    def cut(done: int, _of: int) -> None:
        if done >= 3 * 2**20:
            raise Cut

    with pytest.raises(Cut):
        attic.push(file, digest, cut)
    told: list[int] = []
    there = attic.push(file, digest, lambda done, _of: told.append(done))
    assert told == [4 * 2**20, 5 * 2**20, 5 * 2**20 + 3]
    assert output(attic, 'sha256sum < "$1"', there)[0].split()[0] == digest


def test_what_arrives_damaged_is_thrown_away(attic: RayAgent, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(os.urandom(1000))
    with pytest.raises(AgentError, match="arrived damaged") as caught:
        attic.push(file, "0" * 64)
    assert caught.value.stage == "push"
    assert caught.value.retryable


def test_a_folder_that_cannot_be_written_is_said(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x")
    agent = RayAgent(cluster.profile("attic", folder="/proc/nowhere"))
    with pytest.raises(AgentError, match="/proc/nowhere") as caught:
        agent.push(file, "")
    agent.close()
    assert caught.value.stage == "push"


def test_an_unknown_device_is_answered_with_those_that_are_there(cluster: Cluster) -> None:
    agent = RayAgent(cluster.profile("atic"))
    began = time.monotonic()
    with pytest.raises(Unreachable, match=f"'atic' is not on the cluster. Others there: attic, {HEAD}"):
        agent.run(["true"], on_line=print, limit_s=5)
    assert time.monotonic() - began < 20


def test_no_head_is_an_error_within_seconds(cluster: Cluster) -> None:
    agent = RayAgent(cluster.profile("attic", head="127.0.0.1:9"))
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no Ray head at 127\.0\.0\.1:9"):
        agent.run(["true"], on_line=print, limit_s=5)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("what", "other"), [("ray", "2.1.0"), ("python", "3.9.1"), ("quantfarm", "9.9")])
def test_another_version_on_the_node_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, what: str, other: str
) -> None:
    here = ray_actor.versions()
    monkeypatch.setattr(ray_actor, "versions", lambda: here | {what: other})
    with pytest.raises(Refused, match=f"another version: {what} {here[what]} there, {other} here"):
        RayAgent(cluster.profile("attic")).run(["true"], on_line=print, limit_s=5)


def test_without_ray_the_way_to_get_it_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(ray_link, "_shared", {})
    with pytest.raises(UsageError, match=r"pip install 'quantfarm\[ray\]'"):
        RayAgent(cluster.profile("attic")).run(["true"], on_line=print, limit_s=5)


def test_without_a_cluster_the_way_to_one_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="quantfarm agent start --head"):
        RayAgent(DeviceProfile(name="x", kind="ray", address="x")).run(["true"], on_line=print, limit_s=5)


def test_agents_of_one_cluster_share_one_driver(cluster: Cluster, attic: RayAgent) -> None:
    desk = RayAgent(cluster.profile(HEAD))
    both = [threading.Thread(target=output, args=(agent, "sleep 1")) for agent in (attic, desk)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(_drivers()) == 1
    desk.close()
    attic.close()
    assert not _drivers()


def _drivers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [one for one in children if one.is_running() and "agents.ray_driver" in " ".join(one.cmdline())]


def test_the_version_that_a_cluster_runs_is_told_when_a_node_cannot_join(tmp_path: Path) -> None:
    """Ray's own words, from a log as it writes them."""
    log = tmp_path / "node.log"
    log.write_text("x\nRuntimeError: Version mismatch: The cluster was started with:\n  Ray: 2.1.0\n  Python: 3.9.1\n")
    node = ray_cluster.Running("b", os.getpid(), 0.0, False, "127.0.0.1:1", "127.0.0.1", "t", str(tmp_path), "1")
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(Refused, match=r"other versions: .*Ray: 2.1.0 Python: 3.9.1"):
        ray_cluster._still(node, ended, time.monotonic() + 10)
