"""Imported files are kept as they came, carried into tables of their own, and never mixed with what was measured."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantfarm.errors import FarmError, UsageError
from storage import import_files
from storage.candidates import candidates
from storage.compare import equal
from storage.database import open_writer
from storage.home import Home
from storage.import_files import AlreadyImported, Asked, Provenance
from storage.imports import COLUMNS, imported
from storage.ingest import ingest, rebuild, working_path
from storage.migrate import known, migrate
from storage.publish import current
from storage.reading import Reader
from storage.results import results
from storage.verify import verify
from tests.exchanged import LM_EVAL, MLX_BENCHMARK
from tests.storing import cell, landed, launches, put


@pytest.fixture
def farm(home: Path) -> Home:
    return Home(home)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    path = tmp_path / "mlx.txt"
    path.write_text(MLX_BENCHMARK)
    return path


ASKED = Asked(device="ipad", model="m", variant="4bit")


def rows(farm: Home, **asked: str) -> list[dict[str, Any]]:
    ingest(farm)
    with Reader(farm) as reader:
        return imported(reader, **asked)


def files(farm: Home) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((farm.root / "imports").glob("*"))}


def test_the_bytes_are_kept_with_where_they_come_from(farm: Home, bench: Path) -> None:
    provenance, reading = import_files.add(farm, bench, ASKED)
    sha256 = hashlib.sha256(bench.read_bytes()).hexdigest()
    assert sorted(files(farm)) == [sha256, f"{sha256}.json"]
    assert files(farm)[sha256] == bench.read_bytes()
    assert provenance == import_files.about(farm, sha256)
    assert (provenance.file, provenance.format, provenance.tool, provenance.size) == (
        "mlx.txt",
        "mlx-lm",
        "mlx-lm",
        len(MLX_BENCHMARK),
    )
    assert (provenance.device_said, provenance.device, provenance.imported_by) == ("", "ipad", import_files._login())
    assert len(reading.figures) == 3
    assert {(farm.root / "imports" / name).stat().st_mode & 0o222 for name in files(farm)} == {0}  # immutable


def test_each_figure_is_a_row_marked_as_imported_with_its_provenance(farm: Home, bench: Path) -> None:
    import_files.add(farm, bench, ASKED)
    found = rows(farm)
    assert [row["metric"] for row in found] == ["decode_tps", "mlx_peak_memory", "prompt_tps"]
    row = found[0]
    assert set(row) == set(COLUMNS.names)
    assert (row["device"], row["model"], row["variant"], row["workload"]) == ("ipad", "m", "4bit", "app p64 n32")
    assert (row["value"], row["unit"], row["n"]) == (pytest.approx(34.741 * 31 / 32), "tok/s", 3)
    assert (row["imported"], row["file"], row["line"], row["tool"]) == (True, "mlx.txt", 2, "mlx-lm")
    assert row["source"] == hashlib.sha256(bench.read_bytes()).hexdigest()
    assert row["imported_at"].endswith("Z")
    assert len(json.loads(row["extra"])["trials"]) == 3


def test_rows_are_found_by_device_and_model(farm: Home, bench: Path, tmp_path: Path) -> None:
    other = tmp_path / "results.json"
    other.write_text(LM_EVAL)
    import_files.add(farm, bench, ASKED)
    import_files.add(farm, other, Asked())
    assert {row["tool"] for row in rows(farm, device="ipad")} == {"mlx-lm"}
    assert {row["tool"] for row in rows(farm, model="a model")} == {"lm-eval"}
    assert rows(farm, device="ipad", model="a model") == []


def test_the_same_file_again_changes_nothing_and_says_so(farm: Home, bench: Path) -> None:
    import_files.add(farm, bench, ASKED)
    version, before = ingest(farm), files(farm)
    copy = bench.with_name("a copy.txt")
    copy.write_bytes(bench.read_bytes())
    with pytest.raises(AlreadyImported, match=r"imported already, as mlx.txt \(device ipad, model m\) on 20.*--remove"):
        import_files.add(farm, copy, Asked(model="another"))
    assert (ingest(farm), files(farm)) == (version, before)


def test_what_is_removed_is_gone_and_can_be_imported_otherwise(farm: Home, bench: Path) -> None:
    provenance, _ = import_files.add(farm, bench, ASKED)
    assert rows(farm)
    for start, told in (("abc", "at least 6"), ("0" * 12, "is no import")):
        with pytest.raises(UsageError, match=told):
            import_files.remove(farm, start)
    assert import_files.remove(farm, provenance.source[:6]) == provenance.source
    assert rows(farm) == []
    assert files(farm) == {}
    import_files.add(farm, bench, Asked(model="another"))
    assert {row["model"] for row in rows(farm)} == {"another"}
    assert verify(farm) == []


def test_what_is_imported_is_in_no_figure_candidate_or_series_of_ours(farm: Home, tmp_path: Path) -> None:
    """Not even results of a device, model and variant that we measured ourselves."""
    launches(farm, "bench_tg", [5.0, 1.0, 4.0, 2.0, 3.0, 100.0])
    put(farm, landed(cell(quant="Q8_0"), figures={"bench_tg": 7.0}))

    def ours() -> tuple[Any, ...]:
        ingest(farm)
        with Reader(farm) as reader:
            return results(reader), candidates(reader), reader.query("FROM cells"), reader.query("FROM measurements")

    before = ours()
    file = tmp_path / "x.jsonl"
    file.write_text('{"n_prompt": 0, "n_gen": 128, "avg_ts": 9999, "model_filename": "reference Q4_K_M.gguf"}\n')
    import_files.add(farm, file, Asked(device="laptop", model="reference", variant="Q4_K_M"))
    assert ours() == before
    assert [row["value"] for row in rows(farm)] == [9999]


REFUSED = {
    "of no known format": ("a letter\n", Asked(), "of no format"),
    "cut off": (MLX_BENCHMARK.split("Averages")[0], Asked(model="m"), "the file is cut off"),
    "of no model": (MLX_BENCHMARK, Asked(), "say --model"),
    "a llama-bench that failed": ("[\n", Asked(), "a llama-bench that failed"),
    "no text": ("\udcff", Asked(), "line 1: no text in UTF-8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_one_message_and_leaves_nothing(farm: Home, tmp_path: Path, what: str) -> None:
    text, asked, told = REFUSED[what]
    path = tmp_path / "x"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as error:
        import_files.add(farm, path, asked)
    assert told in str(error.value)
    assert str(path) in str(error.value)
    assert not farm.root.exists()


def test_a_file_that_is_not_there_or_a_folder_is_refused(farm: Home, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            import_files.add(farm, path, Asked())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_as_windows_writes_them_are_read(farm: Home, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(MLX_BENCHMARK.replace("\n", "\r\n").encode(encoding))
    assert len(import_files.add(farm, path, Asked(model="m"))[1].figures) == 3


def test_an_import_that_was_killed_half_way_is_told_and_goes_on_where_it_was(farm: Home, bench: Path) -> None:
    source = hashlib.sha256(bench.read_bytes()).hexdigest()
    (farm.folder("imports") / source).write_bytes(b"half")
    ingest(farm)
    assert [(one.kind, one.name) for one in verify(farm)] == [("stray_import", source)]
    import_files.add(farm, bench, ASKED)
    assert len(rows(farm)) == 3
    assert verify(farm) == []


def test_a_file_that_was_imported_but_not_yet_carried_over_is_told(farm: Home, bench: Path) -> None:
    import_files.add(farm, bench, ASKED)
    assert [one.kind for one in verify(farm)] == ["no_database"]
    ingest(farm)
    assert verify(farm) == []


Damage = Callable[[Home, Provenance], object]


def sql(farm: Home, statement: str) -> None:
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        connection.execute(statement)


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(old, new))


DAMAGES: dict[str, tuple[Damage, set[str]]] = {
    "the imported bytes changed": (
        lambda farm, one: overwrite(farm.root / "imports" / one.source, b"247", b"999"),
        {"unreadable", "import"},
    ),
    "the imported bytes are gone": (
        lambda farm, one: (farm.root / "imports" / one.source).unlink(),
        {"unreadable", "import"},
    ),
    "the provenance says something else": (
        lambda farm, one: overwrite(farm.root / "imports" / f"{one.source}.json", b'"ipad"', b'"mine"'),
        {"import"},
    ),
    "the provenance is no provenance": (
        lambda farm, one: overwrite(farm.root / "imports" / f"{one.source}.json", b"{", b"["),
        {"unreadable", "import"},
    ),
    "a figure changed in the database": (lambda farm, _: sql(farm, "UPDATE imported SET value = 1"), {"import"}),
    "figures are gone from the database": (lambda farm, _: sql(farm, "DELETE FROM imported"), {"import"}),
    "an import is gone from the database": (lambda farm, _: sql(farm, "DELETE FROM imports"), {"import"}),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_each_damage_is_found(farm: Home, bench: Path, what: str) -> None:
    damage, kinds = DAMAGES[what]
    provenance, _ = import_files.add(farm, bench, ASKED)
    ingest(farm)
    assert verify(farm) == []
    damage(farm, provenance)
    assert {one.kind for one in verify(farm)} - {"published"} == kinds


def test_a_rebuild_makes_the_same_database_from_the_files(farm: Home, bench: Path) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    import_files.add(farm, bench, ASKED)
    before = rows(farm)
    old = farm.db / "before.duckdb"
    old.write_bytes(working_path(farm).read_bytes())
    rebuild(farm)
    assert equal(old, working_path(farm))
    assert rows(farm) == before


def test_a_rebuild_with_a_damaged_import_keeps_the_others(farm: Home, bench: Path, tmp_path: Path) -> None:
    other = tmp_path / "results.json"
    other.write_text(LM_EVAL)
    provenance, _ = import_files.add(farm, bench, ASKED)
    import_files.add(farm, other, Asked())
    overwrite(farm.root / "imports" / provenance.source, b"247", b"999")
    rebuild(farm)
    assert {row["tool"] for row in rows(farm)} == {"lm-eval"}
    with pytest.raises(FarmError, match="not as it was imported"):
        import_files.reading(farm, provenance)


@pytest.mark.parametrize("age", range(1, len(known()) + 1))
def test_a_store_of_an_older_schema_takes_imports_and_keeps_what_it_had(farm: Home, bench: Path, age: int) -> None:
    put(farm, landed(cell(), figures={"bench_tg": 1.0}))
    _ = farm.db
    with contextlib.closing(open_writer(working_path(farm))) as connection:
        migrate(connection, known()[:age])
    import_files.add(farm, bench, ASKED)
    assert len(rows(farm)) == 3
    with Reader(farm) as reader:
        assert [row["value"] for row in results(reader, metric="bench_tg")] == [1.0]
    assert verify(farm) == []


def test_a_version_that_an_older_program_published_has_no_imports(farm: Home) -> None:
    put(farm, landed(cell()))
    ingest(farm)
    published = current(farm)
    assert published
    published.path.chmod(0o644)
    with contextlib.closing(open_writer(published.path)) as connection:
        connection.execute("DROP TABLE imported; DROP TABLE imports")
    with Reader(farm) as reader:
        assert imported(reader) == []


def test_names_of_any_kind_and_length_are_kept(farm: Home, bench: Path) -> None:
    odd = "<b>naïve</b> '; DROP TABLE cells; -- " + "x" * 200
    import_files.add(farm, bench, Asked(device=odd, model=odd))
    assert {(row["device"], row["model"]) for row in rows(farm, device=odd)} == {(odd, odd)}


def test_868_rows_are_carried_over_at_once(farm: Home, data: Path) -> None:
    for name in ("fit-bench-results.csv", "kld-results.csv"):
        import_files.add(farm, data / "history" / "llama-fit-bench" / name, Asked(device="gpu"))
    found = rows(farm, device="gpu")
    assert len(found) == 2 * 868 + 142
    assert verify(farm) == []
