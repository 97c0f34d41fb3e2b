"""Where the quality cliff is seen, and where none is."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import IMATRIX, Cliff, NoCliff, Rung, cliff, find, further, ladder
from quantfarm.statistics.increase import Increase
from quantfarm.statistics.summary import Summary

BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.69, "Q4_K_M": 4.85, "Q3_K_M": 3.91, "Q2_K": 2.96}


def on(losses: Mapping[str, float], error: float = 0.0, bits: Mapping[str, float] = BITS) -> Cliff | NoCliff:
    """The cliff of a ladder of losses in nats over F16, each step's error the same."""
    rungs = [Rung(name=n, bits=bits[n], loss=Increase(nats=v, error=error)) for n, v in losses.items()]
    return find(rungs, "F16", lambda above, below: Increase(nats=losses[below] - losses[above], error=error))


def steps(found: Cliff | NoCliff) -> tuple[str, str]:
    assert isinstance(found, Cliff), found.sentence
    return found.above, found.below


def test_a_jump_after_nearly_free_bits_is_the_cliff() -> None:
    found = on({"F16": 0, "Q8_0": 0.0002, "Q6_K": 0.001, "Q5_K_M": 0.003, "Q4_K_M": 0.012, "Q3_K_M": 0.06, "Q2_K": 0.2})
    assert steps(found) == ("Q4_K_M", "Q3_K_M")
    assert found.sentence == (
        "The quality cliff lies between Q4_K_M and Q3_K_M: perplexity goes from +1.2 % to +6.2 % against F16 for "
        "0.94 bits per weight, 47 times per bit what the bits saved above it cost."
    )


def test_a_loss_that_rises_evenly_with_the_bits_saved_is_no_cliff() -> None:
    found = on({name: 0.03 * (16 - bits) for name, bits in BITS.items()})
    assert not found and "without a step out of proportion" in found.sentence


def test_a_fourfold_growth_per_bit_is_no_cliff_while_it_stays_small() -> None:
    small = {name: 0.015 * 4.0 ** -(bits - 2.96) for name, bits in BITS.items()} | {"F16": 0.0}
    assert not on(small)


def test_an_increase_within_its_noise_is_no_cliff() -> None:
    losses = {"F16": 0.0, "Q8_0": 0.0, "Q4_K_M": 0.001, "Q3_K_M": 0.05}
    assert steps(on(losses, error=0.02)) == ("Q4_K_M", "Q3_K_M")
    assert not on(losses, error=0.03)


def test_small_steps_that_add_up_are_a_slope_and_no_cliff() -> None:
    bits = {"F16": 16.0} | {f"q{i}": 6.0 - 0.2 * i for i in range(12)}
    losses = {name: 0.0 if name == "F16" else 0.006 * i for i, name in enumerate(bits)}
    assert not on(losses, bits=bits)


def test_the_first_step_has_nothing_to_be_out_of_proportion_to() -> None:
    assert not on({"F16": 0.0, "Q4_K_M": 0.3, "Q3_K_M": 0.32})


def test_a_cliff_needs_three_sizes_one_of_them_unquantized() -> None:
    assert "from 2 sizes" in on({"F16": 0.0, "Q2_K": 0.5}).sentence


def test_a_bad_quantization_that_a_smaller_one_beats_is_not_taken_for_a_cliff() -> None:
    bits = BITS | {"bad": 5.0}
    losses = {"F16": 0.0, "Q8_0": 0.0002, "Q5_K_M": 0.001, "bad": 0.08, "Q4_K_M": 0.004, "Q3_K_M": 0.01}
    rungs = [Rung(name=n, bits=bits[n], loss=Increase(nats=v, error=0)) for n, v in losses.items()]
    assert [r.name for r in ladder(rungs, "F16")] == ["F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M"]
    assert not on(losses, bits=bits)


def test_a_quantization_better_than_the_unquantized_by_chance_keeps_the_base_first() -> None:
    rungs = [Rung(name=n, bits=BITS[n], loss=Increase(nats=v, error=0)) for n, v in
             {"F16": 0.0, "Q8_0": -0.0004, "Q6_K": -0.0001, "Q2_K": 0.2}.items()]  # fmt: skip
    assert [r.name for r in ladder(rungs, "F16")] == ["F16", "Q8_0", "Q6_K", "Q2_K"]


#: Of the same model and quantizer, going down; the KL divergence to the base stands for ln of the perplexity ratio.
RECORDED = {
    ("Qwen3.6-35B-A3B", "bartowski"): ("Q4_K_M", "Q3_K_M"),
    ("Qwen3.5-122B-A10B", "bartowski"): ("Q4_K_M", "Q3_K_M"),
}


@pytest.mark.parametrize(("model", "provider"), RECORDED)
def test_recorded_divergences_of_public_models_fall_off_below_four_bits(data: Path, model: str, provider: str) -> None:
    with (data / "history" / "llama-fit-bench" / "kld-results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["model"], row["provider"]) == (model, provider)]
    known = {row["quant"].replace("Q2_K_L", "Q2_K"): float(row["kld"]) for row in rows}
    losses = {"F16": 0.0} | {name: known[name] for name in BITS if name in known}
    assert len(losses) >= 5
    assert steps(on(losses)) == RECORDED[(model, provider)]


def candidate(name: str, nll: np.ndarray, **other: object) -> Candidate:  # pyright: ignore
    from quantfarm.statistics.summary import summarise

    given = {
        "device": "d", "model": "m", "variant": name, "runtime": "r", "build": "1", "bits_per_weight": BITS[name],
        "figures": {"ppl": summarise([math.exp(nll.mean())])}, "text_sha256": "ab",
        "chunk_nll": tuple(nll * 255), "chunk_tokens": (255,) * len(nll),
    }  # fmt: skip
    return Candidate(**(given | other))  # pyright: ignore[reportArgumentType]


def test_candidates_are_compared_chunk_by_chunk_with_the_unquantized_one() -> None:
    rng = np.random.default_rng(0)
    text = rng.normal(2.5, 0.5, 40)
    losses = {"F16": 0.0, "Q8_0": 0.0002, "Q6_K": 0.001, "Q4_K_M": 0.012, "Q3_K_M": 0.06, "Q2_K": 0.2}
    group = [candidate(n, text + v + rng.normal(0, 0.003, 40) * (v > 0)) for n, v in losses.items()]
    assert steps(cliff(group)) == ("Q4_K_M", "Q3_K_M")
    assert steps(cliff(group[::-1])) == ("Q4_K_M", "Q3_K_M")


def test_without_the_unquantized_model_there_is_no_cliff_to_tell() -> None:
    assert "the unquantized model's perplexity was not measured" in cliff([candidate("Q2_K", np.ones(4))]).sentence


def test_candidates_measured_on_another_text_are_not_on_the_ladder() -> None:
    text = np.linspace(2, 3, 10)
    others = [candidate(n, text + 0.1, text_sha256="cd") for n in ("Q8_0", "Q4_K_M", "Q2_K")]
    assert "from 1 size " in cliff([candidate("F16", text), *others]).sentence


def measured(
    losses: Mapping[str, float], runtime: str = "llama_cpp", bits: Mapping[str, float] = BITS
) -> list[Candidate]:
    """Candidates on one text, each token of every chunk so many nats worse."""
    return [
        Candidate(
            device="box",
            model="m",
            variant=name,
            runtime=runtime,
            build="1",
            bits_per_weight=bits.get(name.partition("+")[0], 16.0),
            figures={"ppl": Summary(value=math.exp(2 + loss), mad=0, n=1, low=None, high=None, coverage=None)},
            chunk_nll=tuple(100 * (2 + 0.1 * k + loss) for k in range(8)),
            chunk_tokens=(100,) * 8,
            text_sha256="t",
        )
        for name, loss in losses.items()
    ]


PLAIN = {"F16": 0.0, "Q8_0": 0.0002, "Q4_K_M": 0.004, "Q3_K_M": 0.06, "Q2_K": 0.2}
MATRIX = {"Q4_K_M+imatrix": 0.003, "Q3_K_M+imatrix": 0.005, "Q2_K+imatrix": 0.09}


def test_variants_with_a_matrix_are_a_ladder_of_their_own() -> None:
    """Mixed, the smaller loss with a matrix would hide where the plain types fall off."""
    both = measured(PLAIN | MATRIX)
    assert steps(cliff(both)) == ("Q4_K_M", "Q3_K_M")
    assert steps(cliff(both, IMATRIX)) == ("Q3_K_M+imatrix", "Q2_K+imatrix")


def test_what_a_matrix_brings_is_told_rung_by_rung() -> None:
    said = " ".join(further(measured(PLAIN | MATRIX)))
    assert "With an importance matrix: The quality cliff lies between Q3_K_M+imatrix and Q2_K+imatrix" in said
    assert "An importance matrix changes perplexity by -0.10 % (-0.10 % to -0.10 %) at Q4_K_M" in said


def test_formats_of_another_runtime_have_its_base_and_do_not_mix() -> None:
    mlx = measured(
        {"HF": 0.0, "MLX-8": 0.0001, "MLX-4": 0.002, "MLX-2": 0.5}, "mlx", {"MLX-8": 8, "MLX-4": 4, "MLX-2": 2}
    )
    one_each = measured({"HF": 0.0, "AWQ": 0.5, "NF4": 0.001}, "transformers", {"AWQ": 4.2, "NF4": 4.5})
    everyone = measured(PLAIN) + mlx + one_each
    assert steps(cliff(everyone)) == ("Q4_K_M", "Q3_K_M")
    (said,) = further(everyone)
    assert said.startswith("MLX: The quality cliff lies between MLX-4 and MLX-2")
    assert "against HF" in said
