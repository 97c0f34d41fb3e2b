"""The five-way comparison: the same model five ways, differences to the published one, and what was not measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from quantfarm.candidates import Candidate
from quantfarm.report import five_way
from quantfarm.statistics.increase import increase
from quantfarm.statistics.paired import Answers
from quantfarm.statistics.summary import Summary, summarise

#: variant, bytes, bits per weight, tok/s at batch 1, loss in nats over HF, right answers of 200
WAYS = (
    ("GPTQ", 4.5e6, 6.29, 38.0, 0.025, 138),
    ("HF", 11.5e6, 16.0, 60.0, 0.0, 142),
    ("AWQ", 4.6e6, 6.32, 37.0, 0.027, 139),
    ("RTN", 4.6e6, 6.32, 41.0, 0.048, 135),
    ("NF4", 4.8e6, 6.6, 25.0, 0.045, 140),
)


def candidate(variant: str, size: float, bits: float, rate: float, loss: float, right: int, **more: Any) -> Candidate:
    nll = tuple(255 * (2.5 + 0.1 * (i % 7) + loss + 0.01 * loss * (i % 3)) for i in range(20))
    rates = {f"batch{n}_tps": summarise([rate * n**0.8 * (1 + 0.01 * i) for i in range(3)]) for n in (1, 8, 32)}
    memory = {f"batch{n}_resident_peak": summarise([400.0 + n]) for n in (1, 8, 32)}
    quality = {
        "ppl": Summary(value=math.exp(sum(nll) / 255 / 20), mad=0, n=1, low=11.0, high=14.0),
        "acc_reference_cloze": Summary(value=right / 2, mad=0, n=1, low=right / 2 - 6, high=right / 2 + 6),
    }
    given: dict[str, Any] = {
        "device": "desk",
        "model": "reference",
        "variant": variant,
        "runtime": "transformers",
        "build": "transformers 5.17.0",
        "artifact": variant,
        "size": int(size),
        "bits_per_weight": bits,
        "figures": rates | memory | quality,
        "units": {},
        "chunk_nll": nll,
        "chunk_tokens": (255,) * 20,
        "text_sha256": "ab" * 32,
        "items": {
            "acc_reference_cloze": Answers(
                right={str(i): i < right for i in range(200)}, groups={str(i): "" for i in range(200)}
            )
        },
    }
    return Candidate(**(given | more))


def five() -> list[Candidate]:
    return [candidate(*way) for way in WAYS]


def cells(table: str, way: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| **{way}**"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(table: str, heading: str) -> int:
    return [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")].index(heading)


def test_the_ways_come_in_their_order_the_published_model_first() -> None:
    assert [row.variant for row in five_way.rows(five())] == ["HF", "RTN", "NF4", "AWQ", "GPTQ"]


def test_each_way_has_its_memory_rates_and_quality() -> None:
    rtn = five_way.rows(five())[1]
    assert rtn.resident is not None and rtn.resident.value == 401.0  # of the smallest batch
    assert list(rtn.rates) == [1, 8, 32]
    assert rtn.loss is not None and math.isclose(rtn.loss.nats, 0.048 * (1 + 0.01 * 19 / 20), rel_tol=1e-3)
    assert math.isclose(rtn.against["acc_reference_cloze"].delta, -3.5)
    assert rtn.against["acc_reference_cloze"].only_a == 7
    table = five_way.table(five())
    assert cells(table, "RTN")[column(table, "perplexity")] == "17.00"
    assert cells(table, "RTN")[column(table, "tok/s, batch 1")].startswith("41.4")


def test_the_published_model_is_the_base_and_has_no_difference() -> None:
    table = five_way.table(five())
    assert cells(table, "HF")[column(table, "against HF")] == "base"
    assert "(" not in cells(table, "HF")[-1]
    assert "-3.5 (" in cells(table, "RTN")[-1]


def test_a_column_for_cuda_only_where_somebody_has_one() -> None:
    assert "CUDA" not in five_way.table(five()).splitlines()[0]
    ways = five()
    ways[3] = replace(ways[3], figures={**ways[3].figures, "batch1_cuda_peak": summarise([812.5])})
    table = five_way.table(ways)
    assert cells(table, "RTN")[column(table, "CUDA MiB")] == "812.5"
    assert cells(table, "NF4")[column(table, "CUDA MiB")] == "–"


def test_what_was_not_measured_is_a_dash_and_why_stands_below() -> None:
    ways = five()
    ways[2] = replace(ways[2], figures={}, items={}, failures=("batch: load: no room",))
    table = five_way.table(ways)
    assert set(cells(table, "AWQ")[3:]) == {"–"}
    assert "AWQ: batch: load: no room." in table


def test_of_another_text_a_perplexity_is_not_compared() -> None:
    ways = five()
    ways[0] = replace(ways[0], text_sha256="cd" * 32)
    table = five_way.table(ways)
    assert cells(table, "GPTQ")[column(table, "against HF")] == "not comparable"


def test_without_the_published_model_there_is_no_difference() -> None:
    rows = five_way.rows([way for way in five() if way.variant != "HF"])
    assert len(rows) == 4
    assert all(row.loss is None and not row.against for row in rows)


def test_other_variants_and_runtimes_are_left_out() -> None:
    gguf = candidate(*("Q4_K_M", 3.7e6, 4.9, 100.0, 0.02, 140), runtime="llama_cpp")
    elsewhere = candidate(*WAYS[1], runtime="mlx")
    options = candidate("RTN+group_size=32", *WAYS[3][1:])
    found = five_way.rows([gguf, elsewhere, *five(), options])
    assert [row.variant for row in found] == ["HF", "RTN", "RTN+group_size=32", "NF4", "AWQ", "GPTQ"]


def test_where_nobody_decoded_in_batches_there_is_no_table() -> None:
    ways = [replace(way, figures={"ppl": way.figures["ppl"]}) for way in five()]
    assert five_way.rows(ways) == []
    assert five_way.table(ways) == ""
    assert five_way.table(five()[:1]) == ""


def test_of_few_chunks_the_interval_of_a_difference_is_students() -> None:
    """Two chunks say next to nothing of the spread between chunks: t(1) is 12.7, and the normal law has 1.96."""
    many, few = (
        [replace(one, chunk_nll=one.chunk_nll[:n], chunk_tokens=one.chunk_tokens[:n]) for one in five()]
        for n in (20, 2)
    )
    widths = []
    for of in (many, few):
        found = increase(of[-1], of[1])
        assert found is not None
        widths.append((found.high - found.nats) / found.error)
    assert [round(width, 3) for width in widths] == [2.093, 12.706]
