"""What has landed gets into the database, once, whatever it holds and whoever is killed."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantfarm.errors import FarmError
from quantfarm.nouns import Measurement
from storage import processes
from storage.compare import differences, equal
from storage.database import open_writer
from storage.home import Home
from storage.ingest import ingest, lock_path, rebuild, working_path
from storage.landing import Landings, land
from storage.lock import holder, is_locked, locked
from storage.names import trace_path
from storage.publish import KEPT, current
from storage.reading import Reader
from storage.verify import verify
from tests.storing import APP, FAILED, LINES, OK, PHONE, QUALITY, artifact, cell, chunk, landed, put, sample
from tests.test_storage_files import full_disk

__all__ = ["full_disk"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


def rows(farm: Home, sql: str) -> list[tuple]:
    with Reader(farm) as reader:
        return [tuple(row.values()) for row in reader.query(sql)]


def test_every_fact_of_a_landed_cell_is_in_its_row(farm: Home) -> None:
    put(farm, landed(cell(3), 2, figures={"bench_tg": 12.5}, os="Debian 12"))
    ingest(farm)
    with Reader(farm) as reader:
        (row,) = reader.query("FROM cells")
    conditions = json.loads(row.pop("conditions"))
    assert conditions.pop("trace").keys() == {"sha256", "size"}
    assert conditions == {"os": "Debian 12"}
    assert row.pop("trace_size") == trace_path(farm, cell(3).id, 2).stat().st_size
    assert len(row.pop("trace_sha256")) == len(row.pop("file_sha256")) == 64
    assert str(row.pop("started_at")) == "2025-03-01 12:00:00"
    assert json.loads(row.pop("parameters")) == {"n_depth": 0, "n_gen": 128, "n_prompt": 512}
    assert row == {
        "cell": cell(3).id,
        "attempt": 2,
        "current": True,
        "device": "laptop",
        "chip": "N100",
        "simulated": False,
        "model": "reference",
        "variant": "Q4_K_M",
        "quant": "Q4_K_M",
        "format": "gguf",
        "recipe": cell(3).variant.recipe.id,
        "artifact": artifact(cell(3)).sha256,
        "size": 1000,
        "bits_per_weight": 4.8,
        "types": '{"Q4_K": 3}',
        "fallbacks": '["x"]',
        "runtime": "llama_cpp",
        "build": "llama-cpp-python 0.3.36",
        "workload_kind": "bench",
        "workload": "bench pp512 tg128",
        "launch": 3,
        "series": cell(0).series,
        "state": "ok",
        "stage": "",
        "reason": "",
        "retryable": False,
        "seconds": 1.5,
        "sweep": "s1",
        "night": "",
    }


def test_measurements_keep_their_samples_and_intervals(farm: Home) -> None:
    figure = Measurement(metric="ppl", value=9.5, unit="", n=510, low=9.0, high=10.0, samples=(1.5, 2.5), remark="r")
    put(farm, landed(cell(workload=QUALITY), figures=[figure]))
    ingest(farm)
    assert rows(farm, "SELECT * EXCLUDE (cell, attempt) FROM measurements") == [
        ("ppl", 9.5, "", 510, 9.0, 10.0, "r", [1.5, 2.5])
    ]


def test_samples_chunks_and_texts_come_from_the_trace(farm: Home) -> None:
    put(farm, landed(cell()), [LINES[0], sample(5, rss_mib=1.5, majflt=2), sample(6, rss_mib=2.5), LINES[-1]])
    put(farm, landed(cell(workload=QUALITY)))
    ingest(farm)
    assert rows(farm, "SELECT t, source, name, value FROM samples WHERE t IN (5, 6) ORDER BY ALL") == [
        (5, "proc", "majflt", 2.0),
        (5, "proc", "rss_mib", 1.5),
        (6, "proc", "rss_mib", 2.5),
    ]
    assert rows(farm, 'SELECT "index", n, nll FROM chunks ORDER BY ALL') == [(0, 2, 3.0), (1, 3, 3.75)]
    assert rows(farm, "SELECT text_sha256, n_tokens, n_chunks, n_ctx, add_bos, bytes FROM texts") == [
        ("ee" * 32, 1024, 2, 512, True, 4000)
    ]


GARBAGE = [
    "not json at all",
    "[1, 2]",
    "null",
    "",
    "\x00\x01",
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
    '{"event": "sample", "t": "soon", "source": 5, "values": 7}',
    '{"event": "sample", "t": 1, "source": "proc", "values": {"a": 1, "a": 2}}',
    '{"event": "sample", "t": 1e300, "values": {"x": null, "y": "z", "w": [1]}}',
    '{"event": "chunk", "index": "first", "n": 1e99, "nll": ["a", null, {}]}',
    '{"event": {"event": 1}}',
    '{"event": "sample", "t": 1, "values": {"a": NaN}}',
    '{"event": "sample", "t": 1, "va',
    "9",
    "9" * 5000,
    "[",
    '{"event": "sample", "t": 1, "values": {"a": ' + "9" * 400 + "}}",
    "[" * 5000,
]


@pytest.mark.parametrize("workload", [APP, QUALITY], ids=["app", "quality"])
@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
def test_a_trace_with_garbage_in_it_costs_no_good_line(farm: Home, line: str, workload) -> None:
    put(farm, landed(cell(0, workload), outcome=FAILED), [sample(1, rss_mib=1.0), line, sample(2, rss_mib=2.0)])
    put(farm, landed(cell(1, workload)), [sample(1, rss_mib=3.0)])
    ingest(farm)
    assert rows(farm, "SELECT value FROM samples WHERE name = 'rss_mib' ORDER BY ALL") == [(1.0,), (2.0,), (3.0,)]
    assert len(rows(farm, "FROM cells")) == 2


def test_a_long_line_of_garbage_costs_no_good_line(farm: Home) -> None:
    put(farm, landed(cell(), outcome=FAILED), [sample(1, rss_mib=1.0), "x" * 20_000_000, sample(2, rss_mib=2.0)])
    ingest(farm)
    assert rows(farm, "SELECT count(*) FROM samples") == [(2,)]


def test_a_home_with_odd_characters_in_its_name_works_like_any_other(tmp_path: Path) -> None:
    farm = Home(tmp_path / "a [b] *c* 'd' ü")
    put(farm, landed(cell(workload=QUALITY), figures={"ppl": 1.0}))
    ingest(farm)
    assert rows(farm, "SELECT count(*) FROM samples UNION ALL SELECT count(*) FROM chunks") == [(0,), (2,)]
    rebuild(farm)
    assert verify(farm) == []


def test_a_landed_file_that_cannot_be_read_is_logged_and_the_rest_is_loaded(
    farm: Home, caplog: pytest.LogCaptureFixture
) -> None:
    put(farm, landed(cell(0)))
    bad = put(farm, landed(cell(1)))
    bad.chmod(0o644)
    whole = bad.read_text()
    bad.write_text("{")
    with caplog.at_level(logging.WARNING, logger="quantfarm.storage"):
        ingest(farm)
    assert bad.name in caplog.text
    assert rows(farm, "SELECT launch FROM cells") == [(0,)]
    bad.write_text(whole)
    ingest(farm)
    assert rows(farm, "SELECT launch FROM cells ORDER BY ALL") == [(0,), (1,)]


def test_figures_and_conditions_that_are_no_numbers_do_not_stop_the_load(farm: Home) -> None:
    odd = landed(cell(), figures={"bench_tg": float("inf"), "ttft": float("nan")}, load=float("nan"), text="\udcff")
    put(farm, odd)
    ingest(farm)
    assert rows(farm, "SELECT count(*) FROM measurements WHERE isinf(value) OR isnan(value)") == [(2,)]
    assert json.loads(rows(farm, "SELECT conditions FROM cells")[0][0])["load"] is None
    assert verify(farm) == []


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [((FAILED,), 1), ((FAILED, FAILED), 2), ((OK, FAILED), 1), ((FAILED, OK, FAILED), 2), ((OK, OK), 2)],
)
def test_one_attempt_of_a_cell_is_current_however_they_came_in(farm: Home, attempts, expected) -> None:
    for number, outcome in enumerate(attempts, 1):
        put(farm, landed(cell(), number, outcome))
        ingest(farm)
    assert rows(farm, "SELECT attempt FROM cells WHERE current") == [(expected,)]


def test_versions_count_up_when_something_is_new_and_stand_still_when_not(farm: Home) -> None:
    put(farm, landed(cell(0)))
    assert ingest(farm) == 1
    assert ingest(farm) == 1
    put(farm, landed(cell(1)))
    assert ingest(farm) == 2
    assert rebuild(farm) == 3
    assert ingest(farm) == 3


def test_an_empty_home_publishes_an_empty_database(farm: Home) -> None:
    assert ingest(farm) == 1
    assert rows(farm, "FROM cells") == []


def test_only_the_last_versions_are_kept(farm: Home) -> None:
    for n in range(KEPT + 3):
        put(farm, landed(cell(n)))
        ingest(farm)
    kept = sorted(path.name for path in farm.db.glob("farm-*.duckdb"))
    assert kept == [f"farm-{n:06d}.duckdb" for n in range(4, KEPT + 4)]
    assert (farm.db / "CURRENT").read_text() == f"farm-{KEPT + 3:06d}.duckdb\n"


def test_a_published_version_never_changes(farm: Home) -> None:
    put(farm, landed(cell(0)))
    ingest(farm)
    first = current(farm)
    assert first is not None
    before = first.path.read_bytes()
    put(farm, landed(cell(1)))
    ingest(farm)
    assert first.path.read_bytes() == before


def test_a_lost_pointer_or_version_is_published_again(farm: Home) -> None:
    put(farm, landed(cell()))
    ingest(farm)
    (farm.db / "CURRENT").unlink()
    ingest(farm)
    assert len(rows(farm, "FROM cells")) == 1
    for path in farm.db.glob("farm-*.duckdb"):
        path.unlink()
    ingest(farm)
    assert len(rows(farm, "FROM cells")) == 1


def test_a_lost_database_is_made_again_from_the_files(farm: Home) -> None:
    put(farm, landed(cell(0)))
    ingest(farm)
    working_path(farm).unlink()
    put(farm, landed(cell(1)))
    assert ingest(farm) == 2
    assert len(rows(farm, "FROM cells")) == 2


def test_a_damaged_database_says_that_the_results_are_safe_and_a_rebuild_mends_it(farm: Home) -> None:
    put(farm, landed(cell()))
    ingest(farm)
    working_path(farm).write_bytes(b"this is no database" * 1000)
    with pytest.raises(FarmError, match="run `quantfarm db rebuild`"):
        ingest(farm)
    rebuild(farm)
    assert verify(farm) == []


# ---------------------------------------------------------------- the lock

HOLD = """
import sys, time
from pathlib import Path
from storage.lock import locked
with locked(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held(path: Path, program: str = HOLD):
    """Another process has the lock, or the database, until this ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        try:
            yield other
        finally:
            other.kill()


def test_a_locked_database_is_waited_for_and_then_its_holder_is_named(farm: Home) -> None:
    told: list[str] = []
    with held(lock_path(farm)) as other, pytest.raises(FarmError) as caught:
        ingest(farm, wait_s=0.3, on_wait=told.append)
    assert f"is being written by process {other.pid} (-c" in str(caught.value)
    assert len(told) == 1
    assert f"process {other.pid}" in told[0]


def test_the_lock_of_a_killed_process_is_free_at_once(farm: Home) -> None:
    with held(lock_path(farm)) as other:
        assert is_locked(lock_path(farm))
        other.kill()
        other.wait()
        assert not is_locked(lock_path(farm))
        assert ingest(farm, wait_s=0) == 1


def test_a_wait_ends_when_the_lock_becomes_free(farm: Home) -> None:
    put(farm, landed(cell()))
    with held(lock_path(farm)) as other:
        assert ingest(farm, on_wait=lambda _: other.kill()) == 1


def test_a_lock_that_nobody_signed_is_held_by_another_process(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") == "another process"
    with locked(tmp_path / "lock", wait_s=0):
        (tmp_path / "lock").write_text("[]")
        assert holder(tmp_path / "lock") == "another process"


OPEN = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


def test_a_database_that_someone_opened_by_hand_is_waited_for_and_its_holder_named(farm: Home) -> None:
    put(farm, landed(cell(0)))
    ingest(farm)
    put(farm, landed(cell(1)))
    with held(working_path(farm), OPEN) as other, pytest.raises(FarmError, match=rf"held by .*process {other.pid}\)"):
        ingest(farm, wait_s=0.3)
    assert ingest(farm) == 2


# ---------------------------------------------------------------- no room


def test_a_full_disk_is_one_clear_message_and_costs_no_result(full_disk: Path) -> None:
    farm = Home(full_disk / "home")
    put(farm, landed(cell()))
    with pytest.raises(FarmError, match=r"(?i)no space left|no room|not enough|could not"):
        ingest(farm)
    subprocess.run(["mount", "-o", "remount,size=64m", str(full_disk)], check=True)
    ingest(farm)
    assert len(rows(farm, "FROM cells")) == 1
    assert verify(farm) == []


# ---------------------------------------------------------------- a rebuild is equal

STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),  # launch
        st.sampled_from([APP, QUALITY]),
        st.sampled_from([OK, FAILED, replace(FAILED, retryable=True, reason="gone \udcff")]),
        st.lists(st.sampled_from([*LINES, *GARBAGE, chunk(0, [1.5, 0.1]), sample(9, a=1.0, b=None)]), max_size=4),
        st.floats(allow_nan=True, allow_infinity=True),
        st.booleans(),  # whether an ingest follows
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_whatever_landed_in_whatever_order_a_rebuild_is_equal(tmp_path_factory, steps) -> None:
    farm = Home(tmp_path_factory.mktemp("farm"))
    for launch, workload, outcome, lines, value, load_now in steps:
        of = cell(launch, workload, profile=PHONE)
        attempt = Landings(farm).next_attempt(of.id)
        put(farm, landed(of, attempt, outcome, figures={"decode_tps": value}), lines)
        if load_now:
            ingest(farm)
    ingest(farm)
    grown = farm.db / "grown.duckdb"
    grown.write_bytes(working_path(farm).read_bytes())
    assert len(rows(farm, "FROM cells")) == len(steps)
    assert verify(farm) == []
    rebuild(farm)
    assert equal(grown, working_path(farm))


def test_databases_that_differ_in_one_value_are_not_equal(farm: Home) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    ingest(farm)
    other = farm.db / "other.duckdb"
    other.write_bytes(working_path(farm).read_bytes())
    assert equal(other, working_path(farm))
    with contextlib.closing(open_writer(other)) as connection:
        connection.execute("INSERT INTO samples SELECT * FROM samples LIMIT 1")
        connection.execute("UPDATE measurements SET value = 2.0")
    assert differences(other, working_path(farm)) == ["measurements", "samples"]


# ---------------------------------------------------------------- kill -9

WRITE = """
import sys
from pathlib import Path
from storage.home import Home
from storage.landing import land
from tests.storing import cell, landed, put
farm = Home(Path(sys.argv[1]))
for n in range(200):
    put(farm, landed(cell(int(sys.argv[2]) * 1000 + n), figures={"bench_tg": float(n)}))
"""
INGEST = """
import sys
from pathlib import Path
from storage.home import Home
from storage.ingest import ingest
while True:
    ingest(Home(Path(sys.argv[1])))
"""
READ = """
import sys
from pathlib import Path
from storage.home import Home
from storage.reading import NoResults, Reader
farm, seen, reads = Home(Path(sys.argv[1])), 0, 0
while seen < 1600:
    try:
        with Reader(farm) as reader:
            (row,) = reader.query("SELECT count(*) AS n, count(DISTINCT cell) AS d, sum(current::INT) AS c FROM cells")
            (figures,) = reader.query("SELECT count(*) AS n FROM measurements")
            assert row["n"] == row["d"] == figures["n"] >= seen, (row, figures, seen)
            seen, reads = row["n"], reads + 1
    except NoResults:
        assert seen == 0
print(reads)
"""


def start(program: str, *given: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, given)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_eight_writers_and_an_ingester_killed_again_and_again_lose_and_double_nothing(farm: Home) -> None:
    dice = random.Random(8)
    _ = farm.cells
    readers = [start(READ, farm.root) for _ in range(2)]
    writers = [start(WRITE, farm.root, n) for n in range(8)]
    kills = 0
    while any(writer.poll() is None for writer in writers) or kills < 10:
        ingester = start(INGEST, farm.root)
        time.sleep(dice.uniform(0.2, 1.5))
        ingester.kill()
        ingester.communicate()
        kills += 1
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said.decode()
    ingest(farm)
    assert rows(farm, "SELECT count(*), count(DISTINCT (cell, attempt)), sum(current::INT) FROM cells") == [
        (1600, 1600, 1600)
    ]
    assert rows(farm, "SELECT count(*) FROM measurements") == [(1600,)]
    assert rows(farm, "SELECT count(*) FROM samples") == [(3200,)]
    for reader in readers:
        out, said = reader.communicate(timeout=60)
        assert reader.returncode == 0, said.decode()
        assert int(out) > 0
    assert verify(farm) == []
    grown = farm.db / "grown.duckdb"
    grown.write_bytes(working_path(farm).read_bytes())
    rebuild(farm)
    assert equal(grown, working_path(farm))


def test_a_rebuild_killed_at_any_moment_leaves_a_home_that_the_next_ingest_completes(farm: Home) -> None:
    for n in range(30):
        put(farm, landed(cell(n), figures={"bench_tg": float(n)}))
    land(farm, landed(cell(99), outcome=FAILED), None)
    ingest(farm)
    dice = random.Random(9)
    program = INGEST.replace("ingest(", "rebuild(").replace("import ingest", "import rebuild")
    for _ in range(6):
        killed = start(program, farm.root)
        time.sleep(dice.uniform(0.4, 1.2))
        killed.kill()
        killed.communicate()
        ingest(farm)
        assert rows(farm, "SELECT count(*) FROM cells") == [(31,)]
    assert verify(farm) == []


def test_what_killed_processes_left_behind_is_swept_up(farm: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        mark = processes.mark(child.pid)
        child.communicate(b"\n")
    left = [farm.db / ".cleaned-x" / "a", farm.db / f".verify-{mark}" / "a"]
    left += [folder / f".a.{mark}.00.tmp" for folder in (farm.cells, farm.db, farm.folder("artifacts", "aa"))]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    ingest(farm)
    assert [path for path in left if path.exists()] == []
