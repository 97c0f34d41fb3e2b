"""Variants made on another device: the same bytes as here, and nothing half made whatever is cut off.

The device is a real OpenSSH server.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import AgentError, agent
from flows import building_host, building_python, calibrating, devices, make, making_steps
from flows.sources import Files
from quantfarm import calibration
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, Recipe, Variant, parameters
from quantfarm.quantizers import folder_of, quantizer
from quantfarm.quantizers.gguf import Gguf
from quantfarm.quantizers.imatrix import recipe_for
from storage import contents
from storage.artifacts import Artifacts
from storage.home import Home
from tests.ssh.server import Server, sshd
from tests.sweeping import counts, landings, quantfarm

NAME = "ssh-host"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sshd(tmp_path_factory.mktemp("sshd"), NAME) as running:
        yield running


@pytest.fixture
def device(server: Server) -> DeviceProfile:
    """With this test's own Python, so that llama.cpp is not compiled again."""
    return server.with_options(python=sys.executable)


@pytest.fixture
def source(reference: Path, home: Path) -> Files:
    text = Home(home).folder("texts") / "text"
    text.write_bytes(calibration.default_text()[:20_000])
    kept = text.with_name(f"{hashlib.sha256(text.read_bytes()).hexdigest()}.txt")
    return Files(gguf=reference, calibration=text.replace(kept))


def wanted(source: Files, quant: str, **options: Any) -> Variant:
    if options:
        assert source.calibration
        options["calibration_sha256"] = source.calibration.stem
    tool = quantizer("gguf").tool()
    recipe = Recipe(source="ref", quantizer="gguf", quant=quant, tool=tool, options=parameters(options))
    return Variant(model="reference", format="gguf", quant=quant, recipe=recipe)


def made_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "recipes").glob("*.json"))


def half_made(home: Path) -> list[Path]:
    return list((home / "artifacts" / ".partial").iterdir())


def left_there(server: Server) -> list[Path]:
    folder = server.files / "made"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_a_variant_and_its_importance_matrix_are_the_same_bytes_as_made_here(
    home: Path, tmp_path: Path, server: Server, device: DeviceProfile, source: Files
) -> None:
    variant, there = wanted(source, "Q4_0", imatrix=True), agent(device)
    try:
        with there.lease("a test", lambda _: None):
            far = make.variant(Home(home), there, variant, source)
    finally:
        there.close()
    near = make.variant(Home(tmp_path / "other"), agent(devices.known(Home(home))[devices.LOCAL]), variant, source)
    assert far.sha256 == near.sha256
    assert far.facts["made_on"] == NAME and "made_on" not in near.facts
    matrix = Artifacts(Home(home)).find(recipe_for(variant.recipe))
    assert matrix and matrix.facts["made_on"] == NAME
    assert far.facts["imatrix_sha256"] == matrix.sha256 == near.facts["imatrix_sha256"]
    assert left_there(server) == half_made(home) == []


def test_an_importance_matrix_is_made_once_for_all_that_want_it(
    home: Path, source: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they want it at the same time."""
    begun: list[str] = []
    real = building_host.make

    def counted(home: Home, on: Any, made_by: Any, *rest: Any) -> Any:
        begun.append(made_by.name)
        return real(home, on, made_by, *rest)

    monkeypatch.setattr(building_host, "make", counted)
    here = agent(devices.known(Home(home))[devices.LOCAL])
    variants = [wanted(source, quant, imatrix=True) for quant in ("Q4_0", "Q2_K", "Q4_K_M")]
    threads = [threading.Thread(target=make.variant, args=(Home(home), here, one, source)) for one in variants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begun) == ["gguf", "gguf", "gguf", "imatrix"]
    assert len(made_in(home)) == 4


def test_an_importance_matrix_that_was_cut_off_is_made_anew(
    home: Path, source: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = agent(devices.known(Home(home))[devices.LOCAL])
    variant = wanted(source, "Q4_0", imatrix=True)
    assert source.gguf and source.calibration

    def cut_off(*arguments: Any) -> Any:
        arguments[5].write_bytes(b"GGUF, and no more")
        raise making_steps.MakeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(building_host, "make", cut_off)
        with pytest.raises(making_steps.MakeError, match="killed"):
            make.variant(Home(home), here, variant, source)
    assert made_in(home) == half_made(home) == []
    found = calibrating.needed_files(
        Home(home), here, variant.recipe, source.gguf, source.calibration, making_steps.never
    )
    assert found["imatrix"].stat().st_size > 10_000


def test_a_cut_connection_leaves_nothing_half_made_and_the_next_try_makes_it(
    home: Path, server: Server, device: DeviceProfile, source: Files
) -> None:
    there, variant = agent(device), wanted(source, "IQ3_S")
    failed: list[BaseException] = []

    def try_it() -> None:
        try:
            with there.lease("a test", lambda _: None):
                make.variant(Home(home), there, variant, source)
        except AgentError as error:
            failed.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    await_runner(server, thread)
    server.drop()
    thread.join(60)
    assert failed and not thread.is_alive()
    assert made_in(home) == half_made(home) == []
    end = time.monotonic() + 60
    while runners(server) or left_there(server):
        assert time.monotonic() < end, (runners(server), left_there(server))
        time.sleep(0.1)
    try:
        assert make.variant(Home(home), there, variant, source).types["IQ3_S"]
    finally:
        there.close()


def runners(server: Server) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in server.sessions():
        try:
            if "quantize_gguf.py" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def await_runner(server: Server, thread: threading.Thread) -> None:
    """Until it has something half made there."""
    end = time.monotonic() + 60
    while not left_there(server):
        assert thread.is_alive() and time.monotonic() < end, "nothing was ever begun there"
        time.sleep(0.01)


#: Makes a folder of what it was given: stands for the quantizers that need environments of gigabytes.
COPIER = """
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import json, os, sys
from pathlib import Path
request = json.loads(sys.argv[-1])
out = Path(request["out"])
out.mkdir()
for name, path in request["source"].items():
    (out / name).write_bytes(Path(path).read_bytes()[::-1])
if request["options"].get("odd"):
    (out / "a b").touch()
facts = {"learnt": Path(request["calibration"]).stat().st_size}
result = {"bits_per_weight": 4.0, "types": {}, "fallbacks": [], "facts": facts}
for event in ({"event": "begin", "schema": 1, "runner": "copier", "versions": {"copier": "1.0"}},
              {"event": "result", **result}, {"event": "end", "ok": True}):
    print(json.dumps({"t": 1, **event}), flush=True)
"""


class Copier(Gguf):
    """Of a Hugging Face folder, with the calibration text."""

    name, format, folder, source = "copier", "copy", True, "hf"

    def __init__(self, runner: Path) -> None:
        self.runner = runner

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        del recipe
        return ("calibration",)

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        request = {"source": folder_of(files, "source"), "out": out, "calibration": files["calibration"]}
        asked = json.dumps({**request, "options": dict(recipe.options)})
        return [files["python"], "-P", files["runner"], "--request", asked]


def copied(tmp_path: Path, home: Path, device: DeviceProfile, source: Files, odd: bool = False) -> Path:
    runner, model = tmp_path / "copier.py", tmp_path / "model"
    runner.write_text(COPIER)
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_bytes(name.encode() * 1000)
    assert source.calibration
    recipe = Recipe(source="f", quantizer="copier", quant="COPY", tool="copier 1.0", options=parameters(odd=odd))
    files = {"calibration": source.calibration, **contents.named(model, "source")}
    out, there = Artifacts(Home(home)).partial(recipe, folder=True), agent(device)
    try:
        made = building_host.make(Home(home), there, Copier(runner), recipe, files, out, "copying")
    finally:
        there.close()
    assert made["facts"] == {"learnt": source.calibration.stat().st_size, "made_on": NAME}
    return out


def test_a_folder_is_brought_back_file_by_file(
    home: Path, tmp_path: Path, server: Server, device: DeviceProfile, source: Files
) -> None:
    out = copied(tmp_path, home, device, source)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        name: (name.encode() * 1000)[::-1] for name in ("config.json", "model.safetensors")
    }
    assert left_there(server) == []


def test_a_file_with_an_odd_name_is_not_brought(
    home: Path, tmp_path: Path, server: Server, device: DeviceProfile, source: Files
) -> None:
    with pytest.raises(making_steps.MakeError, match="called 'a b'"):
        copied(tmp_path, home, device, source, odd=True)
    assert left_there(server) == []


def test_a_python_there_that_lacks_the_recipe_s_version_is_not_used_and_what_another_made_is_not_taken(
    home: Path, device: DeviceProfile, source: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[list[str], Any]] = []

    def environment(on: Any, requirements: list[str], **more: Any) -> str:
        made.append((requirements, more["oldest"]))
        return sys.executable  # of another version all the same

    monkeypatch.setattr(building_python.there, "environment", environment)
    there = agent(device)
    recipe = Recipe(source="ref", quantizer="gguf", quant="Q4_0", tool="llama-cpp-python 0.3.1")
    other = Variant(model="m", format="gguf", quant="Q4_0", recipe=recipe)
    try:
        with pytest.raises(making_steps.MakeError, match=r"llama-cpp-python \S+ ran, not 0\.3\.1"):
            make.variant(Home(home), there, other, source)
    finally:
        there.close()
    assert made == [(["llama-cpp-python==0.3.1"], "3.11")]
    assert made_in(home) == half_made(home) == []


@pytest.mark.parametrize("python", ["/no/such/python", "/usr/bin/python3"])
def test_a_python_there_without_the_package_is_passed_over(
    device: DeviceProfile, server: Server, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building_python.there, "environment", lambda *_, **__: "made")
    there = agent(server.with_options(python=python))
    recipe = Recipe(source="ref", quantizer="gguf", quant="Q4_0", tool=quantizer("gguf").tool())
    try:
        assert building_python.python(there, quantizer("gguf"), recipe) == "made"
    finally:
        there.close()


def test_the_environment_there_has_the_version_that_the_recipe_names() -> None:
    needed = ["torch==2.13.0", "llm_compressor>=0.10", "mlx>=0.32; sys_platform == 'darwin'"]
    assert building_python.pinned(needed, "llm-compressor 0.10.2") == [needed[0], "llm-compressor==0.10.2", needed[2]]
    assert building_python.pinned(needed, "") == needed


# --- who makes ---


def known(home: Path, *profiles: DeviceProfile) -> dict[str, DeviceProfile]:
    return {**devices.known(Home(home)), **{profile.name: profile for profile in profiles}}


def test_a_tag_names_the_first_device_that_can(home: Path) -> None:
    phone = DeviceProfile(name="a-phone", kind="adb", tags=("build",))
    server = DeviceProfile(name="b-server", kind="ssh", tags=("build",))
    assert building_host.chosen(Home(home), known(home, phone, server), "build") == server
    assert building_host.chosen(Home(home), known(home, phone, server), "b-server") == server


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (DeviceProfile(name="box", kind="adb"), "no Python"),
        (DeviceProfile(name="box", kind="fake", simulated=True), "simulated"),
    ],
)
def test_a_device_that_can_make_nothing_is_refused_with_the_reason(
    home: Path, profile: DeviceProfile, why: str
) -> None:
    with pytest.raises(UsageError, match=f"no variant can be made on 'box'.*{why}"):
        building_host.chosen(Home(home), known(home, profile), "box")


def test_a_misspelt_device_is_answered_with_the_right_one(home: Path) -> None:
    server = DeviceProfile(name="b-server", kind="ssh", tags=("build",))
    with pytest.raises(UsageError, match="did you mean b-server"):
        building_host.chosen(Home(home), known(home, server), "b-sever")


# --- at the command line ---


def test_a_sweep_has_its_variants_made_on_the_device_that_it_names(
    home: Path, prefect_server: str, server: Server, device: DeviceProfile, reference: Path, tmp_path: Path
) -> None:
    written = {"kind": "ssh", "address": device.address, "options": dict(device.options), "tags": ["build"]}
    folder = home / "device_profiles"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.yaml").write_text(json.dumps(written))
    text = tmp_path / "learn.txt"
    text.write_bytes(calibration.default_text()[:20_000])
    asked = ("--quants", "Q4_0+imatrix", "--suite", "speed", "--launches", "1", "-p", "16", "-n", "8", "--threads", "1")
    done = counts(*asked, "--build-on", "build", "--calibration", str(text))
    assert (done["ok"], done["failed"]) == (2, 0)
    artifacts = [one.artifact for one in landings(home).all() if one.artifact]
    assert {(one.facts["made_on"], one.recipe.quant) for one in artifacts} == {(NAME, "Q4_0")}
    assert left_there(server) == half_made(home) == []


def refused(*asked: str, home: Path) -> str:
    said = quantfarm("sweep", "--suite", "speed", *asked, code=2)
    assert not (home / "cells").exists()
    return " ".join(said.split())


@pytest.mark.parametrize("quant", ["IQ2_XS", "IQ1_M"])
def test_a_type_that_needs_an_importance_matrix_names_the_right_spelling(home: Path, quant: str) -> None:
    assert f"ask for {quant}+imatrix" in refused("--quants", f"F16,{quant}", home=home)


def test_an_unknown_option_is_answered_with_the_right_one(home: Path) -> None:
    assert "did you mean imatrix?" in refused("--quants", "Q4_K_M+imatirx", home=home)


def test_a_calibration_text_is_refused_before_anything_is_made(home: Path, tmp_path: Path) -> None:
    good = calibration.default_text()
    short, few, same, binary = (tmp_path / name for name in ("short", "few", "same", "binary"))
    short.write_text("Too short.")
    few.write_bytes(good[:6000])
    same.write_bytes(good[:100_000])
    binary.write_bytes(good[:50_000] + b"\xff\xfe")
    asked = ("--quants", "Q4_K_M+imatrix", "--calibration")
    assert "has 10 characters, and 4,096 tokens are needed" in refused(*asked, str(short), home=home)
    assert "is not UTF-8 text" in refused(*asked, str(binary), home=home)
    assert "cannot read the calibration text" in refused(*asked, str(tmp_path / "none"), home=home)
    said = refused(*asked, str(few), home=home)
    assert "tokens, and 4,096 are needed" in said and str(few) in said
    shutil.copy(same, tmp_path / "eval")
    with (tmp_path / "eval").open("a") as file:
        file.write("and some more")
    said = refused(*asked, str(same), "--text", str(tmp_path / "eval"), home=home)
    assert "overlaps the text that quality is measured on" in said
    assert re.search(rf"{same} line (\d+), {tmp_path}/eval line \1\)", said)
