"""A request is checked whole before anything runs: unknown keys, suites, kinds and values are one message each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows import logits, prepare
from quantfarm import planning, sweeps, variants
from quantfarm.errors import UsageError
from quantfarm.nouns import DeviceProfile, Limits
from quantfarm.runtimes.llama_cpp import LlamaCpp
from quantfarm.sweeps import DEFAULT_QUANTS, Sweep
from quantfarm.variants import Source
from storage.home import Home

SHAPE = {"n_layer": 28, "n_head_kv": 8, "head_dim": 128, "n_vocab": 128256}
SOURCE = Source(name="llama", id="s" * 64, quant="F16", n_params=3_200_000_000, size=6_400_000_000, shape=SHAPE)
DEVICE = DeviceProfile(name="desk", cores=8, memory_mib=65536)


TEXTS = planning.Texts(text="t" * 64)


def plan(sweep: Sweep, source: Source = SOURCE, device: DeviceProfile = DEVICE) -> planning.Plan:
    return planning.plan(sweep, [device], source, TEXTS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"quant": ["F16"]}, "unknown key 'quant' in here: did you mean quants"),
        ({"suite": "quik"}, "unknown suite 'quik': did you mean quick"),
        ({"launches": 0}, "launches: .*greater than or equal to 1.*given 0"),
        ({"workloads": [{"kind": "benhc"}]}, "unknown workload kind 'benhc' in here: did you mean bench"),
        (
            {"workloads": [{"kind": "tasks", "task": "arc_easy"}]},
            "here: tasks are no workloads: name them under",
        ),
        ({"workloads": [{"kind": "app", "n_depth": 1}]}, "unknown parameter of a app workload 'n_depth'"),
        ({"common": {"treads": 1}}, r"unknown key 'common\.treads' in here: did you mean common\.threads"),
        ({"quants": "F16"}, "quants: "),
    ],
)
def test_a_mistake_is_one_message(content: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweeps.request(content, "here")


def test_what_a_quantizer_cannot_do_is_said_before_anything_is_fetched_or_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = replace(SOURCE, folder_id="f" * 64, shape={**SHAPE, "architecture": "MadeUpForCausalLM"})
    monkeypatch.setattr(prepare.sources, "describe", lambda _: strange)
    for part, verb in ((prepare.sources, "fetch"), (prepare.environments, "make")):
        monkeypatch.setattr(part, verb, lambda *_, **__: pytest.fail("something was fetched or installed"))
    with pytest.raises(UsageError, match=r"NF4 cannot be made of llama: .*MadeUpForCausalLM"):
        prepare.prepare(Home(home), Sweep(model="org/strange", quants=("NF4",)))


def test_an_unknown_quant_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown quant 'Q4_KM': did you mean Q4_K_M"):
        plan(Sweep(quants=("Q4_KM",)))


def test_an_unknown_runtime_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown runtime 'llama\.cpp': did you mean llama_cpp"):
        plan(Sweep(runtimes=("llama.cpp",)))


def test_a_file_is_read_relative_to_itself_and_options_take_the_place_of_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("model: ./m.gguf\ntext: t.txt\nsuite: speed\ncommon: {threads: 2, n_prompt: 64}\n")
    sweep = sweeps.read(path, {"suite": "quick", "common": {"threads": 4}})
    assert sweep.model == str((tmp_path / "m.gguf").resolve())
    assert sweep.text == tmp_path / "t.txt"
    assert sweep.suite == "quick"
    assert sweep.common == {"threads": 4, "n_prompt": 64}


def test_a_file_cannot_pass_for_a_night(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: reference\nnight: 2026-11-20\n")
    with pytest.raises(UsageError, match="`night` is set by the nightly run alone"):
        sweeps.read(path, {})


def test_a_missing_file_is_said() -> None:
    with pytest.raises(UsageError, match=r"no such file: nowhere\.yaml"):
        sweeps.read(Path("nowhere.yaml"), {})


def test_a_plan_asks_every_question_as_often_as_launches_say_and_quality_once() -> None:
    made = plan(Sweep(suite="quick", launches=4))
    kinds = [cell.workload.kind for cell in made.cells]
    assert {cell.variant.name for cell in made.cells} == set(DEFAULT_QUANTS)
    assert kinds.count("bench") == kinds.count("app") == 7 * 4
    assert kinds.count("quality") == 7
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_quality_is_planned_once_however_many_devices_there_are() -> None:
    devices = [DEVICE, DeviceProfile(name="lap", cores=4, memory_mib=65536)]
    made = planning.plan(Sweep(suite="quality"), devices, SOURCE, TEXTS)
    assert len(made.cells) == len(DEFAULT_QUANTS)


def test_the_other_devices_whose_speed_is_measured_take_a_canary_of_each_file() -> None:
    lap = DeviceProfile(name="lap", cores=4, memory_mib=65536, address="lap.lan")
    fake = DeviceProfile(name="fake", cores=4, memory_mib=65536, simulated=True)
    asked = Sweep(quants=("F16", "Q4_K_M"), suite="quick", launches=3)
    made = planning.plan(asked, [lap, fake, DEVICE], SOURCE, TEXTS)
    judging = [cell for cell in made.cells if cell.workload.kind == "quality"]
    quality = sorted((cell.profile.name, cell.variant.name, cell.workload.label) for cell in judging)
    assert quality == [
        (DEVICE.name, "F16", "quality 40×512"),
        (DEVICE.name, "Q4_K_M", "quality 40×512"),
        ("lap", "F16", "canary 4×512"),
        ("lap", "Q4_K_M", "canary 4×512"),
    ]
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_a_canary_is_compared_with_chunks_and_needs_no_base_logits() -> None:
    lap = DeviceProfile(name="lap", cores=4, memory_mib=65536, address="lap.lan")
    made = planning.plan(Sweep(quants=("Q4_K_M",), suite="quick", launches=1), [DEVICE, lap], SOURCE, TEXTS)
    compared = {c.profile.name: logits.compares(c) for c in made.cells if c.workload.kind == "quality"}
    assert compared == {DEVICE.name: True, "lap": False}
    [canary] = [c for c in made.cells if c.workload.settings.get("canary")]
    assert "canary" not in LlamaCpp().request(canary, {}), "a runner refuses what it does not know"


def test_a_canary_has_no_more_chunks_than_the_judge() -> None:
    lap = DeviceProfile(name="lap", cores=4, memory_mib=65536, address="lap.lan")
    asked = Sweep(quants=("F16",), suite="quick", launches=1, common={"n_chunks": 2})
    labels = {c.workload.label for c in planning.plan(asked, [DEVICE, lap], SOURCE, TEXTS).cells}
    assert {"quality 2×512", "canary 2×512"} <= labels


def test_the_order_of_cells_does_not_follow_the_quantization() -> None:
    order = [cell.variant.name for cell in plan(Sweep(suite="speed", launches=6)).cells]
    assert order != sorted(order)
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    assert all(set(half) == set(DEFAULT_QUANTS) for half in halves)


def test_threads_are_the_devices_cores_unless_the_request_says() -> None:
    assert {c.workload.settings["threads"] for c in plan(Sweep()).cells} == {8}
    assert {c.workload.settings["threads"] for c in plan(Sweep(common={"threads": 2})).cells} == {2}


def test_what_does_not_fit_is_skipped_with_the_sum() -> None:
    small = DeviceProfile(name="phone", cores=4, memory_mib=8192, limits=Limits(memory_mib=3277))
    made = plan(Sweep(quants=("F16", "Q4_K_M"), suite="speed"), device=small)
    assert {cell.variant.name for cell in made.cells} == {"Q4_K_M"}
    assert {skip.variant for skip in made.skips} == {"F16"}
    assert made.skips[0].reason.startswith("needs about 6.")
    assert "weights 6.0 + KV cache 0.1" in made.skips[0].reason
    assert made.skips[0].reason.endswith("phone may use 3.2 GiB")


def test_a_runtime_that_a_device_lacks_is_a_skip_that_says_so() -> None:
    made = plan(Sweep(), device=DeviceProfile(name="box", cores=4, memory_mib=65536, runtimes=("executorch",)))
    assert not made.cells
    assert {skip.reason for skip in made.skips} == {"box does not have llama_cpp (it has executorch)"}


def test_a_workload_that_a_runtime_cannot_measure_is_a_skip_that_says_so() -> None:
    made = plan(Sweep(runtimes=("llama_bench",), quants=("Q8_0",)))
    assert {skip.workload.split()[0] for skip in made.skips} == {"app", "quality"}
    assert "llama_bench does not measure" in made.skips[0].reason


def test_a_quantized_model_is_measured_as_it_is_and_not_quantized_again() -> None:
    given = Source(name="m", id="s" * 64, quant="Q4_K_M", n_params=10**9, size=6 * 10**8)
    made = plan(Sweep(suite="speed"), source=given)
    assert {cell.variant.name for cell in made.cells} == {"Q4_K_M"}
    assert {cell.variant.recipe.quantizer for cell in made.cells} == {"as_is"}
    assert variants.base(given) is None
    with pytest.raises(UsageError, match=r"Q8_0 cannot be made of m: it is quantized already \(Q4_K_M\)"):
        plan(Sweep(quants=("Q8_0",)), source=given)


def test_a_size_that_is_asked_for_takes_the_place_of_the_suites_and_not_of_a_workloads_own() -> None:
    asked = plan(Sweep(quants=("F16",), launches=1, common={"n_chunks": 2}))
    assert [cell.workload.label for cell in asked.cells if cell.workload.kind == "quality"] == ["quality 2×512"]
    own = Sweep(quants=("F16",), workloads=({"kind": "quality", "n_chunks": 8},), common={"n_chunks": 2})
    assert [cell.workload.label for cell in plan(own).cells] == ["quality 8×512"]
