"""A label says what is not usual about a workload, so that the values of an axis are told apart."""

from __future__ import annotations

import pytest

from quantfarm import axes, suites
from quantfarm.marks import unusual
from quantfarm.nouns import Cell, DeviceProfile, Recipe, Scalar, Variant, Workload

BENCH = suites.workload({"kind": "bench"}, {})
VALUES: dict[str, list[Scalar]] = {
    "n_depth": [0, 512, 4096],
    "n_batch": [2048, 1024],
    "n_ubatch": [512, 128],
    "flash_attn": ["on", "off"],
    "type_k": ["f16", "q8_0"],
    "type_v": ["f16", "q8_0", "q4_0"],
    "n_gpu_layers": [0, 99, -1],
    "threads": [1, 2, 4],
}


def asked(work: Workload, cores: int = 4) -> str:
    recipe = Recipe(source="s", quantizer="as_is", quant="F16")
    variant = Variant(model="m", format="gguf", quant="F16", recipe=recipe)
    profile = DeviceProfile(name="box", cores=cores)
    return Cell(profile=profile, variant=variant, runtime="llama_cpp", build="", workload=work).asked


def test_what_is_usual_is_not_said() -> None:
    assert BENCH.label == "bench pp512 tg128"
    assert suites.workload({"kind": "quality"}, {}).label == "quality all×512"


def test_what_is_not_usual_is() -> None:
    (work,) = axes.expanded([BENCH], {"n_depth": [64], "flash_attn": ["off"], "type_k": ["q8_0"], "n_batch": [256]})
    assert work.label == "bench pp512 tg128 d64 b256 fa-off k-q8_0"


@pytest.mark.parametrize("name", VALUES)
def test_the_values_of_an_axis_have_labels_of_their_own(name: str) -> None:
    assert set(VALUES) == set(axes.PARAMETERS)
    labels = [asked(work) for work in axes.expanded([BENCH], {name: VALUES[name]})]
    assert len(set(labels)) == len(VALUES[name])
    assert "bench pp512 tg128" in labels


def test_so_have_all_combinations_of_them() -> None:
    works = axes.expanded([BENCH], {name: values[:2] for name, values in VALUES.items()})
    assert len({asked(work) for work in works}) == 2 ** len(VALUES)


def test_threads_are_said_where_they_are_not_the_device_s_cores() -> None:
    (work,) = axes.expanded([BENCH], {"threads": [2]})
    assert asked(work, cores=4) == "bench pp512 tg128 t2"
    assert asked(work, cores=2) == "bench pp512 tg128"


def test_how_unusual_a_workload_is() -> None:
    assert unusual(BENCH.settings) == 0
    (work,) = axes.expanded([BENCH], {"n_depth": [64], "flash_attn": ["off"]})
    assert unusual(work.settings) == 2
