"""The recommended default of each platform: from its devices together, with what they differ in said."""

from __future__ import annotations

import dataclasses

from quantfarm.candidates import Candidate
from quantfarm.nouns import DeviceProfile
from quantfarm.report import platforms
from quantfarm.report.benchmark import subjects_of
from tests.report_examples import seven

MAC = DeviceProfile(name="mac", platform="macos-arm64", os="macOS 15", chip="Apple M3 Pro", accelerators=("M3 GPU",))
PC = DeviceProfile(name="pc", platform="linux-x86_64", os="Debian 12", chip="Some CPU")
OTHER = dataclasses.replace(PC, name="other-pc")


def rows(profiles: list[DeviceProfile], candidates: list[Candidate]) -> list[list[str]]:
    lines = platforms.table(subjects_of(profiles, candidates)).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def without(candidates: list[Candidate], *variants: str) -> list[Candidate]:
    return [c for c in candidates if c.variant not in variants]


def test_devices_of_one_system_and_chip_are_one_platform() -> None:
    found = rows([MAC, PC, OTHER], seven("pc") + seven("other-pc") + seven("mac"))
    assert [row[0] for row in found] == ["linux-x86_64 · Some CPU", "macos-arm64 · M3 GPU"]
    assert found[0][2] == "**Q4_K_M**" and found[0][5] == "other-pc, pc"
    assert found[0][3:5] == ["1297", "68.19"]


def test_devices_that_differ_in_what_they_should_run_are_named() -> None:
    third = dataclasses.replace(PC, name="third-pc")
    differing = without(seven("other-pc"), "Q4_K_M")
    assert rows([PC, OTHER], seven("pc") + differing)[0][2] == "undecided: Q4_K_M on pc, Q5_K_M on other-pc"
    most = rows([PC, OTHER, third], seven("pc") + differing + seven("third-pc"))
    assert most[0][2] == "**Q4_K_M** (but Q5_K_M on other-pc)"


def test_a_platform_of_which_nothing_can_be_recommended_says_so() -> None:
    assert rows([PC], without(seven("pc"), "F16"))[0][2:5] == ["none: see there", "–", "–"]


def test_simulated_devices_and_templates_are_no_platform() -> None:
    made_up = dataclasses.replace(PC, simulated=True)
    template = dataclasses.replace(PC, template=True)
    assert rows([made_up], seven("pc", simulated=True)) == []
    assert rows([template], seven("pc")) == []
    assert rows([PC], seven("pc", simulated=True)) == []


def test_a_device_whose_profile_is_gone_has_no_known_platform() -> None:
    assert rows([], seven("gone"))[0][0] == "not known"


def test_the_system_stands_for_a_platform_that_no_profile_names() -> None:
    plain = dataclasses.replace(PC, platform="", os="Debian GNU/Linux 12, kernel 6.1")
    assert platforms.platform(plain) == "Debian GNU/Linux 12 · Some CPU"
