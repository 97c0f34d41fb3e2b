"""The view that compares: two of a kind, a verdict for each metric, and refusals with their reasons."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from quantfarm.nouns import Measurement
from storage.home import Home
from storage.ingest import ingest
from tests.dashboard.filling import FARM, ask, fill
from tests.dashboard.showing import show, words
from tests.storing import APP, LAPTOP, PHONE, cell, landed, put

F16, Q8, Q2 = "F16 (llama_cpp)", "Q8_0 (llama_cpp)", "Q2_K (llama_cpp)"
HOSTILE = "<script>alert(1)</script> $x$ 名前 " + "y" * 170


def plain(said: str) -> str:
    return said.replace("\\", "")


def test_two_variants_get_a_verdict_for_each_metric(home: Path) -> None:
    fill(home, launches=6)
    shown = show(home, "compare", a=F16, b=Q8)
    said = plain(words(shown))
    assert re.search("B is better in (decode speed, resident memory|resident memory, decode speed);", said)
    verdicts = shown.dataframe[0].value.set_index("metric")
    assert verdicts.loc["decode speed", "verdict of B"] == "▲ better"
    assert verdicts.loc["decode speed", "how"] == "launches, unpaired: 6 and 6"
    assert verdicts.loc["perplexity", "how"] == "paired by 2 chunks"


def test_tasks_are_paired_by_document(home: Path) -> None:
    fill(home)
    ask(home, "F16", [True] * 20)
    ask(home, "Q2_K", [False] * 12 + [True] * 8)
    row = show(home, "compare", a=F16, b=Q2).dataframe[0].value.set_index("metric").loc["arc_easy acc"]
    assert row["verdict of B"] == "▼ worse" and row["how"] == "paired by 20 documents" and row["p"] == "<0.001"


def test_too_few_launches_say_what_would_decide(home: Path) -> None:
    fill(home)
    shown = show(home, "compare", a=F16, b=Q8)
    assert "Too few launches for an interval" in words(shown)
    assert any("--launches 6 --fresh" in one.value for one in shown.code)


def test_two_devices_and_their_conditions_stand_side_by_side(home: Path) -> None:
    fill(home, launches=6)
    fill(home, PHONE, {quant: (speed / 3, memory, nll) for quant, (speed, memory, nll) in FARM.items()}, launches=6)
    shown = show(home, "compare", what="devices", variant=Q8, a="laptop", b="phone")
    said = plain(words(shown))
    assert "phone (B) against laptop (A)" in said and "worse in decode speed" in said
    assert sum("Conditions" in one.value for one in shown.caption) == 2


def test_a_simulated_device_is_not_compared_with_a_real_one(home: Path) -> None:
    fill(home)
    fill(home, replace(PHONE, simulated=True))
    said = plain(words(show(home, "compare", what="devices", variant=Q8, a="laptop", b="phone")))
    assert "Not compared: phone is simulated and the other is not" in said and "Simulated device" in said


def test_two_runtimes_and_one_alone(home: Path) -> None:
    fill(home)
    assert "There is only one runtime with it here" in plain(words(show(home, "compare", what="runtimes")))


def test_two_nights(home: Path) -> None:
    for number, night in enumerate(("2026-11-20", "2026-11-21")):
        for n in range(6):
            figures = [Measurement(metric="decode_tps", value=(100 + n) * (1 - 0.2 * number), unit="tok/s")]
            done = landed(cell(n, APP), 1 + number, figures=figures, started_at=f"{night}T01:00:00.000+00:00")
            put(Home(home), replace(done, night=night))
    ingest(Home(home))
    shown = show(home, "compare", what="nights")
    said = plain(words(shown))
    assert "night of 2026-11-21 (B) against night of 2026-11-20 (A)" in said
    assert "worse in decode speed" in said


def test_a_variant_alone_says_what_is_missing(home: Path) -> None:
    fill(home, farm={"F16": FARM["F16"]})
    assert "There is only one variant here" in words(show(home, "compare"))


def test_the_same_twice_is_no_comparison(home: Path) -> None:
    fill(home)
    assert "A and B are the same" in words(show(home, "compare", a=F16, b=F16))


def test_metrics_with_other_parameters_are_refused_with_the_reason(home: Path) -> None:
    fill(home)
    put(Home(home), landed(cell(9, quant="Q8_0"), figures={"bench_tg": 5.0}))
    ingest(Home(home))
    assert "token generation: not measured of F16" in plain(words(show(home, "compare", a=F16, b=Q8)))


def test_names_are_shown_as_they_are(home: Path) -> None:
    fill(home)
    fill(home, replace(LAPTOP, name=HOSTILE))
    shown = show(home, "compare", what="devices", variant=Q8)
    words(shown)
    texts = [one.value for kind in ("markdown", "caption", "subheader", "error") for one in getattr(shown, kind)]
    assert any(r"\<script\>" in text for text in texts) and not any("<script>" in text for text in texts)
