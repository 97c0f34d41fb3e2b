"""quantfarm nightly detect FILE, as a user runs it: what it prints, where a series forks, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cli import series_file
from cli.nightly import app
from quantfarm.errors import UsageError
from quantfarm.statistics.series import Night, segments

ROOT = Path(__file__).resolve().parent.parent
HIGH = [100.0, 100.5, 99.5, 100.2, 99.9, 100.1, 99.8, 100.3]
LOW = [90.0, 90.4, 89.7, 90.1]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str | bytes, name: str = "nights.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return put


def csv_of(values: Sequence[float], series: str = "tg", first: int = 1) -> str:
    return "".join(f"{first + i},{series},{value}\n" for i, value in enumerate(values))


def detect(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["detect", str(path), *options])


def found(path: Path, *options: str) -> list[dict[str, Any]]:
    ran = detect(path, *options)
    assert ran.exit_code == 0, ran.exception
    return json.loads(ran.stdout)


# --- what it prints ---


def test_a_change_says_its_series_run_index_direction_relative_size_and_p(write: Write) -> None:
    [change] = found(write("run,series,value\n" + csv_of(HIGH + LOW)))
    assert (change["series"], change["run"], change["index"], change["direction"]) == ("tg", "9", 8, "down")
    assert change["relative_size"] == pytest.approx(90.05 / 100.05 - 1)
    assert (change["before"], change["after"]) == (pytest.approx(100.05), pytest.approx(90.05))
    assert 0 < change["p"] < 1e-4
    assert (change["points_before"], change["points_after"]) == (8, 4)


def test_a_series_without_a_change_is_an_empty_list_and_success(write: Write) -> None:
    ran = detect(write("run,series,value\n" + csv_of(HIGH)))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "[]\n", "")


def test_several_series_in_one_file_are_looked_at_apart(write: Write) -> None:
    lines = [f"{i},tg,{v}\n{i},pp,{v * 50}\n{i},ppl,7.5\n" for i, v in enumerate(HIGH + LOW)]
    changes = found(write("run,series,value\n" + "".join(lines)))
    assert [(c["series"], c["index"]) for c in changes] == [("tg", 8), ("pp", 8)]


def test_json_lines_say_the_same_as_csv(write: Write) -> None:
    lines = [json.dumps({"time": f"2026-03-{i + 1:02}", "series": "tg", "value": v}) for i, v in enumerate(HIGH + LOW)]
    from_lines = found(write("\n".join(lines) + "\n\n", "nights.jsonl"))
    [from_csv] = found(write("run,series,value\n" + csv_of(HIGH + LOW)))
    assert from_lines == [from_csv | {"run": "2026-03-09"}]


def test_the_settings_are_options(write: Write) -> None:
    path = write("run,series,value\n" + csv_of(HIGH + LOW))
    assert found(path, "--magnitude", "0.2") == []
    assert found(path, "--min-points", "5") == []
    assert found(path, "--p", "1e-20") == []
    assert found(path, "--window", "10")[0]["index"] == 8


def test_one_bad_last_night_is_no_change(write: Write) -> None:
    assert found(write("run,series,value\n" + csv_of([*HIGH, 50.0]))) == []


@pytest.mark.parametrize("name", ["test_tb_old_defaults_p1", "test_tb_magnitude0_p0001"])
def test_min_points_1_is_plain_otava(data: Path, write: Write, name: str) -> None:
    tigerbeetle = json.loads((data / "history" / "otava" / "tigerbeetle.json").read_text())
    asked = tigerbeetle["otava_expected"][name]
    path = write("run,series,value\n" + csv_of(tigerbeetle["values"], first=0))
    options = {"--p": asked["max_pvalue"], "--magnitude": asked["min_magnitude"], "--window": asked["window_len"]}
    changes = found(path, "--min-points", "1", *(str(x) for pair in options.items() for x in pair))
    assert [c["index"] for c in changes] == asked["change_points"]


def test_from_zero_there_is_no_relative_size(write: Write) -> None:
    [change] = found(write("run,series,value\n" + csv_of([0.0] * 8 + [3.0] * 4)))
    assert (change["relative_size"], change["direction"]) == (None, "up")


def test_values_below_zero_are_values(write: Write) -> None:
    [change] = found(write("run,series,value\n" + csv_of([-v for v in HIGH + LOW])))
    assert (change["direction"], change["relative_size"]) == ("up", pytest.approx(1 - 90.05 / 100.05))


def test_the_program_itself_prints_json_and_refuses_with_status_2(write: Write) -> None:
    def quantfarm(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "nightly", "detect", str(path)]
        return subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)

    good = quantfarm(write("run,series,value\n" + csv_of(HIGH + LOW)))
    assert (good.returncode, good.stderr) == (0, "") and json.loads(good.stdout)[0]["index"] == 8
    bad = quantfarm(write("run,series,value\n1,tg,fast\n"))
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.count("\n") == 1 and "line 2: the value 'fast' is no number" in bad.stderr


# --- forks ---

FORKED = "run,series,value,driver,commit\n" + "".join(
    f"{i},tg,{v},{'535' if i < 8 else '550'},c{i}\n" for i, v in enumerate(HIGH + LOW + LOW)
)


def test_values_under_another_driver_are_not_compared(write: Write) -> None:
    ran = detect(write(FORKED), "--label", "commit")
    assert json.loads(ran.stdout) == []
    assert ran.stderr == "tg forks at run 8, index 8: driver 535 → 550\n"


def test_named_as_a_label_the_driver_forks_nothing_and_is_told_with_the_change(write: Write) -> None:
    [change] = found(write(FORKED), "--label", "commit", "--label", "driver")
    assert (change["index"], change["attributes"]) == (8, {"driver": "550", "commit": "c8"})


def test_indices_count_from_the_series_beginning_across_forks(write: Write) -> None:
    old = "".join(f"{i},tg,50,535\n" for i in range(10))
    new = "".join(f"{10 + i},tg,{v},550\n" for i, v in enumerate(HIGH + LOW))
    [change] = found(write("run,series,value,driver\n" + old + new))
    assert (change["index"], change["run"]) == (18, "18")


def test_parts_too_short_to_compare_are_told_and_not_with_json(write: Write) -> None:
    path = write("run,series,value\n" + csv_of(HIGH[:5]))
    assert detect(path).stderr == "tg from run 1: 5 of the 6 runs it takes to compare\n"
    assert detect(path, "--json").stderr == ""


def test_a_column_that_forks_every_run_is_told_once(write: Write) -> None:
    said = detect(write(FORKED)).stderr.splitlines()
    assert said == [
        "tg forks 15 times: commit (15 times), driver (1 times); name what only describes a run with --label",
        "tg: 16 of its 16 parts are shorter than the 6 runs it takes to compare",
    ]


def test_attributes_may_be_an_object_of_their_own(write: Write) -> None:
    lines = [
        {"run": i, "series": "tg", "value": v, "attributes": {"os": 14 if i < 8 else 15, "ac": True}}
        for i, v in enumerate(HIGH + LOW)
    ]
    ran = detect(write("\n".join(map(json.dumps, lines)), "nights.ndjson"))
    assert (json.loads(ran.stdout), ran.stderr.splitlines()[0]) == ([], "tg forks at run 8, index 8: os 14 → 15")


def test_an_attribute_that_comes_or_goes_forks_and_an_empty_one_is_none() -> None:
    nights = [Night(run=str(i), value=1.0, attributes=a) for i, a in enumerate([{}, {"os": ""}, {"os": "14"}, {}])]
    parts = segments(nights)
    assert [(part.start, len(part.nights), dict(part.forked)) for part in parts] == [
        (0, 2, {}),
        (2, 1, {"os": ("", "14")}),
        (3, 1, {"os": ("14", "")}),
    ]
    assert segments([]) == []


# --- what it refuses ---

HEAD = "run,series,value\n"
REFUSED = [
    ("", "nights.csv", "is empty"),
    (HEAD, "nights.csv", "has no values"),
    ("series,value\ntg,1\n", "nights.csv", r"line 1: no column run \(or time\). There are: series, value"),
    ("run,series\n1,tg\n", "nights.csv", "line 1: no column value"),
    ("run;series;value\n1;tg;1\n", "nights.csv", "no column run .* There are: run;series;value"),
    ("run,series,value,value\n1,tg,1,2\n", "nights.csv", "value stands there twice"),
    (HEAD + "1,tg,1\n2,tg\n", "nights.csv", "line 3: 2 fields, but the header has 3"),
    (HEAD + '1,tg,"1\n', "nights.csv", "line 2: no CSV"),
    (HEAD + "1,tg,fast\n", "nights.csv", "line 2: the value 'fast' is no number"),
    (HEAD + "1,tg,1_000\n", "nights.csv", "line 2: the value '1_000' is no number"),
    (HEAD + "1,tg,\n", "nights.csv", "line 2: no value: leave out the line"),
    (HEAD + "1,tg,nan\n", "nights.csv", "line 2: the value 'nan' is not finite"),
    (HEAD + "1,tg,-inf\n", "nights.csv", "line 2: the value '-inf' is not finite"),
    (HEAD + "1,tg,1e999\n", "nights.csv", "line 2: the value '1e999' is not finite"),
    (HEAD + "1,,1\n", "nights.csv", "line 2: no series"),
    (HEAD + ",tg,1\n", "nights.csv", "line 2: neither run nor time"),
    (HEAD + "1,tg,1\n1,tg,2\n", "nights.csv", r"line 3: the run '1' of series 'tg' is there twice \(line 2\)"),
    (HEAD + "1,tg,1\n3,tg,1\n2,tg,1\n", "nights.csv", "line 4: '2' of series 'tg' comes after '3'"),
    ("time,series,value\n2026-03-02,tg,1\n2026-03-01,tg,1\n", "nights.csv", "line 3: '2026-03-01' of series"),
    (b"run,series,value\n1,tg\xff,1\n", "nights.csv", "no text in UTF-8"),
    ("", "nights.jsonl", "has no values"),
    ('{"run": 1, "series": "tg", "value": 1}\n{"run": 2,\n', "nights.jsonl", "line 2: no JSON"),
    ("[1, 2]\n", "nights.jsonl", "line 1: no JSON object"),
    ('{"run": 1, "series": "tg"}\n', "nights.jsonl", "line 1: no value"),
    ('{"run": 1, "value": 1}\n', "nights.jsonl", "line 1: no series"),
    ('{"series": "tg", "value": 1}\n', "nights.jsonl", "line 1: neither run nor time"),
    ('{"run": 1, "series": "tg", "value": NaN}\n', "nights.jsonl", "line 1: the value 'nan' is not finite"),
    ('{"run": 1, "series": "tg", "value": true}\n', "nights.jsonl", "line 1: the value 'True' is no number"),
    ('{"run": 1, "series": "tg", "value": [1]}\n', "nights.jsonl", "line 1: the value .* is no number"),
    ('{"run": 1, "series": ["tg"], "value": 1}\n', "nights.jsonl", "line 1: series is no text"),
    ('{"run": 1, "series": "tg", "value": 1, "attributes": 3}\n', "nights.jsonl", "attributes is no JSON object"),
    ('{"run": 1, "series": "tg", "value": 1, "os": {"name": "x"}}\n', "nights.jsonl", "os is no text or number"),
    ("[" * 100_000 + "\n", "nights.jsonl", "line 1: no JSON"),
    (HEAD, "nights.txt", r"no kind that can be read: .csv, .jsonl, .ndjson are known"),
]


@pytest.mark.parametrize(("text", "name", "said"), REFUSED)
def test_what_is_wrong_is_said_in_one_message_with_its_line(
    write: Write, text: str | bytes, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        series_file.read(write(text, name))
    assert error.value.exit_code == 2 and name in str(error.value)


def test_a_value_too_long_for_a_number_is_refused(write: Write) -> None:
    with pytest.raises(UsageError, match=r"line 1: (the value '1000.* is no number|no JSON)"):
        series_file.read(write('{"run": 1, "series": "tg", "value": 1' + "0" * 5000 + "}", "nights.jsonl"))


@pytest.mark.parametrize("name", ["absent.csv", "folder.csv"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    ran = detect(tmp_path / name)
    assert isinstance(ran.exception, UsageError) and f"cannot read {tmp_path / name}" in str(ran.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--p", "1"], "p lies between"),
        (["--magnitude", "-1"], "magnitude"),
        (["--min-points", "0"], "min-points"),
        (["--window", "9"], "the window is 10 to 1000"),
        (["--label", "driver"], "no attributes to label"),
    ],
)
def test_options_that_cannot_work_are_refused(write: Write, options: list[str], said: str) -> None:
    ran = detect(write(HEAD + csv_of(HIGH)), *options)
    assert isinstance(ran.exception, UsageError) and said in str(ran.exception) and ran.stdout == ""


def test_a_mistyped_label_is_told_what_was_meant(write: Write) -> None:
    ran = detect(write(FORKED), "--label", "comit")
    assert "did you mean commit?" in str(ran.exception)


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_read(write: Write) -> None:
    text = "\ufeffrun, series ,value\r\n\r\n" + csv_of(HIGH + LOW).replace("\n", "\r\n")
    assert [c["index"] for c in found(write(text))] == [8]


def test_runs_whose_names_have_no_order_are_taken_as_they_stand(write: Write) -> None:
    names = ["f00", "a11", "c22", "b33", "e44", "d55", "099", "98a", "977", "966", "955", "944"]
    rows = "".join(f"{name},tg,{v}\n" for name, v in zip(names, HIGH + LOW, strict=True))
    assert [c["run"] for c in found(write(HEAD + rows))] == ["977"]


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200), st.sampled_from(["a.csv", "a.jsonl"]))
def test_whatever_a_file_holds_the_answer_is_series_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    head = HEAD if name.endswith("csv") else ""
    path.write_bytes((head + text).encode("utf-8", "surrogatepass"))
    try:
        assert series_file.read(path)
    except UsageError as error:
        assert "\n" not in str(error).replace(text, "")
