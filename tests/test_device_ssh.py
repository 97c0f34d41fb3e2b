"""Registering a device at a real SSH server: its host key, its facts, its Python, its canary."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import AgentError, Refused, host_keys
from flows import checks
from flows.register import Registered, Wanted, register
from flows.steps import Step
from flows.trust import Shown
from quantfarm import profiles
from quantfarm.errors import FarmError, UsageError
from quantfarm.health import DeviceState
from storage.devices import Registry
from storage.home import Home
from tests.ssh.server import Server, sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with sshd(tmp_path) as made:
        made.known_hosts.write_text("")  # nobody has looked at its key yet
        yield made


def fingerprint(server: Server) -> str:
    return host_keys.fetch(server.profile).fingerprint


def wanted(server: Server, **more: object) -> Wanted:
    options = {**dict(server.profile.options), "python": sys.executable, **more.pop("options", {})}  # pyright: ignore
    url = f"ssh://{server.profile.address}"
    return Wanted(name="pi", url=url, options=options, idle_s=0, **more)  # pyright: ignore[reportArgumentType]


def go(home: Path, what: Wanted, confirm: object = None) -> tuple[Registered, list[Step]]:
    steps: list[Step] = []
    return register(Home(home), what, steps.append, confirm), steps  # pyright: ignore[reportArgumentType]


def test_a_host_with_an_accepted_key_is_registered_and_can_be_checked(home: Path, server: Server) -> None:
    done, steps = go(home, wanted(server, host_key=fingerprint(server)))
    profile = profiles.load([home / "device_profiles"])["pi"]
    assert (profile.kind, profile.address) == ("ssh", server.profile.address)
    assert profile.platform.startswith("linux-") and profile.chip and profile.cores >= 1
    assert dict(profile.builds)["llama_cpp"].startswith("llama-cpp-python ")
    assert dict(profile.options)["python"] == sys.executable
    assert "user_key" not in done.path.read_text()
    canary = Registry(Home(home)).canaries("pi")[-1]
    assert canary.clean and {"bench_pp", "bench_tg", "ppl"} <= set(canary.figures)
    assert "fetching its host key" in [step.text for step in steps]
    (checked,) = checks.check(Home(home), ["pi"], lambda _: None)
    assert checked.ok, checked.text


def test_an_unknown_key_is_refused_with_its_fingerprint_and_nothing_is_written(home: Path, server: Server) -> None:
    shown = fingerprint(server)
    with pytest.raises(UsageError, match=re.escape(f"is not known: ssh-ed25519 {shown}. ")) as refused:
        go(home, wanted(server))
    assert f"`--host-key {shown}`" in str(refused.value)
    assert server.known_hosts.read_text() == ""
    assert Registry(Home(home)).names() == [] and not (home / "device_profiles").exists()


def test_a_person_is_shown_the_key_and_may_say_no(home: Path, server: Server) -> None:
    asked: list[Shown] = []

    def no(shown: Shown) -> bool:
        asked.append(shown)
        return False

    with pytest.raises(UsageError, match="was not accepted"):
        go(home, wanted(server), no)
    assert [(one.kind, one.fingerprint) for one in asked] == [("ssh-ed25519", fingerprint(server))]
    assert server.known_hosts.read_text() == ""


def test_another_key_than_the_one_expected_is_refused(home: Path, server: Server) -> None:
    with pytest.raises(UsageError, match="not SHA256:other: somebody may be in between"):
        go(home, wanted(server, host_key="SHA256:other"))
    assert server.known_hosts.read_text() == ""


def test_a_key_that_has_changed_is_refused_whatever_a_person_would_say(home: Path, server: Server) -> None:
    other = server.folder / "user_key.pub"
    server.known_hosts.write_text(f"[{server.host}]:{server.port} {other.read_text()}")
    with pytest.raises(Refused, match="CHANGED"):
        go(home, wanted(server), lambda _: True)
    assert not (home / "device_profiles").exists()


def test_a_key_refused_by_the_device_is_a_record_and_no_profile(home: Path, server: Server) -> None:
    (server.folder / "authorized_keys").write_text("")
    with pytest.raises(AgentError):
        go(home, wanted(server, host_key=fingerprint(server)))
    assert Registry(Home(home)).state("pi") is DeviceState.UNHEALTHY
    assert not (home / "device_profiles").exists()


def test_where_nothing_can_measure_each_runtime_says_why(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUANTFARM_CACHE", str(tmp_path / "cache"))  # nothing is built
    with pytest.raises(
        FarmError, match=r"nothing there can measure .*llama_cpp: no Python at /nowhere.*toolchain build"
    ):
        go(home, wanted(server, host_key=fingerprint(server), options={"python": "/nowhere"}))
    assert Registry(Home(home)).state("pi") is DeviceState.UNHEALTHY


def test_two_names_of_one_machine_are_told(home: Path, server: Server) -> None:
    go(home, wanted(server, host_key=fingerprint(server)))
    again = Wanted(**{**{f: getattr(wanted(server), f) for f in Wanted.__slots__}, "name": "other"})
    done, _ = go(home, again)
    assert any("it is the same machine as pi" in text for text in done.warnings)
