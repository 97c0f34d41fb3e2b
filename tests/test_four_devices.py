"""The farm as its users have it: one sweep over this machine, an SSH host, a Ray node and a phone.

All four are registered by the command line and real: an OpenSSH server, a Ray node with its own agent, Android's
own daemon and shell. The phone's cable is pulled while it measures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantfarm import toolchain
from quantfarm.errors import FarmError
from quantfarm.nouns import DeviceProfile, State
from tests.phone import phones
from tests.phone.phones import Phone
from tests.ray.nodes import HEAD, cluster
from tests.ssh.server import sshd
from tests.sweeping import landings, quantfarm, start

DEVICES = ("local", "ssh-host", "ray-node", "phone")
QUANTS = ("F16", "Q8_0", "Q4_K_M")
SMALL = ("-p", "32", "-n", "16", "--n-chunks", "2", "--launches", "2", "--threads", "1", "--suite", "quick")


@dataclass(frozen=True)
class Farm:
    home: Path
    phone: Phone


def add(name: str, url: str, profile: DeviceProfile, *more: str) -> str:
    options = [word for key, value in profile.options for word in ("--option", f"{key}={value}")]
    return quantfarm("device", "add", name, url, "--idle-s", "0", *options, *more)


@pytest.fixture
def farm(home: Path, tmp_path: Path, prefect_server: str) -> Iterator[Farm]:
    """Four registered devices. Ray's sockets need a short path."""
    _need_static_tools()
    with (
        tempfile.TemporaryDirectory(prefix="ray") as short,
        sshd(tmp_path) as server,
        phones.adb_server(),
        phones.phone(tmp_path) as phone,
        cluster(Path(short)) as ray,
    ):
        add("ssh-host", f"ssh://{server.profile.address}", server.profile, "--python", sys.executable)
        add("ray-node", f"ray://{HEAD}", ray.profile(HEAD))
        add("phone", f"adb://{phone.serial}", phone.profile, "--tag", "phones")
        yield Farm(home, phone)


def _need_static_tools() -> None:
    try:
        built = toolchain.builds_for("android-x86_64")
    except FarmError:
        built = {}
    if not built:
        message = "run `quantfarm toolchain build --for android-x86_64` first"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


def pull_the_cable_while_it_measures(farm: Farm) -> None:
    end = time.monotonic() + 300
    while not any("quantfarm-native" in line for line in farm.phone.processes().values()):
        assert time.monotonic() < end, "the phone never measured"
        time.sleep(0.02)
    farm.phone.unplug()
    time.sleep(3)
    farm.phone.plug_in()


def test_one_sweep_measures_the_same_variants_on_all_four_and_a_pulled_cable_costs_one_retried_cell(
    farm: Farm, tmp_path: Path
) -> None:
    listed = {row["device"]: row for row in json.loads(quantfarm("device", "list", "--json"))}
    assert {listed[name]["state"] for name in DEVICES[1:]} == {"ready"}

    sweep = ("sweep", "--devices", ",".join(DEVICES), "--quants", ",".join(QUANTS), *SMALL, "--json")
    with start(*sweep) as running:
        try:
            pull_the_cable_while_it_measures(farm)
        except BaseException:
            running.kill()
            raise
        out, err = running.communicate(timeout=500)
    assert running.returncode == 0, out + err
    done = json.loads(out)
    assert (done["failed"], done["waiting"]) == (0, 0)

    landed = list(landings(farm.home).all())
    failed = [one for one in landed if one.outcome.state is State.FAILED]
    assert [(one.cell.profile.name, one.outcome.retryable) for one in failed] == [("phone", True)]
    speed = {(o.cell.profile.name, o.cell.variant.name) for o in landed if o.cell.workload.kind == "bench"}
    assert speed == {(device, quant) for device in DEVICES for quant in QUANTS}

    again = json.loads(quantfarm(*sweep))
    assert (again["ok"], again["failed"], again["known"]) == (0, 0, done["ok"])

    quantfarm("report", "--out", str(tmp_path / "report"))
    text = (tmp_path / "report" / "BENCHMARK.md").read_text()
    for device in DEVICES:
        assert f"{device}-reference-pareto.svg" in text, text
        assert (tmp_path / "report" / "docs" / "plots" / f"{device}-reference-pareto.svg").stat().st_size > 1000
