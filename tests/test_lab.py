"""The lab: one command makes and judges a model in every format, and says where quality is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantfarm.tasks import BUILT_IN
from tests.conftest import ROOT

#: All of it is one sweep.
pytestmark = pytest.mark.timeout(2400)
LIMIT_S = 2300
GGUF = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
IMATRIX = ("Q4_K_M+imatrix", "IQ3_XS+imatrix", "IQ2_XS+imatrix")
#: Those that learn from a text learn from little of it.
LITTLE = "+length=128+samples=16"
FOLDERS = ("MLX-8", "MLX-4", f"AWQ{LITTLE}", f"GPTQ{LITTLE}", "NF4", "RTN")
SHIPPED = ROOT / "sweeps" / "lab.yaml"
TASKS = BUILT_IN
#: What every variant is judged by, with an interval.
JUDGED = ("ppl", "kld_mean")


def quantfarm(environment: Mapping[str, str], *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "quantfarm"), *arguments]
    ran = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


def sweep(environment: Mapping[str, str]) -> dict[str, Any]:
    """The sweep that the project ships, cut to few chunks and items: its counts."""
    few = [
        "--suite",
        "quality",
        "--n-chunks",
        "2",
        "--limit",
        "40",
        "--quants",
        ",".join((*GGUF, *IMATRIX, "HF", *FOLDERS)),
    ]
    return json.loads(quantfarm(environment, "sweep", str(SHIPPED), *few, "--json"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The farm after it."""
    home = tmp_path_factory.mktemp("lab")
    environment = {"QUANTFARM_HOME": str(home / "home"), "QUANTFARM_LEASES": str(home / "leases")}
    assert sweep(environment)["failed"] == 0
    return environment


@pytest.fixture(scope="module")
def figures(lab: dict[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Variant -> metric -> row."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in json.loads(quantfarm(lab, "results", "--json")):
        found.setdefault(row["variant"], {})[row["metric"]] = row
    return found


@pytest.mark.parametrize("variant", [*GGUF, *IMATRIX, *FOLDERS])
def test_each_variant_has_perplexity_divergence_and_three_accuracies(
    figures: dict[str, dict[str, dict[str, Any]]], variant: str
) -> None:
    rows = figures[variant]
    others = ("acc_norm_", "acc_stderr_", "acc_norm_stderr_")
    accuracies = [row for name, row in rows.items() if name.startswith("acc_") and not name.startswith(others)]
    assert len(accuracies) == len(TASKS)
    for row in [*(rows[metric] for metric in JUDGED), *accuracies]:
        assert row["low"] <= row["value"] <= row["high"], row


def test_more_bits_are_better_where_it_is_plain(figures: dict[str, dict[str, dict[str, Any]]]) -> None:
    divergence = {variant: rows["kld_mean"]["value"] for variant, rows in figures.items()}
    assert divergence["Q8_0"] < divergence["Q4_K_M"] < divergence["Q2_K"]
    assert divergence["MLX-8"] < divergence["MLX-4"]
    assert divergence["F16"] == pytest.approx(0, abs=1e-5)
    assert divergence["HF"] == pytest.approx(0, abs=1e-5)


def test_an_accuracy_of_few_items_says_so_in_its_name(figures: dict[str, dict[str, dict[str, Any]]]) -> None:
    for metric, row in figures["F16"].items():
        if metric.startswith("acc_"):
            assert "_40of" in metric, row


def test_the_same_again_measures_nothing(lab: dict[str, str]) -> None:
    counts = sweep(lab)
    assert counts["ok"] == 0
    assert counts["known"] > 0


def test_the_file_names_every_format() -> None:
    named = yaml.safe_load(SHIPPED.read_text())["quants"]
    assert set(named) == {name.partition("+length")[0] for name in (*GGUF, *IMATRIX, "HF", *FOLDERS)}


def test_the_report_shows_every_variant_and_the_cliff(lab: dict[str, str], tmp_path: Path) -> None:
    quantfarm(lab, "report", "--out", str(tmp_path))
    text = (tmp_path / "BENCHMARK.md").read_text()
    for variant in (*GGUF, *IMATRIX, *FOLDERS):
        assert f"**{variant}**" in text
    assert "quality cliff" in text.lower()
