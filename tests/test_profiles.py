"""Profiles are facts in YAML; every mistake is one message that names the place and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import devices
from quantfarm import profiles
from quantfarm.errors import UsageError
from quantfarm.nouns import Limits
from storage.home import Home


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_profile_is_read_with_its_facts(tmp_path: Path) -> None:
    write(tmp_path, "desk", "cores: 8\nmemory_mib: 32000\ntags: [lab]\nlimits: {memory_mib: 3000}\ntargets: {a: 1}\n")
    profile = profiles.load([tmp_path])["desk"]
    assert (profile.name, profile.cores, profile.tags) == ("desk", 8, ("lab",))
    assert profile.limits == Limits(memory_mib=3000)
    assert profile.memory_budget_mib == 3000
    assert profile.targets == (("a", 1),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coers: 8", "unknown key 'coers'.*did you mean cores"),
        ("cores: eight", "cores: .*given 'eight'"),
        ("limits: {memory_mb: 3}", "unknown key 'limits.memory_mb'.*did you mean limits.memory_mib"),
        ("cores: [", "not valid YAML.*line"),
        ("- a\n- b", "should hold 'key: value' lines, not a list"),
    ],
)
def test_a_mistake_in_a_profile_is_said_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "desk", text)
    with pytest.raises(UsageError, match=said) as caught:
        profiles.load([tmp_path])
    assert str(path) in str(caught.value)


def test_an_unknown_device_is_answered_with_the_nearest_name(home: Path) -> None:
    known = devices.known(Home.default())
    with pytest.raises(UsageError, match="unknown device 'fake-lapto': did you mean fake-laptop"):
        profiles.choose(known, ["fake-lapto"])


def test_an_unknown_tag_is_answered_with_those_that_are_carried(home: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown tag 'simulatd': did you mean simulated"):
        profiles.choose(devices.known(Home.default()), [], ["simulatd"])


def test_a_template_is_never_a_device_to_measure(tmp_path: Path) -> None:
    write(tmp_path, "m9", "template: true\n")
    with pytest.raises(UsageError, match="'m9' is a template"):
        profiles.choose(profiles.load([tmp_path]), ["m9"])


def test_this_machine_is_always_a_device_with_its_own_facts(home: Path) -> None:
    local = devices.known(Home.default())["local"]
    assert local.cores >= 1
    assert local.memory_mib > 100
    assert local.chip and local.os
    assert not local.simulated


def test_a_profile_in_the_home_takes_the_place_of_a_shipped_one(home: Path) -> None:
    write(home / "device_profiles", "local", "limits: {memory_mib: 1234}\n")
    local = devices.known(Home.default())["local"]
    assert local.memory_budget_mib == 1234
    assert local.memory_mib > 1234  # what it does not say is still found out


def test_every_shipped_profile_is_valid_and_no_device_that_was_never_measured_looks_real() -> None:
    shipped = profiles.load([profiles.SHIPPED])
    assert shipped
    assert all(profile.simulated or profile.template for profile in shipped.values())
