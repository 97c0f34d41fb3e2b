"""What registration makes of what it hears: addresses, names, Pythons, and a profile that reads as it was meant."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents import addresses
from agents.addresses import Address
from flows.register import Wanted, _draft, _with_facts  # pyright: ignore[reportPrivateUsage]
from quantfarm import profiles, registration
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, Idle, Limits, parameters
from quantfarm.registration import ASK_PYTHON, Needs, Presence, Python
from quantfarm.runtimes.llama_cpp import runner_file
from storage.home import Home


@pytest.mark.parametrize(
    ("url", "kind", "address"),
    [
        ("local", "local", ""),
        ("fake", "fake", ""),
        ("ssh://pi.lan", "ssh", "pi.lan"),
        ("ssh://me@10.0.0.7:2222/", "ssh", "me@10.0.0.7:2222"),
        ("ssh://me@[fe80::1]:22", "ssh", "me@[fe80::1]:22"),
        ("ray://node-1", "ray", "node-1"),
        ("adb://emulator-5554", "adb", "emulator-5554"),
        ("adb://10.0.0.9:5555", "adb", "10.0.0.9:5555"),
    ],
)
def test_an_address_says_how_and_where(url: str, kind: str, address: str) -> None:
    assert addresses.parse(url) == Address(kind, address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sssh://x", "unknown way to a device 'sssh': did you mean ssh?"),
        ("me@host", "A device at a host is ssh://me@host"),
        ("ssh://", "names no device: it is ssh://[user@]host[:port]"),
        ("ssh://me:secret@host", "an address holds no password (ssh://host)"),
        ("ssh://-oProxyCommand=x", "no host"),
        ("ssh://host/path", "no host"),
        ("ssh://fe80::1", "an IPv6 address goes into brackets"),
        ("ssh://host:0", "0 is no port"),
        ("ssh://host:70000", "70000 is no port"),
        ("ssh://$(reboot)@host", "is no user's name"),
        ("ray://a b", "is not what a node is called"),
        ("adb://-s", "is not what a phone is called"),
        ("local://x", "local has no address"),
        ("", "unknown way to a device ''"),
    ],
)
def test_what_is_no_address_is_said_with_the_way_out(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        addresses.parse(url)


@given(st.text(max_size=60))
def test_no_text_is_an_address_that_a_program_could_take_for_an_option(text: str) -> None:
    for kind in ("ssh", "ray", "adb"):
        try:
            found = addresses.parse(f"{kind}://{text}")
        except UsageError:
            continue
        assert not any(part.startswith("-") for part in re.split("[@]", found.address))
        assert found.address.isprintable() and " " not in found.address


@pytest.mark.parametrize("name", ["pi", "0", "a-b-9", "x" * 64])
def test_a_name_is_small_letters_digits_and_dashes(name: str) -> None:
    registration.check_name(name, {})


@pytest.mark.parametrize("name", ["", "-pi", "Pi", "p i", "pi.yaml", "../pi", "x" * 65, "pí", "pi\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a device"):
        registration.check_name(name, {})


def test_what_a_runner_needs_is_declared_in_its_own_file(tmp_path: Path) -> None:
    found = registration.needs(runner_file("llama_cpp.py"))
    assert found.python == "3.11"
    assert set(found.packages) == {"llama-cpp-python"}
    plain = tmp_path / "plain.py"
    plain.write_text("print(1)\n")
    assert registration.needs(plain) == Needs()


def test_a_real_python_says_what_it_has() -> None:
    asks = [sys.executable, "-c", ASK_PYTHON, "llama-cpp-python", "no-such-package"]
    lines = subprocess.run(asks, capture_output=True, text=True, check=True).stdout.splitlines()
    found = registration.read_python(sys.executable, ["a warning before it", *lines])
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert set(found.packages) == {"llama-cpp-python"}
    assert registration.python_lacks(found, registration.needs(runner_file("llama_cpp.py"))) == ""


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[" * 100_000,
        "\x00\xff",
        "[1]",
        '{"python": 3}',
        '{"python": "3.11; rm -rf /", "packages": {}}',
        '{"python": "3.11", "packages": 1}',
        "{" * 10**6,
    ],
)
def test_a_python_that_answers_nonsense_is_none(line: str) -> None:
    found = registration.read_python("/usr/bin/python3", [line])
    assert registration.python_lacks(found, Needs(python="3.11")) == "no Python at /usr/bin/python3"


def test_versions_of_packages_that_are_no_versions_are_passed_over() -> None:
    said = json.dumps({"python": "3.12.1", "packages": {"a": "1.0\n; evil", "b": "2.5"}})
    assert registration.read_python("/p", [said]).packages == {"b": "2.5"}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (Python(path=""), "no Python"),
        (Python(path="/p", version="3.9.2"), "/p is Python 3.9.2, it needs 3.11"),
        (Python(path="/p", version="3.11.0"), "/p has no x"),
        (Python(path="/p", version="3.12", packages={"x": "0.3.9"}), "/p has x 0.3.9, it needs 0.3.36"),
        (Python(path="/p", version="3.12", packages={"x": "0.3.36+cpu"}), ""),
        (Python(path="/p", version="3.12", packages={"x": "0.10"}), ""),
    ],
)
def test_what_a_python_lacks_is_said(there: Python, said: str) -> None:
    assert registration.python_lacks(there, Needs(python="3.11", packages={"x": "0.3.36"})) == said


def test_readiness_names_what_can_be_measured_and_why_the_rest_cannot() -> None:
    found = [Presence(runtime="a", build="a 1"), Presence(runtime="b", lacks="not built: build it")]
    workloads = {"a": {"quality", "bench", "logits"}, "b": {"bench"}}
    assert registration.readiness(found, workloads) == [
        "ready for: a (bench, quality)",
        "not for b: not built: build it",
    ]
    assert registration.readiness(found[1:], workloads)[0] == "ready for nothing yet"


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)
PAIRS = st.dictionaries(
    TEXT.filter(bool), st.one_of(TEXT, st.integers(), st.booleans(), st.floats(-1e9, 1e9)), max_size=3
)


@given(
    st.builds(
        DeviceProfile,
        name=st.just("pi"),
        kind=st.just("ssh"),
        address=TEXT,
        os=TEXT,
        chip=TEXT,
        cores=st.integers(1, 512),
        memory_mib=st.integers(0, 2**30),
        accelerators=st.lists(TEXT, max_size=3).map(tuple),
        sensors=st.lists(TEXT, max_size=3).map(tuple),
        missing=PAIRS.map(parameters),
        builds=PAIRS.map(parameters),
        options=PAIRS.map(parameters),
        idle=st.none() | st.builds(Idle, temperature_c=st.floats(-20, 99), reading=TEXT, measured_at=TEXT),
        limits=st.builds(Limits, memory_mib=st.none() | st.integers(1, 10**6)),
        tags=st.lists(TEXT, max_size=3).map(tuple),
    )
)
def test_a_profile_reads_as_it_was_meant_whatever_its_texts_are(profile: DeviceProfile) -> None:
    text = registration.profile_text(profile, "pi: registered\nby a test")
    assert text.startswith("# pi: registered\n# by a test\n")
    assert profiles.parse({"name": "pi", **yaml.safe_load(text)}, "it") == profile


def draft(home: Path) -> DeviceProfile:
    wanted = Wanted(name="pi", url="ssh://pi", options={"python": "/mine"})
    return _draft(Home(home), wanted, addresses.parse(wanted.url))


def test_a_device_may_say_what_it_is_and_nothing_of_what_it_may_do(home: Path) -> None:
    said = {
        "chip": "A\x1b[31m72\n",
        "cores": 4,
        "missing": {"rapl": "no\nzones"},
        "name": "local",
        "kind": "local",
        "address": "evil",
        "simulated": True,
        "tags": ["lab"],
        "runtimes": ["llama_cpp"],
        "limits": {"memory_mib": 1},
        "options": {"python": "/theirs", "known_hosts": "/etc/passwd"},
    }
    found = _with_facts(draft(home), said)
    assert (found.chip, found.cores, found.missing) == ("A [31m72", 4, (("rapl", "no zones"),))
    assert (found.name, found.kind, found.address, found.simulated) == ("pi", "ssh", "pi", False)
    assert (found.tags, found.runtimes, found.limits) == ((), (), Limits())
    assert found.options == (("python", "/mine"),)


@pytest.mark.parametrize("said", [{"cores": "many"}, {"memory_mib": "x"}, {"sensors": "all"}, {"missing": 3}])
def test_a_fact_that_is_none_is_refused(home: Path, said: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="what pi says of itself"):
        _with_facts(draft(home), said)
