"""Answers judged blind: every mark is kept as it comes, none is asked for twice, and they are figures like others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

import duckdb
import pytest

from quantfarm.answers import Answer, Manner, Writer
from quantfarm.prompts import EDGE_TEN
from quantfarm.ratings import Rating, blind, last, mark, mean, student
from storage import ratings
from storage.home import Home
from storage.ingest import ingest, rebuild
from storage.journal import Damaged
from storage.rating_rows import KNOWN
from storage.reading import Reader
from storage.results import results
from storage.verify import verify
from tests.sweeping import QUANTFARM, quantfarm, start

#: The answers of a variant differ from those of the other by the temperature; two tokens each.
ASK = ("ask", "--set", "edge-ten", "--variants", "F16,Q2_K", "--n-gen", "6", "--threads", "1", "--rate", "ann")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which both variants have answered the ten prompts; nothing is judged."""
    home = tmp_path_factory.mktemp("asked") / "home"
    quantfarm(*ASK[:-2], **environment(home))
    return home


def environment(home: Path) -> dict[str, str]:
    return {"QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(home.parent / "leases")}


@pytest.fixture
def judged(asked: Path, tmp_path: Path) -> Path:
    """A copy of it, to be judged."""
    return shutil.copytree(asked, tmp_path / "home")


def session(home: Path, typed: str, *more: str) -> str:
    """What a session prints that is typed this; stdin then ends."""
    done = subprocess.run(
        [QUANTFARM, *ASK, *more], input=typed, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, **environment(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def marks(home: Path, rater: str = "ann") -> dict[tuple[str, str], int]:
    """(prompt, answer) -> mark."""
    kept = [one for one in ratings.all_ratings(Home(home)) if one.rater == rater]
    return {(one.prompt_sha256, one.answer_sha256): one.mark for one in kept}


def texts(home: Path) -> int:
    """How many different texts there are to judge."""
    kept = [json.loads(path.read_bytes()) for path in (home / "answers").glob("*.json")]
    return len({(one["prompt"], one["text"]) for one in kept})


def test_a_session_that_is_stopped_goes_on_where_it_was(judged: Path) -> None:
    first = session(judged, "1\n2\n3\nq\n")
    assert "3 marks kept" in first
    assert "Q2_K" not in first  # nothing says who wrote what before all is judged
    assert list(marks(judged).values()) == [1, 2, 3]
    rest = session(judged, "4\n" * 40)
    assert len(marks(judged)) == texts(judged)
    assert list(marks(judged).values())[:3] == [1, 2, 3]
    assert rest.count("s to skip") == texts(judged) - 3
    assert "Q2_K" in rest
    assert session(judged, "").count("s to skip") == 0  # no text is asked about twice


def test_a_wrong_number_is_refused_and_asked_for_again(judged: Path) -> None:
    said = session(judged, "0\n6\nfive\n\n4.5\n5\n")
    assert said.count("is no mark from 1 to 5") == 5
    assert list(marks(judged).values()) == [5]
    assert [mark(text) for text in ("1", " 5 ", "0", "6", "²", "", "-1", "1e0")] == [1, 5, *[None] * 6]


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_what_was_judged_is_there_after_a_kill(judged: Path, stop: signal.Signals) -> None:
    """Between two answers: as hard as can be, and as a person does it."""
    process = subprocess.Popen(
        [QUANTFARM, *ASK], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **environment(judged)},
    )  # fmt: skip
    assert process.stdin
    process.stdin.write("2\n4\n")
    process.stdin.flush()
    until = time.monotonic() + 120
    while len(marks(judged)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(stop)
    assert process.wait() == (130 if stop is signal.SIGINT else -stop)
    process.stdin.close()
    assert list(marks(judged).values()) == [2, 4]
    session(judged, "5\nq\n")
    assert list(marks(judged).values()) == [2, 4, 5]


def test_marks_from_a_file(judged: Path, tmp_path: Path) -> None:
    """Wrong ones are refused with their line before any is kept."""
    file = tmp_path / "marks"
    file.write_text("3\n3\n7\n")
    said = quantfarm(*ASK, "--answers", str(file), code=2, **environment(judged))
    assert f"{file}, line 3: '7' is no mark from 1 to 5" in said
    assert not marks(judged)
    file.write_text("3\n" * 21)
    assert "21 marks" in quantfarm(*ASK, "--answers", str(file), code=2, **environment(judged))
    file.write_text("3\n" * texts(judged))
    found = json.loads(quantfarm(*ASK, "--answers", str(file), "--json", **environment(judged)))
    assert (found["marked"], found["left"]) == (texts(judged), 0)
    assert [row["mean"] for row in found["ratings"]] == [3.0, 3.0]
    assert [row["prompts"] for row in found["ratings"]] == [10, 10]


def test_another_rater_judges_all_anew_in_another_order(judged: Path) -> None:
    session(judged, "4\nq\n")
    session(judged, "2\nq\n", "--rate", "bob")  # the last --rate counts
    assert (len(marks(judged)), len(marks(judged, "bob"))) == (1, 1)
    rows = json.loads(quantfarm("ratings", "--json", **environment(judged)))
    assert {row["raters"] for row in rows} <= {"ann, bob", "ann", "bob"}
    assert "did you mean bob" in quantfarm("ratings", "--rater", "bop", code=2, **environment(judged))


def test_marks_are_figures_of_the_results_and_survive_a_rebuild(judged: Path) -> None:
    home = Home(judged)
    session(judged, "5\n1\n3\nq\n")
    rows = json.loads(quantfarm("results", "--metric", "rating", "--json", **environment(judged)))
    assert {row["workload"] for row in rows} == {"edge-ten judged by ann"}
    assert {row["unit"] for row in rows} == {"of 5"}
    assert all(row["reason"].startswith("last marked 20") for row in rows)
    rebuild(home)
    with Reader(home) as reader:
        assert results(reader, metric="rating") == rows
        stored = reader.query("SELECT rater, rated_at, mark FROM ratings ORDER BY number")
    assert [row["mark"] for row in stored] == [one.mark for one in ratings.all_ratings(home)]
    assert [row["rater"] for row in stored] == ["ann"] * len(stored)
    assert all(row["rated_at"] for row in stored)
    assert not [one for one in verify(home) if "rating" in one.name]


def test_a_damaged_journal_is_said_and_what_is_in_the_database_stays(judged: Path) -> None:
    home = Home(judged)
    session(judged, "5\nq\n")
    file = ratings.path(home)
    file.write_bytes(file.read_bytes() + b"{broken}\n")
    with pytest.raises(Damaged, match="line"):
        ratings.all_ratings(home)
    ingest(home)
    assert [one.kind for one in verify(home) if one.name == "ratings.jsonl"][:1] == ["unreadable"]
    process = start("ratings", **environment(judged))
    assert "cannot be read" in process.communicate()[1]
    assert process.returncode == 1


def written(variant: str, prompt: str, text: str) -> Answer:
    by = Writer(device="local", model="m", variant=variant, artifact=variant, runtime="llama_cpp", build="b")
    return Answer(
        writer=by, manner=Manner(), prompt=prompt, text=text, ended="length", form="", n=2, ttft_s=1.0, tps=None
    )


def test_a_text_that_two_variants_wrote_is_judged_once(home: Path) -> None:
    """Also when the second of them is asked after the first was judged."""
    alike = [written(variant, "p", "same") for variant in ("A", "B")]
    [both] = blind(alike, 0, "ann")
    assert len(both.answers) == 2
    [only] = blind(alike[:1], 0, "ann")
    ratings.add(Home(home), "ann", "edge-ten", only, 4)
    assert ratings.done(Home(home), "ann", [both]) == set()
    assert ratings.carried(Home(home), "ann", "edge-ten", [both]) == 1
    assert ratings.done(Home(home), "ann", [both]) == {both.key}
    assert {(one.variant, one.mark) for one in ratings.all_ratings(Home(home))} == {("A", 4), ("B", 4)}


def test_the_order_is_blind_and_the_same_for_the_same_seed_and_rater() -> None:
    answers = [written(variant, probe.prompt, f"by {variant}") for variant in "ABCD" for probe in EDGE_TEN]
    orders = [[one.text for one in blind(answers, seed, rater)] for seed, rater in [(0, "a"), (0, "a"), (0, "b")]]
    assert orders[0] == orders[1] != orders[2]
    of_each = [tuple(orders[0][i : i + 4]) for i in range(0, 40, 4)]
    assert all(sorted(order) == ["by A", "by B", "by C", "by D"] for order in of_each)
    assert len(set(of_each)) > 5
    other = [written(variant, probe.prompt, f"by {variant}") for variant in "DCBA" for probe in EDGE_TEN]
    assert [one.text for one in blind(other, 0, "a")] == orders[0]  # not by who was asked first


def rated(prompt: int, value: int, rater: str = "ann", at: int = 0) -> Rating:
    return Rating(
        rater=rater, rated_at=f"2026-11-21T00:00:{at:02}+00:00", prompt_set="edge-ten", prompt_sha256=str(prompt),
        answer_sha256="x", mark=value, model="m", variant="v", artifact="", device="local", runtime="r", build="b",
    )  # fmt: skip


def test_the_interval_is_over_prompts_and_the_newest_mark_counts() -> None:
    values = [3, 4, 4, 5, 2, 3, 4, 4, 3, 5]
    made = mean([rated(i, value) for i, value in enumerate(values)])
    half = 2.2622 * statistics.stdev(values) / 10**0.5  # t of 9 degrees of freedom
    assert (made.value, made.n) == (3.7, 10)
    assert (made.low, made.high) == (pytest.approx(3.7 - half, abs=1e-4), pytest.approx(3.7 + half, abs=1e-4))
    assert mean([rated(0, 3)]).low is None
    two = mean([rated(0, 2, "ann"), rated(0, 4, "bob"), rated(1, 3, "ann")])
    assert (two.value, two.n, two.marks, two.raters) == (3.0, 2, 3, ("ann", "bob"))
    assert [one.mark for one in last([rated(0, 2), rated(1, 5), rated(0, 4, at=9)])] == [5, 4]
    assert [round(student(n), 3) for n in (1, 2, 9, 30)] == [12.706, 4.303, 2.262, 2.042]


def test_marks_that_are_all_alike_are_not_certain() -> None:
    made = mean([rated(i, 4) for i in range(10)])
    assert made.low is not None
    assert made.low < 4 < (made.high or 0)


def test_a_database_that_knew_no_ratings_has_none(tmp_path: Path) -> None:
    assert duckdb.connect(tmp_path / "old.duckdb").execute(KNOWN).fetchall() == [(0,)]
