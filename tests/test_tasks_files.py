"""Tasks from the user's files, and the built-in one: every bad row by its file and line, nothing half-used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from quantfarm import corpus, tasks
from quantfarm.errors import UsageError
from quantfarm.tasks import cloze, local, requests

GOOD = {"query": "Question: Why?", "choices": ["so", "no"], "gold": 1}
MMLU = "question,choice0,choice1,choice2,choice3,answer\n"


def write(folder: Path, rows: list[Any], name: str = "arc_easy.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": "Why?", "gold": 0}, r"no column choices \(it has query, gold\)"),
        ({"choices": ["a", "b"], "gold": 0}, "no column query"),
        ({**GOOD, "gold": None}, "no column gold"),
        ({**GOOD, "gold": 2}, r"gold is 2, not the index of one of its 2 choices \(0 to 1\)"),
        ({**GOOD, "gold": -1}, "gold is -1, not the index"),
        ({**GOOD, "gold": "B"}, "gold is 'B', not the index"),
        ({**GOOD, "gold": True}, "gold is True, not the index"),
        ({**GOOD, "choices": ["one"]}, "choices is no list of two texts or more"),
        ({**GOOD, "choices": ["one", 2]}, "choices is no text: '2'"),
        ({**GOOD, "query": "  "}, "query is no text"),
        ({"context_options": ["a", "b"], "continuation": "c", "gold": 5}, "gold is 5, not the index"),
        ('{"query": "torn', "not a line of JSON"),
        ("[1]", "not a JSON object"),
        ({"context": "a", "continuation": "b"}, "its columns are not those of the lines before"),
    ],
)
def test_a_bad_row_is_a_usage_error_with_its_file_and_line(row: Any, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD, "", row])
    with pytest.raises(UsageError, match=f"{path}, line 3: {said}"):
        local.read(tmp_path, "arc_easy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question,choice0,choice1,choice2,answer\n", r"line 1: no column choice3 \(it has question"),
        (f"{MMLU}Why?,a,b,c,d,4\n", "line 2: answer is '4', not the index of one of its 4 choices"),
        (f'{MMLU}Why?,a,b,c,d,0\n"Two\nlines?",a,b,c,d,A\n', "line 4: answer is 'A', not the index"),
        (f"{MMLU}Why?,a,b\n", "line 2: no column choice2"),
        (MMLU, "has no rows"),
    ],
)
def test_a_bad_row_of_mmlu_too(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mmlu" / "test").mkdir(parents=True)
    (tmp_path / "mmlu" / "test" / "anatomy_test.csv").write_text(text)
    with pytest.raises(UsageError, match=f"anatomy_test.csv.*{said}"):
        local.read(tmp_path, "mmlu")


def test_a_folder_says_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, [GOOD])
    write(tmp_path, [GOOD], "piqa.jsonl")
    with pytest.raises(UsageError, match=r"has no hellaswag\.jsonl for the task hellaswag: it has arc_easy, piqa"):
        local.read(tmp_path, "hellaswag")
    with pytest.raises(UsageError, match="there is no folder of tasks"):
        local.read(tmp_path / "nowhere", "hellaswag")


def test_the_published_files_are_read_whole(data: Path) -> None:
    folder = data / "tasks"
    for task in ("arc_easy", "arc_challenge", "openbookqa", "piqa", "winogrande", "lambada_openai"):
        (one,) = local.read(folder, task)
        assert len(one.rows) == tasks.WHOLE[task]
    subjects = local.read(folder, "mmlu")
    assert len(subjects) == 12
    assert all(len(one.shots) == 5 for one in subjects)
    assert local.read(folder, "mmlu_anatomy")[0].rows[0]["answer"] == 0


@pytest.mark.parametrize(
    ("n_shot", "n_docs", "name"),
    [
        (0, 14042, "acc_mmlu"),
        (5, 14042, "acc_mmlu_5shot"),
        (0, 200, "acc_mmlu_200of14042"),
        (5, 1, "acc_mmlu_5shot_1of14042"),
    ],
)
def test_a_part_of_a_benchmark_never_has_its_name(n_shot: int, n_docs: int, name: str) -> None:
    assert tasks.figure("acc", "mmlu", n_shot, n_docs, tasks.WHOLE["mmlu"]) == name


# ------------------------------------------------------------------ the built-in tasks


def held_out() -> str:
    return corpus.held_out_text().decode()


@pytest.mark.parametrize("task", tasks.BUILT_IN)
def test_each_item_has_one_true_continuation_among_four_as_long(task: str) -> None:
    text = held_out()
    items = cloze.items(text, task=task)
    assert len(items) == 1000
    for item in items:
        true = item["choices"][item["gold"]]
        assert item["text"] + true in text
        assert all(choice in text for choice in item["choices"])
        assert len({*item["choices"]}) == 4
        assert len({len(choice) for choice in item["choices"]}) == 1
        assert len({choice[0] for choice in item["choices"]}) == 1
    assert {item["gold"] for item in items} == {0, 1, 2, 3}


def test_the_wrong_ones_of_near_are_of_the_same_passage_and_not_of_the_context() -> None:
    text = held_out()
    for item in cloze.items(text, 100, "reference_near"):
        begin = text.index(item["text"] + item["choices"][item["gold"]])
        for choice in item["choices"]:
            assert choice in text[max(0, begin - cloze.VICINITY) : begin + cloze.SIZE + cloze.VICINITY]
            assert choice not in item["text"] or text.count(choice) > 1


def test_the_wrong_ones_of_line_are_whole_lines_as_far_indented() -> None:
    text = held_out()
    for item in cloze.items(text, 100, "reference_line"):
        assert all(f"{choice}\n" in text for choice in item["choices"])
        assert len({len(choice) - len(choice.lstrip()) for choice in item["choices"]}) == 1


@pytest.mark.parametrize(
    ("task", "known"),
    [
        ("reference_cloze", "745620225c90ab20"),
        ("reference_near", "3f2332b70af72504"),
        ("reference_line", "d9c78f0a47f19fad"),
    ],
)
def test_a_built_in_task_is_the_same_for_the_same_text_and_its_limit_takes_the_first(task: str, known: str) -> None:
    end = "\n" if task == "reference_line" else " "
    text = "".join(f"The {n}th word of this text is {n * n} and not {n + 1}.{end}" for n in range(2000))
    made = requests.of_cloze(text, None, task)
    assert made == requests.of_cloze(text, None, task)
    # Of this text for ever: who changes the definition gives it a new version.
    assert (cloze.VERSION, hashlib.sha256(made).hexdigest()[:16]) == ("1", known)
    head, *lines = made.splitlines()
    few = requests.of_cloze(text, 7, task).splitlines()
    assert few[1:] == lines[:7]
    assert (json.loads(head)["n_docs"], json.loads(few[0])["n_docs"], json.loads(few[0])["whole"]) == (1000, 7, 1000)


def test_a_text_that_no_cloze_can_be_made_of_is_refused() -> None:
    with pytest.raises(UsageError, match="the cloze needs at least"):
        cloze.items("too short")
    with pytest.raises(UsageError, match="too few words"):
        cloze.items("x" * 5000)
    for task in tasks.BUILT_IN:
        with pytest.raises(UsageError, match="too little that differs"):
            cloze.items("again and again, " * 300, task=task)
