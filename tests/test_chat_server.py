"""`quantfarm chat-server`, as the dashboard starts it: ready, answering, and gone when it should be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import leases
from quantfarm.chat.client import ChatError
from quantfarm.chat.server_process import ChatServer, Phase, State, Wanted, after
from storage import wanted
from storage.home import Home
from tests.chatting import PROMPT, START_S, ask, served
from tests.ssh.server import sshd
from tests.sweeping import quantfarm, start


def lease_is_free() -> bool:
    """Taken and given back at once, or held by somebody."""

    class Held(Exception):
        pass

    def give_up(who: str) -> None:
        raise Held

    try:
        with leases.lease("local", "a test", give_up):
            return True
    except Held:
        return False


def test_variants_answer_as_they_do_when_they_are_asked(home: Path) -> None:
    """Made where they are missing; greedy they write what `quantfarm ask` writes; the lease is free afterwards."""
    phases: list[Phase] = []
    server = ChatServer(
        Wanted(model="reference", variants=("F16", "Q8_0"), threads=1),
        on_change=lambda state: phases.append(state.phase),
    )
    try:
        state = server.wait(lambda now: now.phase is Phase.READY, START_S)
        assert state.variants == ("F16", "Q8_0"), state
        assert list(dict.fromkeys(phases)) == [Phase.STARTING, Phase.MAKING, Phase.LOADING, Phase.READY]
        assert not lease_is_free()
        assert server.pid == state.ready["pid"]
        texts = [ask(state.endpoint(variant))[0] for variant in state.variants]
        writer = state.writer("Q8_0")
    finally:
        ended = server.stop()
    assert (ended.phase, ended.ok, ended.text) == (Phase.ENDED, True, "stopped")
    assert lease_is_free()
    asked = ("ask", PROMPT, "--variants", "F16,Q8_0", "--n-gen", "12", "--threads", "1", "--json")
    found = json.loads(quantfarm(*asked))["answers"]
    assert [one["text"] for one in found] == texts
    assert writer.artifact == found[1]["artifact"]
    assert (writer.device, writer.runtime, writer.build) == ("local", found[1]["runtime"], found[1]["build"])


def test_a_server_whose_starter_is_killed_frees_the_device(home: Path) -> None:
    """The starter is a process that is killed with no chance to say anything."""
    program = (
        "from tests.chatting import *; import os, signal\n"
        "with served('F16') as (server, state):\n"
        "    print(server.pid, state.ready['url'], flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        pid, url = starter.stdout.readline().split()
        server = psutil.Process(int(pid))
        below = server.children(recursive=True)
        assert below
        assert not lease_is_free()
        starter.kill()
        _, alive = psutil.wait_procs([server, *below], 20)
    assert alive == []
    assert lease_is_free()
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    with pytest.raises(OSError), socket.create_connection((host, int(port)), 5):
        pass


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(home: Path, sent: signal.Signals) -> None:
    with served("F16") as (server, _):
        os.kill(server.pid, sent)
        state = server.wait(lambda _: False, 20)
        assert (state.phase, state.ok, state.text) == (Phase.ENDED, True, "stopped")
        assert lease_is_free()


def test_a_killed_server_is_said_and_frees_the_device(home: Path) -> None:
    with served("F16") as (server, state):
        below = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        ended = server.wait(lambda _: False, 20)
        assert (ended.phase, ended.ok) == (Phase.ENDED, False)
        assert "ended with status -9" in ended.text
        assert psutil.wait_procs(below, 20)[1] == []
        with pytest.raises(ChatError, match="no server answers"):
            ask(state.endpoint("F16"))
        assert lease_is_free()


def test_nobody_asks_for_long_and_it_ends_by_itself(home: Path) -> None:
    with served("F16", idle_minutes=0.01) as (server, _):
        state = server.wait(lambda _: False, 30)
        assert (state.phase, state.ok, state.text) == (Phase.ENDED, True, "nobody asked for 0.01 minutes")


def test_who_has_the_device_and_who_waits_for_it_are_told(home: Path) -> None:
    with leases.lease("local", "sweep 7 of somebody", lambda _: None):
        server = ChatServer(Wanted(model="reference", variants=("F16",), threads=1))
        try:
            state = server.wait(lambda now: now.phase is Phase.WAITING, START_S)
            assert "is in use by sweep 7 of somebody (process" in state.text
        except BaseException:
            server.stop()
            raise
    try:
        assert server.wait(lambda now: now.phase is Phase.READY, START_S).phase is Phase.READY
        with wanted.waiting(Home(home), "local", -5, "the night of today"):
            told = server.wait(lambda now: bool(now.waiting_for_us), 30)
            assert (told.waiting_for_us, told.urgent) == ("the night of today", False)
            with wanted.waiting(Home(home), "local", 1, "sweep 8, which hurries"):
                told = server.wait(lambda now: now.urgent, 30)
                assert (told.waiting_for_us, told.urgent) == ("sweep 8, which hurries", True)
        assert server.wait(lambda now: not now.waiting_for_us, 30).waiting_for_us == ""
    finally:
        server.stop()


def test_while_it_waits_it_can_be_stopped(home: Path) -> None:
    with leases.lease("local", "sweep 7", lambda _: None):
        server = ChatServer(Wanted(model="reference", variants=("F16",), threads=1))
        server.wait(lambda now: now.phase is Phase.WAITING, START_S)
        state = server.stop()
    assert (state.phase, state.ok, state.text) == (Phase.ENDED, True, "stopped")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--variant", "Q4_KM"), "did you mean Q4_K_M"),
        (("--variant", ","), "name a variant"),
        (("--variant", "F16", "--device", "fake-laptop"), "is simulated: it serves nothing"),
        (("--variant", "F16", "--device", "lokal"), "did you mean local"),
        (("--variant", "F16", "--device", "local,fake-laptop"), "one server is of one device"),
        (("--variant", "F16", "--runtime", "llama_bench"), "no runtime of local serves with F16"),
        (("--variant", "F16", "--model", "nothing-here"), "no such file or folder"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_made(
    home: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in quantfarm("chat-server", *arguments, code=2)
    assert not (home / "artifacts").exists()


def test_the_dashboard_is_told_why_nothing_is_served(home: Path) -> None:
    server = ChatServer(Wanted(model="reference", variants=("F16",), device="fake-laptop"))
    state = server.wait(lambda _: False, START_S)
    server.stop()
    assert (state.phase, state.ok, state.text) == (Phase.ENDED, False, "fake-laptop is simulated: it serves nothing")


def test_a_device_that_is_reached_by_ray_is_refused(home: Path) -> None:
    (home / "device_profiles").mkdir(parents=True)
    (home / "device_profiles" / "node.yaml").write_text("name: node\nkind: ray\naddress: node\n")
    message = quantfarm("chat-server", "--variant", "F16", "--device", "node", code=2)
    assert "node is reached by ray: what listens there cannot be reached from here" in message


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start("chat-server", "--variant", "F16", "--threads", "1", "--port", port)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be had" in err
    assert lease_is_free()


def test_a_device_behind_ssh_is_chatted_with_through_a_port_of_this_machine(home: Path, tmp_path: Path) -> None:
    with sshd(tmp_path) as device:
        folder = home / "device_profiles"
        folder.mkdir(parents=True)
        options = {**dict(device.profile.options), "python": sys.executable}
        lines = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in options.items())
        address = device.profile.address
        (folder / "pi.yaml").write_text(f"name: pi\nkind: ssh\naddress: {address}\ncores: 1\noptions:\n{lines}")
        with served("F16", device="pi") as (server, state):
            assert state.ready["device"] == "pi"
            here = ask(state.endpoint("F16"))
            assert here[0] == ask(state.endpoint("F16"))[0] != ""
            runners = [one for one in device.sessions() if "llama_cpp.py" in " ".join(one.cmdline())]
            assert runners
            server.stop()
            _, alive = psutil.wait_procs(runners, 20)
            assert alive == []
        profile = replace(device.profile, name="pi")
        from agents import agent

        reached = agent(profile)
        with reached.lease("a test", lambda who: pytest.fail(f"still held by {who}")):
            pass
        reached.close()


def test_a_device_that_forwards_nothing_says_so(home: Path, tmp_path: Path) -> None:
    from agents import AgentError, Forwards, agent

    with sshd(tmp_path, lines="AllowTcpForwarding no") as device:
        reached = agent(device.profile)
        assert isinstance(reached, Forwards)
        with pytest.raises(AgentError, match="forwards no ports over SSH"), reached.forward(1):
            pass
        reached.close()


def test_a_forwarded_port_carries_both_ways_at_once(tmp_path: Path) -> None:
    from agents import Forwards, agent

    def echo(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()

    with sshd(tmp_path) as device, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        reached = agent(device.profile)
        assert isinstance(reached, Forwards)
        with reached.forward(listener.getsockname()[1]) as port:
            both = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(2)]
            for i, one in enumerate(both):
                one.sendall(bytes([i]) * 200_000)
                one.shutdown(socket.SHUT_WR)
            for i, one in enumerate(both):
                assert _all(one) == bytes([i]) * 200_000
                one.close()
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 5):
            pass
        reached.close()
        listener.shutdown(socket.SHUT_RDWR)


def _echo(connection: socket.socket) -> None:
    with connection:
        connection.sendall(_all(connection))


def _all(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


def test_what_a_person_wants_becomes_one_word_for_each_option() -> None:
    assert Wanted(model="-x", variants=("A", "B"), n_ctx=512).arguments() == [
        *("chat-server", "--model=-x", "--variant=A,B", "--device=local", "--n-ctx=512", "--json")
    ]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["event", "by", "what", "urgent", "ok", "reason"]), st.text() | st.none()))
def test_an_event_that_is_not_known_changes_nothing(event: dict[str, object]) -> None:
    before = State(phase=Phase.READY, ready={"url": "u", "key": "k", "variants": []})
    if event.get("event") not in {"wanted", "ready", *Phase}:
        assert after(before, event) == before


@pytest.mark.parametrize(("variant", "runtime"), [("HF", "transformers"), ("MLX-4", "mlx")])
def test_folders_are_served_by_their_runtimes(home: Path, variant: str, runtime: str) -> None:
    with served(variant, runtime=runtime) as (_, state):
        endpoint = state.endpoint(variant)
        greedy, answer = ask(endpoint)
        assert answer.figures and (answer.figures.n, answer.figures.form) == (12, "chat template")
        assert ask(endpoint)[0] == greedy
        for among in ({"top_k": 1}, {"top_p": 0.0}):
            assert ask(endpoint, temperature=2.0, seed=5, **among)[0] == greedy
        drawn = [ask(endpoint, temperature=1.0, top_k=0, top_p=1.0, seed=seed)[0] for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]
        repeated = "a = a\n" * 12
        assert ask(endpoint, repeated)[0] != ask(endpoint, repeated, repeat_penalty=3.0)[0]
        with pytest.raises(ChatError, match=r"the conversation has \d+ tokens, the context holds 1024"):
            ask(endpoint, "word " * 2000)


def test_folders_are_not_served_together(home: Path) -> None:
    asked = ("chat-server", "--variant", "HF,NF4", "--runtime", "transformers")
    assert "served alone: name one variant" in quantfarm(*asked, code=2)
