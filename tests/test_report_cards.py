"""Model cards: metadata that Hugging Face's own reader takes, and text that says what is known and what is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from quantfarm.candidates import Candidate
from quantfarm.nouns import Artifact, DeviceProfile, Recipe, parameters
from quantfarm.report.benchmark import subjects_of
from quantfarm.report.card import card_files
from quantfarm.statistics.summary import Summary
from tests.report_examples import lab, seven

BOX = DeviceProfile(name="bench-box", platform="linux-x86_64", os="Debian 12", chip="A Chip", cores=2)
TEXT, CALIBRATION = "3455" * 16, "721e" * 16
Q4 = Artifact(
    sha256="Q4_K_M 4.95", size=3_776_064, bits_per_weight=4.95,
    recipe=Recipe(source="eb51" * 16, quantizer="gguf", quant="Q4_K_M", tool="llama-cpp-python 0.3.36"),
    types={"F32": 13, "Q4_K": 38, "Q6_K": 5}, facts={"architecture": "llama", "n_params": 5_770_496, "n_layer": 6},
)  # fmt: skip
Q4_IMATRIX = dataclasses.replace(
    Q4, sha256="Q4_K_M+imatrix 4.95",
    recipe=dataclasses.replace(Q4.recipe, options=parameters(imatrix=True, calibration_sha256=CALIBRATION)),
    facts={"imatrix_sha256": "2393" * 16, "imatrix_chunks": 100},
)  # fmt: skip


def written(candidates: list[Candidate], *artifacts: Artifact, profiles: tuple[DeviceProfile, ...] = (BOX,)) -> Any:
    return card_files(subjects_of(profiles, candidates), artifacts)


@pytest.fixture(scope="module")
def cards() -> dict[str, str]:
    return written(lab(), Q4, Q4_IMATRIX)


@pytest.fixture
def card(cards: dict[str, str]) -> str:
    return cards["model_cards/reference/Q4_K_M.md"]


# --- the metadata


def test_every_variant_of_a_model_has_one_card(cards: dict[str, str]) -> None:
    assert len(cards) == len({c.artifact for c in lab()})
    assert {"model_cards/reference/Q4_K_M+imatrix.md", "model_cards/reference/MLX-4.md"} <= set(cards)


def test_hugging_faces_reader_takes_the_metadata_of_every_card(cards: dict[str, str]) -> None:
    for path, text in cards.items():
        read = ModelCard(text)
        assert read.data.pipeline_tag == "text-generation" and "quantfarm" in read.data.tags, path
        assert read.data.eval_results and read.text.lstrip().startswith("<!-- Generated"), path
        name, results = model_index_to_eval_results(read.data.to_dict()["model-index"])
        assert name == read.data.model_name and results == read.data.eval_results, path


def test_the_results_are_the_figures_with_their_intervals(card: str) -> None:
    found = {(one.metric_type, one.dataset_config): one for one in ModelCard(card).data.eval_results}
    (c,) = [one for one in lab() if one.artifact == Q4.sha256]
    ppl = found["perplexity", "quality 40×512"]
    assert ppl.metric_value == pytest.approx(c.value("ppl")) and ppl.dataset_args == {"sha256": TEXT}
    summary = c.figures["ppl"]
    assert ppl.metric_args == {"low": summary.low, "high": summary.high, "interval": "95 %", "n": 1}
    assert found["accuracy", "0-shot"].dataset_type == "reference_cloze"
    assert {one.task_type for one in found.values()} == {"text-generation"}


def test_a_part_of_a_benchmark_is_labelled_wherever_its_score_is_read(card: str) -> None:
    (few,) = [one for one in ModelCard(card).data.eval_results if one.dataset_type == "arc_easy"]
    assert "only 100 of 2376 documents: not that benchmark's score" in few.dataset_name
    assert "only 100 of 2376" in few.metric_name and few.dataset_config == "0-shot, 100 of 2376"
    assert "⚠ ONLY 100 OF 2,376: arc_easy" in card
    assert "**arc_easy was asked of only 100 of its 2,376 documents**" in card


def test_a_model_from_a_hub_is_named_as_the_base_and_another_is_not(card: str) -> None:
    assert ModelCard(card).data.base_model is None and "base_model" not in card
    from_hub = dataclasses.replace(Q4, recipe=dataclasses.replace(Q4.recipe, source="hub:Org/Name-3B@abc123"))
    data = ModelCard(written(lab(), from_hub)["model_cards/reference/Q4_K_M.md"]).data
    assert (data.base_model, data.base_model_relation) == ("Org/Name-3B", "quantized")


def test_the_library_is_that_of_the_format_and_none_is_guessed(cards: dict[str, str], card: str) -> None:
    assert ModelCard(card).data.library_name == "gguf" and ModelCard(card).data.tags == ["quantfarm", "gguf", "q4_k_m"]
    assert ModelCard(cards["model_cards/reference/AWQ.md"]).data.library_name is None  # its recipe is not there
    assert "license" not in card.partition("\n---\n")[0]


# --- the text


def test_the_recipe_has_all_that_it_takes_to_make_the_file_again(cards: dict[str, str]) -> None:
    text = cards["model_cards/reference/Q4_K_M+imatrix.md"]
    for said in (
        "- **Made by**: `gguf` by llama-cpp-python 0.3.36", f"- **From**: `{'eb51' * 16}` (sha256)",
        f"calibration_sha256 `{CALIBRATION}`", "imatrix `True`", "sha256 `Q4_K_M+imatrix 4.95`, 3,776,064 bytes",
        "38 of Q4_K, 13 of F32, 5 of Q6_K", "2393" * 16,
    ):  # fmt: skip
        assert said in text


def test_quality_stands_with_its_interval_its_text_and_against_the_unquantized_model(card: str) -> None:
    row = next(line for line in card.splitlines() if line.startswith("| perplexity |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert " to " in cells[2] and "against F16" in cells[3] and cells[3].startswith("+1.")
    assert cells[4:] == ["`quality 40×512`", "llama_cpp 1.0"] and TEXT in card
    cloze = next(line for line in card.splitlines() if line.startswith("| reference_cloze"))
    assert "points against F16" in cloze


def test_each_device_is_a_row_with_what_it_is_there(card: str) -> None:
    rows = [line for line in card.splitlines() if line.startswith("| bench-box |")]
    assert len(rows) == 1 and "linux-x86_64 · A Chip" in rows[0] and "0.0120" in rows[0]
    both = written(seven() + seven(device="other"), profiles=(BOX,))["model_cards/reference/Q4_K_M.md"]
    assert "| other |" in both and "| bench-box |" in both and "**the recommended default**" in both
    assert "Measured on 2 devices (bench-box, other)" in both


def test_a_variant_measured_under_two_runtimes_has_one_card_with_both(cards: dict[str, str]) -> None:
    text = cards["model_cards/reference/HF.md"]
    assert "mlx 1.0" in text and "transformers 1.0" in text and "not quantized" in text


def test_limitations_are_the_facts_that_stand_against_it(cards: dict[str, str]) -> None:
    low = cards["model_cards/reference/Q2_K.md"]
    limits = low[low.index("## Limitations") : low.index("## Measure it again")]
    assert "below the quality that a recommended default must have here" in limits
    assert "some speeds are of 3 launches" in limits
    assert "Not measured: sustained load and throttling." in limits
    assert "Not measured: energy, sustained load and throttling, decode speed." in cards["model_cards/reference/NF4.md"]


def test_fallbacks_failures_and_remarks_are_limitations() -> None:
    group = [
        dataclasses.replace(
            c, fallbacks=("a.weight: Q4_K wanted, Q5_0 used",), failures=("app: run: it stopped",),
            remarks={"decode_tps": "spread 23 % over 5 repetitions"},
        )
        for c in seven()
    ]  # fmt: skip
    text = written(group)["model_cards/reference/Q4_K_M.md"]
    assert "1 tensor in another type than asked: a.weight: Q4_K wanted, Q5_0 used" in text
    assert "Failed on bench-box, llama_cpp: app: run: it stopped." in text
    assert "bench-box, llama_cpp, decode speed: spread 23 % over 5 repetitions." in text


def test_use_is_what_was_decided_here_and_the_command_measures_it_again() -> None:
    made = written(seven())
    assert (
        "It is the recommended default on bench-box: Q4_K_M is the fastest" in made["model_cards/reference/Q4_K_M.md"]
    )
    assert "the recommended default on none of the 1 place" in made["model_cards/reference/Q2_K.md"]
    assert "```sh\nquantfarm sweep --model reference --quants Q2_K\n```" in made["model_cards/reference/Q2_K.md"]
    assert "the measure of its quantizations" in made["model_cards/reference/F16.md"]


def test_what_was_made_up_has_no_card() -> None:
    assert written(seven(simulated=True)) == {}


def test_two_artifacts_of_one_name_are_told_apart_by_their_content() -> None:
    other = [dataclasses.replace(c, device="other", artifact=f"ffff0000{c.variant}") for c in seven()]
    paths = set(written(seven() + other))
    assert len(paths) == 14 and "model_cards/reference/Q4_K_M-ffff0000.md" in paths


def test_names_from_outside_break_neither_paths_nor_text() -> None:
    group = [dataclasses.replace(c, model="../../Org/<b>Näme", variant=f"../{c.variant}|x") for c in seven()]
    made = written(group)
    assert all(path.startswith("model_cards/org-b-n-me/") and path.count("/") == 2 for path in made)
    assert all("<b>" not in ModelCard(text).text for text in made.values())


def test_numbers_that_yaml_could_misread_stay_numbers() -> None:
    group = [
        dataclasses.replace(c, figures={**c.figures, "kld_mean": Summary(value=6.16e-08, mad=0, n=9)}) for c in seven()
    ]
    for text in written(group).values():
        assert all(isinstance(one.metric_value, float) for one in ModelCard(text).data.eval_results)


def test_the_same_measurements_give_the_same_cards_whatever_their_order() -> None:
    assert written(seven()) == written(seven()[::-1])
