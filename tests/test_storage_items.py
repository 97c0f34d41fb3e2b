"""Items of tasks in the database: from the traces, the same after a rebuild, joined document by document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantfarm.metrics.tasks import correct, correct_norm, margin
from quantfarm.nouns import Landed, Measurement, Workload, parameters
from quantfarm.statistics.tasks import differences
from storage.candidates import candidates
from storage.compare import equal
from storage.home import Home
from storage.ingest import ingest, rebuild, working_path
from storage.reading import Reader
from tests.storing import FAILED, LINES, cell, landed, put

QUIZ = Workload(kind="tasks", parameters=parameters(task="quiz", limit=None, n_shot=0))
LL = ([-1.0, -2.0, -3.0], [-2.0, -1.0, -3.0], [-1.0, -1.0, -4.0], [-9.0, -8.0, -7.0])


def line(doc: int, ll: list[float], gold: int = 0, **more: object) -> str:
    about = {"doc_hash": "same" if doc in (1, 2) else f"h{doc}", "group": "", "lengths": [8, 4, 2]}
    event = {"event": "item", "t": doc, "doc": doc, **about, "gold": gold, "ll": ll, "greedy": [False] * len(ll)}
    return json.dumps({**event, **more})


def lines(golds: tuple[int, ...]) -> list[str]:
    asked = {"event": "tasks", "t": 0, "task": "quiz", "n_docs": len(golds), "whole": len(golds)}
    return [LINES[0], json.dumps(asked), *(line(n, LL[n], gold) for n, gold in enumerate(golds)), LINES[-1]]


def quiz(home: Home, quant: str, golds: tuple[int, ...], value: float) -> Landed:
    acc = Measurement(metric="acc_quiz", value=value, unit="%", n=len(golds), low=0.0, high=100.0)
    done = landed(cell(workload=QUIZ, quant=quant), figures=[acc])
    put(home, done, lines(golds))
    return done


def test_each_document_is_a_row_by_the_rules_of_the_metric(tmp_path: Path) -> None:
    home, golds = Home(tmp_path), (0, 0, 1, 2)
    done = quiz(home, "F16", golds, 50.0)
    ingest(home)
    with Reader(home) as reader:
        rows = reader.query("SELECT * FROM items ORDER BY doc")
    items = [json.loads(line(n, LL[n], gold)) for n, gold in enumerate(golds)]
    assert [row["correct"] for row in rows] == [correct(item) for item in items] == [True, False, False, True]
    assert [row["correct_norm"] for row in rows] == [correct_norm(item) for item in items]
    assert [row["margin"] for row in rows] == [margin(item) for item in items]
    assert [row["ll"] for row in rows] == list(LL)
    assert {(row["cell"], row["attempt"]) for row in rows} == {(done.cell.id, 1)}


def test_a_rebuilt_database_has_the_same_items(tmp_path: Path) -> None:
    home = Home(tmp_path)
    quiz(home, "F16", (0, 0, 1, 2), 50.0)
    ingest(home)
    copy = tmp_path / "before.duckdb"
    copy.write_bytes(working_path(home).read_bytes())
    rebuild(home)
    assert equal(copy, working_path(home))


def test_the_trace_of_a_failed_run_costs_no_other_row(tmp_path: Path) -> None:
    """Items that lack what a row needs, or of a run that was cut off, and the runs that landed with it."""
    home = Home(tmp_path)
    torn = ['{"event": "item", "t": 1, "doc": 0}', line(1, [-1.0], gold=3), line(2, []), line(3, LL[3]), "garbage", "["]
    put(home, landed(cell(workload=QUIZ, quant="Q2_K"), outcome=FAILED), [LINES[0], *torn])
    quiz(home, "F16", (0, 0, 1, 2), 50.0)
    ingest(home)
    with Reader(home) as reader:
        found = reader.query("SELECT variant, count(*) AS n FROM items JOIN cells USING (cell, attempt) GROUP BY ALL")
    assert {row["variant"]: row["n"] for row in found} == {"F16": 4, "Q2_K": 1}


def test_candidates_carry_answers_that_pair_document_by_document(tmp_path: Path) -> None:
    home = Home(tmp_path)
    quiz(home, "F16", (0, 1, 0, 2), 100.0)
    quiz(home, "Q4_K_M", (0, 0, 1, 0), 25.0)
    ingest(home)
    with Reader(home) as reader:
        by_name = {one.variant: one for one in candidates(reader)}
    base, other = by_name["F16"], by_name["Q4_K_M"]
    assert base.items["acc_quiz"].right == {"h0#1": True, "same#1": True, "same#2": True, "h3#1": True}
    found = differences(base, other)["acc_quiz"]
    assert (found.n, found.only_a, found.only_b, found.delta) == (4, 3, 0, -75.0)
    assert found.p == pytest.approx(0.25)
    assert differences(base, base) == {}
