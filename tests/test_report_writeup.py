"""WRITEUP.md: every figure is of the store, with device and conditions; what was not measured is said to be so."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from quantfarm import profiles
from quantfarm.candidates import Candidate
from quantfarm.nouns import DeviceProfile, Skip
from quantfarm.report.benchmark import benchmark_files, subjects_of
from quantfarm.report.writeup import writeup_md
from tests.report_examples import lab, seven

BOX = DeviceProfile(name="bench-box", platform="linux-x86_64", os="Debian 12", chip="A Chip", cores=2)
SHIPPED = tuple(profiles.load([profiles.SHIPPED]).values())


def written(candidates: list[Candidate], known: tuple[DeviceProfile, ...] = (BOX,), **other: Any) -> str:
    return writeup_md(subjects_of(known, candidates), known, date="2026-01-02", commit="abc1234", **other)


def part(text: str, heading: str) -> str:
    """What stands under a heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def test_it_begins_with_what_each_device_should_run() -> None:
    text = written(seven())
    assert "7 variants of 1 model under 1 runtime on 1 device. bench-box should run of reference: **Q4_K_M**." in text


def test_what_was_asked_names_devices_platforms_models_and_runtimes_and_counts_targets() -> None:
    asked = part(written(seven(), (BOX, *SHIPPED)), "What was asked")
    assert "| bench-box | linux-x86_64 · A Chip | reference | 7 |" in asked
    assert re.search(r"0 met, 0 missed, \d+ not measured", asked)


def test_how_it_was_measured_is_told_from_the_store() -> None:
    measured = part(written(seven(launches=4)), "How it was measured")
    assert "medians over 4 launches" in measured and "`app p128 n128`, `bench pp512 tg128`" in measured
    assert "sha256 `3455345534553455…`, 40 chunks, 10,200 tokens scored" in measured


def test_every_section_of_figures_names_its_device_and_conditions() -> None:
    text = written(seven() + seven(device="other"))
    for device in ("bench-box", "other"):
        head = text[text.index(f"## reference on {device}") :].splitlines()[2]
        assert head.startswith("<sub>") and "llama-cpp-python 0.3.36" in head and "threads 2" in head
    assert "A Chip · 2 physical cores" in text


def test_frontier_cliff_matrix_and_formats_are_those_of_the_figures() -> None:
    text = written(lab())
    assert "of 10 variants that can be compared are on the frontier" in part(text, "Frontier")
    assert "The quality cliff lies between Q4_K_M and Q3_K_M" in part(text, "Quality cliff")
    matrix = part(text, "Importance matrix")
    assert "lowers perplexity beyond noise for 1 (Q4_K_M) of 1 type, and raises it for none" in matrix
    assert "| **Q4_K_M** | -0." in matrix
    formats = part(text, "Formats against each other")
    assert "Q4_K_M+imatrix loses the least perplexity" in formats and "| **NF4** | NF4 | 4.60 |" in formats
    rows = re.findall(r"^\| \*\*.*?\| ([+-][\d.]+) %", formats, re.MULTILINE)
    assert [float(one) for one in rows] == sorted(float(one) for one in rows) and len(rows) == 7


def test_formats_whose_intervals_overlap_are_undecided() -> None:
    def told(*names: str) -> str:
        base = [c for c in lab() if c.variant in ("F16", "HF")]
        return part(written([*base, *(c for c in lab() if c.variant in names)]), "Formats against each other")

    assert "undecided" not in told("Q4_K_M", "RTN")
    few = [dataclasses.replace(c, chunk_nll=c.chunk_nll[:4], chunk_tokens=c.chunk_tokens[:4]) for c in lab()]
    kept = [c for c in few if c.variant in ("F16", "HF", "AWQ", "GPTQ")]
    assert "which of them loses less is undecided" in part(written(kept), "Formats against each other")


def test_another_store_gives_other_figures() -> None:
    """No figure is written down: each that stands in the text changes with what is measured."""
    faster = [
        dataclasses.replace(
            c,
            figures={
                m: dataclasses.replace(s, value=3 * s.value, low=s.low and 3 * s.low, high=s.high and 3 * s.high)
                if m == "decode_tps"
                else s
                for m, s in c.figures.items()
            },
            launches={
                m: tuple(3 * v for v in values) if m == "decode_tps" else values for m, values in c.launches.items()
            },
        )
        for c in seven()
    ]
    before, after = written(seven()), written(faster)
    assert "1297 (1287–1331)" in before and "1297" not in after and "3892 (" in after


def test_what_was_not_measured_is_said_to_be_so() -> None:
    text = written(seven())
    assert "what one brings was not measured" in part(text, "Importance matrix")
    assert "how they compare was not measured" in part(text, "Formats against each other")
    assert "Not measured: whether it throttles is not known." in part(text, "Under sustained load")
    limits = part(text, "Limits")
    for said in (
        "No task (HellaSwag, ARC, MMLU and the like) was measured", "Energy was not measured on bench-box.",
        "No sustained load on bench-box", "Measured on 1 device", "do not carry over to models of billions",
    ):  # fmt: skip
        assert said in limits


def test_few_launches_few_documents_failures_and_skips_are_limits() -> None:
    broken = [dataclasses.replace(c, failures=("app: run: it stopped",)) if c.variant == "AWQ" else c for c in lab()]
    skip = Skip(device="bench-box", variant="F32", runtime="r", workload="bench", reason="too large")
    limits = part(written(broken, skips=[skip]), "Limits")
    assert "decode speeds are of 3 launches at the fewest" in limits
    assert "asked of few of their documents" in limits
    assert "1 measurement failed" in limits and "1 measurement skipped" in limits


def test_without_speed_or_without_the_unquantized_model_the_prose_says_that() -> None:
    quality = [dataclasses.replace(c, figures={"ppl": c.figures["ppl"]}, launches={}) for c in seven()]
    text = written(quality)
    assert "bench-box should run of reference: nothing that can be recommended yet." in text
    assert "No speed was measured." in text and "Nothing can be compared: " in part(text, "Frontier")
    text = written([c for c in seven() if c.variant != "F16"])
    assert "the unquantized model's perplexity was not measured" in part(text, "Quality cliff")


def test_simulated_devices_are_left_out_and_counted() -> None:
    text = written(seven() + seven(device="a-phone", simulated=True))
    assert "a-phone" not in text and "Left out: 1 section of simulated devices" in text
    assert "Nothing has been measured yet" in written(seven(simulated=True)) and "%" not in written(
        seven(simulated=True)
    )


def test_plots_are_shown_where_they_are_there() -> None:
    files = benchmark_files([BOX], lab(), date="d")
    pictures = [name for name in files if name.endswith(".svg")]
    text = written(lab(), pictures=pictures)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert shown == ["docs/plots/bench-box-reference-pareto.svg", "docs/plots/bench-box-reference-quality.svg"]
    assert set(shown) <= set(files) and "![" not in written(lab())


def test_text_from_outside_cannot_break_it() -> None:
    text = written([dataclasses.replace(c, model="a|b<script>", device="x|y") for c in seven()])
    assert "<script>" not in text and "x\\|y" in text


def test_the_same_measurements_give_the_same_text_whatever_their_order() -> None:
    assert written(lab()) == written(lab()[::-1])
