"""Tasks from a folder of the user's: JSON lines, and MMLU's CSV files. Every row is checked before anything runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from quantfarm.errors import UsageError

#: Other names that files go by.
ALSO = {"openbookqa": ("openbook_qa",), "hellaswag": ("hella_swag",), "lambada_openai": ("lambada",)}
#: Tasks whose prompt is lm-eval's "Question: …\nAnswer:"; files hold the question alone.
ANSWERED = frozenset({"arc_easy", "arc_challenge", "piqa"})
MMLU = ("question", "choice0", "choice1", "choice2", "choice3", "answer")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A task, or a subject of one: rows as lm-eval's YAML of that `shape` reads them.

    Shapes: `choices` {text, choices, gold} · `contexts` {contexts, continuation, gold} (Winogrande) ·
    `greedy` {context, continuation} (LAMBADA) · `mmlu` {question, choices, answer}.
    """

    name: str
    group: str = ""  # MMLU's subject
    shape: str
    rows: tuple[Row, ...]
    shots: tuple[Row, ...] = ()  # what worked examples are taken from


def read(folder: Path, task: str) -> list[Data]:
    """A task's rows. Raises UsageError: no such file (and what there is), or a bad row with its file and line."""
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UsageError(f"there is no folder of tasks {folder}")
    if task == "mmlu" or task.startswith("mmlu_"):
        return _mmlu(folder, task)
    path = _file(folder, task, "")
    if not path:
        raise UsageError(f"{folder} has no {task}.jsonl for the task {task}: it has {_listed(folder)}")
    shape, rows = _lines(path, task)
    shots = _file(folder, task, "_dev")
    return [Data(name=task, shape=shape, rows=rows, shots=_lines(shots, task)[1] if shots else ())]


def _file(folder: Path, task: str, end: str) -> Path | None:
    names = [f"{name}{end}.jsonl" for name in (task, *ALSO.get(task, ()))]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _listed(folder: Path) -> str:
    found = sorted(path.stem for path in folder.glob("*.jsonl"))
    return ", ".join([*found, *(["mmlu"] if (folder / "mmlu").is_dir() else [])]) or "no task at all"


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error


# ------------------------------------------------------------------ JSON lines


def _lines(path: Path, task: str) -> tuple[str, tuple[Row, ...]]:
    rows: list[Row] = []
    shape = ""
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            where = f"{path}, line {number}"
            own, row = _row(line, task, where)
            if shape and own != shape:
                raise UsageError(f"{where}: its columns are not those of the lines before")
            shape = own
            rows.append(row)
    if not rows:
        raise UsageError(f"{path} has no lines")
    return shape, tuple(rows)


def _row(line: str, task: str, where: str) -> tuple[str, Row]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not a line of JSON: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"{where}: not a JSON object")
    row = cast("dict[str, Any]", given)
    if "context_options" in row:
        contexts = _texts(row, "context_options", where)
        gold = _gold(row, "gold", len(contexts), where)
        return "contexts", {"contexts": contexts, "continuation": _string(row, "continuation", where), "gold": gold}
    if "context" in row:
        return "greedy", {
            "context": _string(row, "context", where),
            "continuation": _string(row, "continuation", where),
        }
    query, choices = _string(row, "query", where), _texts(row, "choices", where)
    text = f"{query.strip()}\nAnswer:" if task in ANSWERED else query
    return "choices", {"text": text, "choices": choices, "gold": _gold(row, "gold", len(choices), where)}


def _need(row: Row, column: str, where: str) -> Any:
    if column not in row or row[column] is None:
        raise UsageError(f"{where}: no column {column} (it has {', '.join(map(str, row)) or 'none'})")
    return row[column]


def _string(row: Row, column: str, where: str) -> str:
    value = _need(row, column, where)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {column} is no text: {str(value)[:60]!r}")
    return value


def _texts(row: Row, column: str, where: str) -> list[str]:
    value = _need(row, column, where)
    if not isinstance(value, list) or len(cast("list[Any]", value)) < 2:
        raise UsageError(f"{where}: {column} is no list of two texts or more")
    return [_string({column: one}, column, where) for one in cast("list[Any]", value)]


def _gold(row: Row, column: str, n: int, where: str) -> int:
    """Raises UsageError unless it is the index of one of n choices."""
    value = _need(row, column, where)
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < n:
        raise UsageError(f"{where}: {column} is {value!r}, not the index of one of its {n} choices (0 to {n - 1})")
    return number


# ------------------------------------------------------------------ MMLU


def _mmlu(folder: Path, task: str) -> list[Data]:
    """All subjects of `mmlu/test`, or the one of `mmlu_SUBJECT`; worked examples are those of `mmlu/dev`."""
    root = folder / "mmlu" if (folder / "mmlu").is_dir() else folder
    tests = {path.name.removesuffix("_test.csv"): path for path in sorted((root / "test").glob("*_test.csv"))}
    if not tests:
        raise UsageError(f"{root} has no test/SUBJECT_test.csv for the task {task}: the folder has {_listed(folder)}")
    subject = task.removeprefix("mmlu").removeprefix("_")
    if subject and subject not in tests:
        raise UsageError(f"{root / 'test'} has no {subject}_test.csv: it has {', '.join(tests)}")
    return [_subject(root, name, path) for name, path in tests.items() if subject in ("", name)]


def _subject(root: Path, subject: str, path: Path) -> Data:
    dev = root / "dev" / f"{subject}_dev.csv"
    shots = _table(dev) if dev.is_file() else ()
    return Data(name=f"mmlu_{subject}", group=subject, shape="mmlu", rows=_table(path), shots=shots)


def _table(path: Path) -> tuple[Row, ...]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    header: Sequence[str] = reader.fieldnames or ()
    if missing := [name for name in MMLU if name not in header]:
        raise UsageError(f"{path}, line 1: no column {missing[0]} (it has {', '.join(header) or 'none'})")
    rows: list[Row] = []
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            choices = [_string(row, name, where) for name in MMLU[1:5]]
            question = _string(row, "question", where)
            rows.append({"question": question, "choices": choices, "answer": _gold(row, "answer", 4, where)})
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise UsageError(f"{path} has no rows")
    return tuple(rows)
