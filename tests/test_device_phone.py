"""Registering a phone at a real adbd: no Python there, sensors, a temperature at rest, and one that vanishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import AgentError
from flows import checks, devices, discover, register
from flows.register import Wanted
from quantfarm import profiles
from quantfarm.health import DeviceState
from storage.devices import Registry
from storage.home import Home
from tests import native
from tests.phone import phones


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Any]:
    phones.require()
    native.built(native.PHONE)
    with phones.adb_server(), phones.phone(tmp_path) as made:
        yield made


def wanted(phone: Any, idle_s: float) -> Wanted:
    options = dict(phone.profile.options)
    return Wanted(name="phone", url=f"adb://{phone.profile.address}", options=options, idle_s=idle_s)


def test_a_phone_is_registered_at_rest_checked_and_discovered_once_it_is_removed(home: Path, phone: Any) -> None:
    done = register.register(Home(home), wanted(phone, 4), lambda _: None)
    profile = profiles.load([home / "device_profiles"])["phone"]
    assert profile.platform == native.PHONE
    assert set(profile.runtimes) == {"llama_bench", "llama_native"}
    assert "static" in dict(profile.builds)["llama_native"]
    assert profile.idle and profile.idle.temperature_c and profile.idle.reading.endswith("_c")
    assert any(line.startswith("not for llama_cpp: no Python") for line in done.lines)
    figures = Registry(Home(home)).canaries("phone")[-1].figures
    assert {"bench_pp", "bench_tg", "ppl"} <= set(figures)
    assert checks.check(Home(home), ["phone"], lambda _: None)[0].ok
    url = f"adb://{phone.profile.address}"  # the adb server knows it by now
    assert url not in {one.url for one in discover.discover(Home(home)).seen}
    devices.retire(Home(home), "phone", "sold")
    assert url in {one.url for one in discover.discover(Home(home)).seen}


def test_a_phone_that_is_gone_is_unhealthy_until_three_clean_canaries(home: Path, phone: Any) -> None:
    register.register(Home(home), wanted(phone, 0), lambda _: None)
    phone.unplug()
    (checked,) = checks.check(Home(home), ["phone"], lambda _: None)
    assert checked.state is DeviceState.UNHEALTHY, checked
    phone.plug_in()
    (checked,) = checks.check(Home(home), ["phone"], lambda _: None)
    assert checked.ok and checked.text.startswith("3 clean canaries"), checked


def test_a_phone_that_is_not_there_is_not_registered(home: Path, phone: Any) -> None:
    request = wanted(phone, 0)
    phone.unplug()
    with pytest.raises(AgentError):
        register.register(Home(home), request, lambda _: None)
    assert not (home / "device_profiles").exists()
    assert Registry(Home(home)).state("phone") is DeviceState.UNHEALTHY
