"""The SSH agent: which address, which key, which host, before anything is run there."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agents
from agents import AgentError, Refused, Unreachable, environments, host_keys, leases, ssh_config
from agents.ssh import SshAgent
from agents.ssh_config import target
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, parameters
from tests.conftest import ROOT
from tests.ssh.server import Server, free_port, key, sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sshd(tmp_path_factory.mktemp("ssh")) as made:
        yield made


@pytest.fixture
def device(server: Server) -> Iterator[SshAgent]:
    agent = SshAgent(server.profile)
    yield agent
    agent.close()


def echo(profile: DeviceProfile) -> list[str]:
    """Whether a device does as it is told."""
    lines: list[str] = []
    agent = agents.agent(profile)
    try:
        assert agent.run(["echo", "here"], on_line=lines.append, limit_s=60).code == 0
    finally:
        agent.close()
    return lines


def profile_of(address: str, config: Path | str = "none", **options: str | int) -> DeviceProfile:
    return DeviceProfile(name="pi", kind="ssh", address=address, options=parameters(ssh_config=str(config), **options))


# ------------------------------------------------------------------ addresses and the user's configuration


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("pi", (getpass.getuser(), "pi", 22)),
        ("me@pi.local:2222", ("me", "pi.local", 2222)),
        ("ssh://me@10.0.0.7:22", ("me", "10.0.0.7", 22)),
        ("me@[fe80::1%eth0]:2200", ("me", "fe80::1%eth0", 2200)),
        ("[::1]", (getpass.getuser(), "::1", 22)),
    ],
)
def test_an_address_is_a_user_a_host_and_a_port(address: str, found: tuple[str, str, int]) -> None:
    where = target(profile_of(address))
    assert (where.user, where.host, where.port) == found


@pytest.mark.parametrize(
    "address", ["", "a b", "me@", "-oProxyCommand=x", "me@-x", "pi:0", "pi:99999", "pi:x", "$(id)", "pi;id", "::1:22"]
)
def test_what_is_no_address_is_said_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(UsageError, match=r"user@host:port|port between"):
        target(profile_of(address))


def test_the_users_configuration_says_how_to_get_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh" / "more.d").mkdir(parents=True)
    (tmp_path / ".ssh" / "config").write_text(
        """
        Include more.d/*
        Host pi
            HostName 10.1.2.3
            User measurer
            IdentityFile ~/.ssh/farm
            IdentitiesOnly yes
            IdentityAgent none
            ConnectTimeout 3
            ProxyJump hop@gate:2022,second
            UserKnownHostsFile ~/hosts-a ~/hosts-b
        Host second
            Port 2023
        """
    )
    (tmp_path / ".ssh" / "more.d" / "ports").write_text("Host pi\n  Port 2222\n")
    where = target(DeviceProfile(name="pi", kind="ssh", address="pi", options=parameters(known_hosts="/farm")))
    assert (where.user, where.host, where.port, where.connect_s) == ("measurer", "10.1.2.3", 2222, 3)
    assert where.identities == (tmp_path / ".ssh" / "farm",)
    assert where.only_identities and where.agent is None
    assert where.known_hosts[:3] == (Path("/farm"), tmp_path / "hosts-a", tmp_path / "hosts-b")
    assert [(jump.user, jump.host, jump.port) for jump in where.jumps] == [
        ("hop", "gate", 2022),
        (getpass.getuser(), "second", 2023),
    ]
    assert target(DeviceProfile(name="pi", address="root@pi:22")).port == 22, "what the address says goes first"


def test_an_include_that_cannot_be_followed_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host pi\n  Include other\n")
    with pytest.raises(Refused, match=r"Include other' inside 'Host pi'.*ssh_config"):
        target(profile_of("pi", tmp_path / "config"))


def test_the_farms_own_known_hosts_come_from_the_environment_where_a_profile_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUANTFARM_KNOWN_HOSTS", "/of/the/farm")
    assert target(profile_of("pi")).known_hosts[0] == Path("/of/the/farm")
    assert host_keys.farms_file(profile_of("pi")) == Path("/of/the/farm")


# ------------------------------------------------------------------ host keys


def test_a_host_key_has_the_fingerprint_that_ssh_keygen_prints(server: Server) -> None:
    found = host_keys.fetch(server.profile)
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(server.folder / "host_key.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert found.fingerprint in printed.split()
    assert found.kind == "ssh-ed25519"
    assert host_keys.accepted(server.profile, found)


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_how_to_accept_it(
    server: Server, tmp_path: Path
) -> None:
    unknown = server.with_options(known_hosts=str(tmp_path / "none"), ssh_config=str(empty_config(server, tmp_path)))
    shown = host_keys.fetch(unknown)
    with pytest.raises(Refused, match="not known") as said:
        echo(unknown)
    assert f"quantfarm device add … --host-key {shown.fingerprint}" in str(said.value)
    assert not said.value.retryable
    assert not (tmp_path / "none").exists(), "nothing is ever added by itself"
    assert not host_keys.accepted(unknown, shown)
    host_keys.remember(shown, tmp_path / "none")
    assert host_keys.accepted(unknown, shown)
    assert echo(unknown) == ["here\n"]


def empty_config(server: Server, folder: Path) -> Path:
    """The server's client configuration, with no known hosts of the user."""
    made = folder / "ssh_config"
    made.write_text((server.folder / "ssh_config").read_text() + "UserKnownHostsFile none\n")
    return made


def test_a_changed_host_key_is_refused_in_clear_words(server: Server, tmp_path: Path) -> None:
    other = key(tmp_path / "other").with_suffix(".pub").read_text()
    (tmp_path / "known").write_text(f"[{server.host}]:{server.port} {other}")
    changed = server.with_options(known_hosts=str(tmp_path / "known"), ssh_config=str(empty_config(server, tmp_path)))
    shown = host_keys.fetch(changed)
    with pytest.raises(Refused, match="has CHANGED") as said:
        echo(changed)
    assert shown.fingerprint in str(said.value) and str(tmp_path / "known") in str(said.value)
    with pytest.raises(Refused, match="has CHANGED"):
        host_keys.accepted(changed, shown)
    host_keys.remember(shown, tmp_path / "known")
    assert echo(changed) == ["here\n"]
    assert len((tmp_path / "known").read_text().splitlines()) == 1


def test_known_hosts_are_read_in_all_their_forms(tmp_path: Path) -> None:
    text = key(tmp_path / "k").with_suffix(".pub").read_text().split()[1]
    wanted = host_keys.HostKey(name="[pi.lab]:2222", kind="ssh-ed25519", base64=text)
    file = tmp_path / "known"

    def known(line: str) -> bool:
        file.write_text(f"# a comment\n\n{line}\n")
        return bool(host_keys.entries(wanted.name, [file]))

    assert known(f"[pi.lab]:2222 ssh-ed25519 {text} a comment")
    assert known(f"other,[pi.lab]:2222\tssh-ed25519  {text}")
    assert known(f"[*.lab]:2222 ssh-ed25519 {text}")
    assert not known(f"[*.lab]:2222,![pi.lab]:2222 ssh-ed25519 {text}")
    assert not known(f"pi.lab ssh-ed25519 {text}"), "another port is another host"
    assert not known(f"[pi.lab]:2222 ssh-ed25519 {text[:-5]}!!")
    assert not known("[pi.lab]:2222 ssh-ed25519")
    file.write_text(f"[pi.lab]:2222 ssh-ed25519 {text}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert file.read_text().startswith("|1|") and host_keys.entries(wanted.name, [file])
    host_keys.check(wanted, [file], "pi")
    file.write_text(f"[pi.lab]:2222 ssh-ed25519 {text}\n@revoked * ssh-ed25519 {text}\n")
    with pytest.raises(Refused, match="revoked"):
        host_keys.check(wanted, [file], "pi")


def test_a_host_with_several_keys_shows_the_kind_that_is_known(tmp_path: Path) -> None:
    lines = f"HostKey {key(tmp_path / 'rsa', 'rsa')}\nHostKey {key(tmp_path / 'ecdsa', 'ecdsa')}"
    with sshd(tmp_path, lines=lines) as server:
        for kind in ("rsa", "ecdsa"):
            public = (tmp_path / f"{kind}.pub").read_text()
            server.known_hosts.write_text(f"[{server.host}]:{server.port} {public}")
            assert echo(server.profile) == ["here\n"]


# ------------------------------------------------------------------ our own keys


def test_a_key_that_is_not_let_in_is_refused_with_what_was_tried(server: Server, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"IdentityFile {key(tmp_path / 'stranger')}\nIdentityAgent none\n")
    with pytest.raises(Refused, match="does not let") as said:
        echo(server.with_options(ssh_config=str(tmp_path / "config")))
    assert str(tmp_path / "stranger") in str(said.value) and "authorized_keys" in str(said.value)
    assert not said.value.retryable


def test_a_locked_key_is_asked_no_passphrase_for(server: Server, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    (tmp_path / "config").write_text(f"IdentityFile {locked}\nIdentityAgent none\n")
    with pytest.raises(Refused, match=r"locked \(locked: ssh-add it\)"):
        echo(server.with_options(ssh_config=str(tmp_path / "config")))


def test_no_key_at_all_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"IdentityFile {tmp_path}/nothing\nIdentityAgent none\n")
    with pytest.raises(Refused, match="there is no key to show"):
        echo(server.with_options(ssh_config=str(tmp_path / "config")))


def test_a_key_that_the_agent_holds_is_used(server: Server, tmp_path: Path) -> None:
    """Also one that is in no file, and also the agent that the configuration names rather than the environment."""
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        shutil.copy(server.folder / "user_key", tmp_path / "mine")
        for _ in range(100):
            if socket.exists():
                break
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        for file in (key(tmp_path / "another"), tmp_path / "mine"):
            subprocess.run(["ssh-add", "-q", str(file)], env=environment, check=True)
        (tmp_path / "config").write_text(f"IdentityAgent {socket}\nIdentityFile none\n")
        assert echo(server.with_options(ssh_config=str(tmp_path / "config"))) == ["here\n"]
    finally:
        agent.terminate()
        agent.wait(10)


def test_the_farm_never_sends_a_password(tmp_path: Path) -> None:
    takes = "AuthenticationMethods password\nPasswordAuthentication yes"
    refused = pytest.raises(Refused, match="takes only password, and no password is kept")
    with sshd(tmp_path, lines=takes) as server, refused:
        echo(server.profile)


# ------------------------------------------------------------------ what lies between


def test_a_host_behind_a_host_is_reached_through_it(server: Server, tmp_path: Path) -> None:
    """The same server twice: what it forwards to is itself."""
    config = tmp_path / "config"
    config.write_text(
        f"{(server.folder / 'ssh_config').read_text()}\n"
        f"Host behind\n  HostName {server.host}\n  Port {server.port}\n  ProxyJump {server.profile.address}\n"
    )
    before = server.log().count("Accepted publickey")
    behind = server.with_options(ssh_config=str(config))
    assert echo(DeviceProfile(**{**fields(behind), "address": "behind"})) == ["here\n"]
    assert server.log().count("Accepted publickey") == before + 2


def test_a_proxy_command_is_a_way_too(server: Server, tmp_path: Path) -> None:
    relay = "import socket,sys,threading,os\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
    relay += (
        "def pump():\n  while d:=os.read(0,65536): s.sendall(d)\nthreading.Thread(target=pump,daemon=True).start()\n"
    )
    relay += "while d:=s.recv(65536): os.write(1,d)\n"
    (tmp_path / "relay.py").write_text(relay)
    config = tmp_path / "config"
    config.write_text(
        f"{(server.folder / 'ssh_config').read_text()}\nProxyCommand {sys.executable} {tmp_path}/relay.py %h %p\n"
    )
    assert echo(server.with_options(ssh_config=str(config))) == ["here\n"]


def fields(profile: DeviceProfile) -> dict[str, object]:
    return {name: getattr(profile, name) for name in profile.__dataclass_fields__}


def test_a_host_that_is_not_there_is_tried_three_times_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("agents.ssh.time.sleep", waited.append)
    with pytest.raises(Unreachable, match=r"Connection refused.*\(3 tries\)") as said:
        echo(profile_of(f"127.0.0.1:{free_port()}"))
    assert waited == [1.0, 2.0]
    assert said.value.retryable
    with pytest.raises(Unreachable, match="no host of that name"):
        echo(profile_of("no-such-host.invalid", tries=1))


def test_a_host_that_says_nothing_is_waited_for_no_longer_than_its_limit() -> None:
    import socket

    refused = pytest.raises(Unreachable, match="did not answer as SSH does within 1 s")
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        echo(profile_of(f"127.0.0.1:{silent.getsockname()[1]}", tries=1, connect_s=1))


# ------------------------------------------------------------------ at work


def test_one_connection_serves_all_and_a_closed_agent_connects_again(server: Server, device: SshAgent) -> None:
    before = server.log().count("Accepted publickey")
    for _ in range(2):
        assert device.run(["true"], on_line=print, limit_s=60).code == 0
    assert server.log().count("Accepted publickey") == before + 1
    device.close()
    assert device.run(["true"], on_line=print, limit_s=60).code == 0
    assert server.log().count("Accepted publickey") == before + 2


def test_a_controller_here_and_one_over_ssh_are_two_controllers_of_one_machine(
    server: Server, device: SshAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTFARM_LEASES", str(server.leases))

    def give_up(who: str) -> None:
        raise TimeoutError(who)

    refused = pytest.raises(TimeoutError, match=r"from afar \(process")
    with device.lease("from afar", print) as first, refused, leases.lease("local", "here", give_up):
        pass
    with leases.lease("local", "here", print) as second:
        assert second.token.count == first.token.count + 1 and second.token.lineage == first.token.lineage
        with pytest.raises(TimeoutError, match=r"here \(process"), device.lease("from afar", give_up):
            pass


def test_the_device_tells_what_it_is(device: SshAgent) -> None:
    facts = device.probe()
    assert facts["cores"] >= 1
    assert facts["memory_mib"] > 100


def test_where_there_is_no_sftp_it_is_said(tmp_path: Path) -> None:
    with sshd(tmp_path) as server:
        config = server.folder / "sshd_config"
        config.write_text(re.sub(r"(?m)^Subsystem.*$", "", config.read_text()))
        server.process.send_signal(1)  # reads it again
        agent = SshAgent(server.profile)
        try:
            with pytest.raises(AgentError, match="has no SFTP"):
                agent.push(Path(__file__), "")
        finally:
            agent.close()


# ------------------------------------------------------------------ environments


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of one module, so that nothing is fetched."""
    import zipfile

    folder = tmp_path_factory.mktemp("wheel")
    path = folder / "farmtest-1.0-py3-none-any.whl"
    info = "farmtest-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("farmtest.py", "answer = 42\n")
        made.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: farmtest\nVersion: 1.0\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", f"farmtest.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.mark.parametrize("with_uv", [False, True])
def test_an_environment_is_made_once_and_has_what_was_asked_for(with_uv: bool, tmp_path: Path, wheel: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")  # where `make` puts it
    if with_uv and not Path(uv).exists():
        pytest.fail("no uv here") if os.environ.get("CI") else pytest.skip("no uv here")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    if with_uv:
        (tools / "uv").symlink_to(uv)
    path = f"{tools}:/usr/bin:/bin"
    with sshd(tmp_path, lines=f"SetEnv PATH={path} HOME={tmp_path}") as server:
        agent = SshAgent(server.profile)
        said: list[str] = []

        def make() -> str:
            return environments.environment(
                agent, [f"farmtest @ file://{wheel}"], folder=agent.folder, on_line=said.append, python=sys.executable
            )

        try:
            python = make()
            assert ("making an environment with uv\n" in said) == with_uv, said
            lines: list[str] = []
            agent.run([python, "-c", "import farmtest; print(farmtest.answer)"], on_line=lines.append, limit_s=60)
            assert lines == ["42\n"]
            said.clear()
            assert make() == python and not said
            (Path(python).parents[1] / ".finished").unlink()  # as if it had been cut off
            assert make() == python and said
        finally:
            agent.close()


def test_an_environment_that_cannot_be_made_is_said_and_leaves_nothing(server: Server, device: SshAgent) -> None:
    with pytest.raises(AgentError, match=r"for farmtest @ file:///nowhere\S* could not be made") as said:
        environments.environment(device, ["farmtest @ file:///nowhere-1.0-py3-none-any.whl"], folder=device.folder)
    assert (said.value.stage, said.value.retryable) == ("environment", False)
    assert not [path for path in (server.files / "envs").iterdir() if path.suffix != ".lock"]


def test_the_versions_that_a_runner_declares_are_looked_at(server: Server, device: SshAgent) -> None:
    with pytest.raises(AgentError, match=r"no Python 3\.99 or newer"):
        environments.environment(device, [], folder=device.folder, oldest="3.99")
    with pytest.raises(ValueError, match="no version"):
        environments.environment(device, [], folder=device.folder, oldest="two")
    assert ssh_config.CONNECT_S == 10
