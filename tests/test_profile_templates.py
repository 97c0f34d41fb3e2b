"""Templates are profiles to copy from: valid, documented, never measured on; the schema says what profiles may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from agents import TABLE as AGENTS
from agents import addresses
from quantfarm import profile_schema, profiles
from quantfarm.decide import Verdict, check
from quantfarm.errors import UsageError
from quantfarm.runtimes import TABLE as RUNTIMES
from quantfarm.sensors import TABLE as SENSORS
from quantfarm.sensors import sensor

SHIPPED = profiles.load([profiles.SHIPPED])
TEMPLATES = {name: profile for name, profile in SHIPPED.items() if profile.template}
FILES = sorted(profiles.SHIPPED.glob("*.yaml"))
#: Runtimes that templates name and the farm does not have yet: a template says so in words.
TO_COME = {"mlx"}


def schema() -> dict[str, Any]:
    return json.loads(profile_schema.FILE.read_text())


def valid(content: object) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(content)


@pytest.mark.parametrize(
    "name",
    [
        *("m3-pro", "m3-max", "x86-laptop", "rtx-4060-laptop", "rtx-4090", "raspberry-pi-5"),
        *("pixel-8-pro", "snapdragon-8-gen-3", "iphone-15-pro"),
    ],
)
def test_the_devices_that_people_often_have_are_there_as_templates(name: str) -> None:
    profile = TEMPLATES[name]
    assert profile.platform and profile.chip and profile.cores > 1 and profile.memory_mib and profile.tags
    assert not profile.simulated


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_is_measured_on(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is a template"):
        profiles.choose(SHIPPED, [name])
    for tag in TEMPLATES[name].tags:
        with pytest.raises(UsageError, match=f"unknown tag '{tag}'"):
            profiles.choose(SHIPPED, [], [tag])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_says_that_nothing_in_it_was_measured(name: str) -> None:
    text = (profiles.SHIPPED / f"{name}.yaml").read_text()
    assert "Nothing in this file was measured" in text
    assert "data sheet" in text
    assert TEMPLATES[name].idle is None


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_names_is_known_and_can_be_on_its_system(name: str) -> None:
    profile = TEMPLATES[name]
    assert profile.kind in {*AGENTS, profiles.IMPORT}
    assert set(profile.runtimes) <= set(RUNTIMES) | TO_COME
    assert set(profile.sensors) <= set(SENSORS)
    system = profile.platform.partition("-")[0]
    assert not [one for one in profile.sensors if system not in sensor(one).platforms]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_with_a_way_to_it_has_an_address_of_that_kind(name: str) -> None:
    profile = TEMPLATES[name]
    if profile.kind == profiles.IMPORT:
        assert profile.address == ""
        return
    assert addresses.parse(f"{profile.kind}://{profile.address}").address == profile.address


@pytest.mark.parametrize("name", TEMPLATES)
def test_targets_are_goals_that_nothing_has_met(name: str) -> None:
    checked = check(TEMPLATES[name], [])
    assert all(one.verdict is Verdict.NOT_MEASURED for one in checked)


def test_the_goals_are_those_of_the_farm() -> None:
    goals = {(name, one.target, one.goal) for name, profile in TEMPLATES.items() for one in check(profile, [])}
    assert {
        ("m3-pro", "decode_tps:Q4_K_M", 35.0),
        ("m3-pro", "decode_tps:MLX-4", 60.0),
        ("m3-max", "decode_tps:MLX-8", 50.0),
        ("x86-laptop", "decode_tps:Q4_K_M", 12.0),
        ("rtx-4060-laptop", "decode_tps:Q4_K_M", 80.0),
        ("iphone-15-pro", "decode_tps:MLX-4", 15.0),
        ("snapdragon-8-gen-3", "decode_tps:Q4_K_M", 8.0),
    } <= goals
    memory = {(name, target): goal * 2**20 / 1e9 for name, target, goal in goals if "resident" in target}
    assert memory[("m3-pro", "resident_peak:Q4_K_M")] == pytest.approx(3.0, abs=0.001)
    assert memory[("m3-pro", "resident_peak:MLX-4")] == pytest.approx(2.5, abs=0.001)


def test_a_device_that_nothing_reaches_is_refused_in_words(tmp_path: Path) -> None:
    """An iPhone of one's own, copied from the template."""
    copy = tmp_path / "mine.yaml"
    copy.write_text((profiles.SHIPPED / "iphone-15-pro.yaml").read_text().replace("template: true\n", ""))
    known = profiles.load([tmp_path])
    with pytest.raises(UsageError, match="'mine' cannot be measured from here: no agent reaches such a device"):
        profiles.choose(known, ["mine"])
    with pytest.raises(UsageError, match="unknown tag 'ios'"):
        profiles.choose(known, [], ["ios"])


# --- the schema


def test_the_schema_and_the_table_of_keys_are_up_to_date() -> None:
    assert profile_schema.FILE.read_text() == profile_schema.text(), "run python -m quantfarm.profile_schema"
    docs = profile_schema.DOCS.read_text()
    assert docs == profile_schema.documented(docs), "run python -m quantfarm.profile_schema"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_profile_that_comes_with_the_farm_keeps_to_the_schema(file: Path) -> None:
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(file.read_text()))
    assert file.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("cores: 8", True),
        ("coers: 8", False),
        ("cores: eight", False),
        ("limits: {memory_mib: 3000}", True),
        ("limits: {memory_mb: 3000}", False),
        ("idle: {temperature_c: 35.5, reading: x86_pkg_temp_c}", True),
        ('targets: {decode_tps: ">= 12", ttft: 0.5}', True),
        ("targets: [decode_tps]", False),
        ("options: {head: [a]}", False),
        ("sensors: [one_of_a_later_version]", True),
        ("sensors: proc_memory", False),
    ],
)
def test_the_schema_and_the_reader_agree(text: str, good: bool) -> None:
    content = yaml.safe_load(text)
    assert valid(content) is good
    if good:
        profiles.parse({"name": "x", **content}, "here")
    else:
        with pytest.raises(UsageError):
            profiles.parse({"name": "x", **content}, "here")


def test_every_key_has_a_meaning_and_no_other_has() -> None:
    properties = schema()["properties"]
    nested = {f"{key}.{one}" for key in profiles.NESTED for one in properties[key]["properties"]}
    assert set(profile_schema.MEANING) == set(properties) | nested


def test_kinds_offered_are_those_that_there_are() -> None:
    assert set(profile_schema.OFFERED["kind"]) == {*AGENTS, profiles.IMPORT}
