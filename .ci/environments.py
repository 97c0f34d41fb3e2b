"""The Python environments that tests need, made before they run: a test's time limit is no time for downloads."""

from __future__ import annotations

from pathlib import Path

from quantfarm import quantizers, runtimes
from quantfarm.toolchain import conversion, environments

#: lm-eval with its own model, beside which ours is held.
PEER = Path(__file__).resolve().parent.parent / "benchmarks" / "lm_eval_peer.py"
needing = [
    *map(quantizers.quantizer, quantizers.TABLE),
    *map(runtimes.runtime, runtimes.TABLE),
]
wanted = {one.environment: conversion.requirements(one.runner) for one in needing if one.environment}
wanted["lm-eval"] = conversion.requirements(conversion.RUNNER.with_name("lm_eval_tasks.py"))
wanted["lm-eval-hf"] = conversion.requirements(PEER)
for name, requirements in wanted.items():
    print(f"environment {name}", flush=True)  # noqa: T201
    environments.environment(name, requirements)
