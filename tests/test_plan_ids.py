"""The same question has the same id for ever; another question has another."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from quantfarm import codec
from quantfarm.nouns import (
    Cell,
    DeviceProfile,
    Landed,
    Measurement,
    Outcome,
    Recipe,
    State,
    Variant,
    Workload,
    parameters,
)

words = st.text(min_size=1, max_size=12)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), words)
settings = st.dictionaries(words, scalars, max_size=6)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    recipe = Recipe(source=draw(words), quantizer="gguf", quant=draw(words), tool=draw(words))
    return Cell(
        profile=DeviceProfile(name=draw(words), chip=draw(words), cores=draw(st.integers(1, 256))),
        variant=Variant(model=draw(words), format="gguf", quant=recipe.quant, recipe=recipe),
        runtime=draw(words),
        build=draw(words),
        workload=Workload(kind=draw(words), parameters=parameters(draw(settings))),
        launch=draw(st.integers(0, 1000)),
    )


def a_cell() -> Cell:
    recipe = Recipe(source="a" * 64, quantizer="gguf", quant="Q4_K_M", tool="llama-cpp-python 0.3.36")
    return Cell(
        profile=DeviceProfile(name="m3", chip="Apple M3 Pro", cores=12, memory_mib=36864),
        variant=Variant(model="reference", format="gguf", quant="Q4_K_M", recipe=recipe),
        runtime="llama_cpp",
        build="llama-cpp-python 0.3.36",
        workload=Workload(kind="bench", parameters=parameters(n_prompt=512, n_gen=128)),
    )


def test_an_id_is_what_it_was_when_results_were_first_landed() -> None:
    # Landed files carry this id in their names: changing how it is made would orphan every result.
    assert a_cell().id == "57274aef8497e2d8"


def test_an_id_is_the_same_in_another_process() -> None:
    code = "from tests.test_plan_ids import a_cell; print(a_cell().id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == a_cell().id


@given(cells())
def test_a_cell_read_back_from_its_file_asks_the_same_question(cell: Cell) -> None:
    measured = Measurement(metric="bench_tg", value=1.5, unit="tok/s", samples=(1.0, 2.0))
    landed = Landed(cell=cell, attempt=1, outcome=Outcome(state=State.OK), measurements=(measured,))
    again = codec.load_landed(codec.dump_landed(landed))
    assert again == landed
    assert again.cell.id == cell.id


@given(settings)
def test_the_order_of_parameters_does_not_matter(given_settings: dict[str, str | int | bool | None]) -> None:
    backwards = dict(reversed(given_settings.items()))
    assert parameters(given_settings) == parameters(backwards)


@given(cells(), st.integers(1, 10))
def test_another_launch_is_another_cell_of_the_same_series(cell: Cell, more: int) -> None:
    other = replace(cell, launch=cell.launch + more)
    assert other.id != cell.id
    assert other.series == cell.series


@given(cells())
def test_whatever_changes_the_answer_changes_the_id(cell: Cell) -> None:
    others = [
        replace(cell, runtime=cell.runtime + "x"),
        replace(cell, build=cell.build + "x"),
        replace(cell, profile=replace(cell.profile, name=cell.profile.name + "x")),
        replace(cell, profile=replace(cell.profile, chip=cell.profile.chip + "x")),
        replace(cell, variant=replace(cell.variant, recipe=replace(cell.variant.recipe, source="other source"))),
        replace(cell, workload=replace(cell.workload, parameters=parameters(cell.workload.settings, another=1))),
    ]
    ids = {cell.id, *(other.id for other in others)}
    assert len(ids) == len(others) + 1


@given(cells())
def test_facts_that_do_not_change_the_answer_do_not_change_the_id(cell: Cell) -> None:
    other = replace(cell, profile=replace(cell.profile, tags=("desk",), os="another version", memory_mib=123))
    assert other.id == cell.id
