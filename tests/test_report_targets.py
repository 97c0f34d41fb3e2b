"""The targets of every profile, templates' too: met, missed or not measured, and by whom."""

from __future__ import annotations

import dataclasses

from quantfarm import profiles
from quantfarm.candidates import Candidate
from quantfarm.nouns import DeviceProfile, parameters
from quantfarm.report.benchmark import benchmark_md
from quantfarm.report.targets_table import checked, counts, table
from tests.report_examples import seven

SHIPPED = list(profiles.load([profiles.SHIPPED]).values())


def box(name: str = "bench-box", **targets: float | str) -> DeviceProfile:
    named = {name.replace("__", ":"): goal for name, goal in targets.items()}
    return DeviceProfile(name=name, chip="A Chip", cores=2, targets=parameters(named))


def rows(made: list[DeviceProfile], candidates: list[Candidate]) -> list[list[str]]:
    lines = [line for line in table(made, candidates).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def large(candidates: list[Candidate], billions: float) -> list[Candidate]:
    """The same figures as if the model had so many weights."""
    return [dataclasses.replace(c, size=int(billions * 1e9 * c.bits_per_weight / 8)) for c in candidates]


def test_what_every_template_wants_is_listed_as_not_measured() -> None:
    found = rows(SHIPPED, [])
    assert {row[4] for row in found} == {"not measured"} and {row[3] for row in found} == {"–"}
    said = {(row[0], row[1]) for row in found}
    assert ("m3-max *(template)*", "**MLX-8**: decode speed ≥ 50 tok/s") in said
    assert ("iphone-15-pro *(template)*", "**MLX-4**: decode speed ≥ 15 tok/s") in said
    shared = [row for row in found if "mmlu" in row[1]]
    assert len(shared) == 1 and "≤ 1.5 points" in shared[0][1] and shared[0][0].count("(template)") == 4


def test_met_missed_and_not_measured_are_told_with_their_figures() -> None:
    made = [box(decode_tps__Q4_K_M=1000, ppl_increase__Q3_K_M="<= 0.05", decode_tps__Q9=1)]
    assert rows(made, seven()) == [
        ["bench-box", "**Q3_K_M**: perplexity over the unquantized model's ≤ +5 %", "reference", "+6.86 %", "**miss**"],
        ["bench-box", "**Q4_K_M**: decode speed ≥ 1000 tok/s", "reference", "1297 tok/s", "**pass**"],
        ["bench-box", "**Q9**: decode speed ≥ 1 tok/s", "any", "–", "not measured"],
    ]
    assert counts(checked(made, seven())) == "1 met, 1 missed, 1 not measured"


def test_a_small_model_passes_no_goal_that_is_meant_for_3b() -> None:
    made = [box(decode_tps__Q4_K_M=">= 35 for 3B")]
    assert [row[2:] for row in rows(made, seven())] == [["of about 3B", "–", "not measured"]]
    assert [row[2:] for row in rows(made, large(seven(), 3.1))] == [["reference", "1297 tok/s", "**pass**"]]


def test_each_model_of_a_device_is_judged_by_itself() -> None:
    both = [*seven(), *(dataclasses.replace(c, model="other") for c in seven(seed=1))]
    assert [row[2] for row in rows([box(ttft__Q2_K=1)], both)] == ["other", "reference"]


def test_a_simulated_device_meets_no_target() -> None:
    made = box(decode_tps=1)
    assert rows([made], seven(simulated=True)) == [["bench-box", "decode speed ≥ 1 tok/s", "any", "–", "not measured"]]
    assert rows([dataclasses.replace(made, simulated=True)], seven(simulated=True)) == []
    assert "### Targets" not in benchmark_md([made], seven(simulated=True))


def test_the_report_has_them_before_the_devices() -> None:
    text = benchmark_md([*SHIPPED, box(decode_tps__Q4_K_M=1000)], seven())
    assert text.index("## Targets") < text.index("## bench-box: reference") and "1297 tok/s | **pass**" in text
