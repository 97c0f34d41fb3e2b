"""What runs are called in Prefect's UI, and the tags they are found by, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import labels
from tests.serving import Api, serving


@pytest.fixture
def api(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Api]:
    with serving(home, tmp_path / "serve.log") as api:
        yield api


def test_a_check_and_a_registration_say_of_which_device_they_are(api: Api) -> None:
    checked = api.start("check-devices", names=["desk", "fake-phone"])
    registered = api.start("register-device", name="attic", url="ssh://nobody@127.0.0.1:9")
    everything = api.start("check-devices")
    one = api.ended(checked)
    assert (one["name"], sorted(one["tags"])) == ("check desk, fake-phone", ["device:desk", "device:fake-phone"])
    one = api.ended(registered)
    assert (one["name"], one["tags"]) == ("register attic", ["device:attic"])
    one = api.ended(everything)
    assert (one["name"], one["tags"]) == ("check all devices", [])


def test_many_devices_are_one_tag_that_counts_them() -> None:
    assert labels.tags(["b", "a"], ["desk", "desk"]) == ["model:a", "model:b", "device:desk"]
    many = [f"phone-{n}" for n in range(labels.DEVICES + 1)]
    assert labels.tags([], many) == [f"{len(many)} devices"]
