"""What a device's sensors beside a run cost it: speed with their shell ÷ without it; goal: slowed by less than 1 %.

    quantfarm device add phone adb://SERIAL
    python benchmarks/telemetry_cost.py phone --pairs 10

Over the way that the device is reached by (SSH, adb, Ray or none), with the sensors of its profile.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import abba

from agents import agent
from flows import canary, devices, execute
from flows.execute import Job
from flows.station import leased
from quantfarm import planning
from quantfarm.nouns import Artifact, Cell, DeviceProfile, State
from quantfarm.runtimes import runtime
from quantfarm.suites import workload
from storage.home import Home
from storage.landing import TraceWriter

GOALS = {"bench_tg": abba.surely_above(0.99), "bench_pp": abba.surely_above(0.99)}


def cell(profile: DeviceProfile, **sizes: int) -> Cell:
    under = canary.able(profile, "bench") or sys.exit(f"{profile.name} has no runtime to measure with")
    asked = workload({"kind": "bench", "threads": 1, **sizes}, {})
    build = planning.build_of(profile, runtime(under))
    return replace(abba.cell("bench"), profile=profile, runtime=under, build=build, workload=asked)


def figures(profile: DeviceProfile, asked: Cell, model: Path) -> abba.Figures:
    artifact = Artifact(sha256="", size=model.stat().st_size, recipe=asked.variant.recipe)
    job = Job(cell=asked, attempt=0, artifact=artifact, files={"model": model}, limit_s=900)
    with (
        tempfile.TemporaryDirectory() as folder,
        leased(agent(profile), "telemetry benchmark", print) as station,
        TraceWriter(Home(Path(folder)), asked.id, 0) as trace,
    ):
        found = execute.measure(station, job, trace, lambda: False)
        trace.discard()
    if found.outcome.state is not State.OK:
        sys.exit(f"a run failed: {found.outcome.stage}: {found.outcome.reason}")
    return {m.metric: m.value for m in found.measurements if m.metric in GOALS}


def main() -> None:
    parser = abba.arguments("a device's speed with its sensors' shell beside it, against without")
    parser.add_argument("device", help="a registered device")
    parser.add_argument("--n-prompt", type=int, default=512)
    parser.add_argument("--n-gen", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=10)
    given = parser.parse_args()
    known = devices.known(Home.default())
    # Without a baseline there is no start gate: what is asked is the cost of watching alone.
    watched = replace(known.get(given.device) or sys.exit(f"no device {given.device}"), idle=None)
    if not watched.sensors:
        sys.exit(f"{given.device} has no sensors")
    asked = cell(watched, n_prompt=given.n_prompt, n_gen=given.n_gen, repetitions=given.repetitions)
    bare = replace(watched, sensors=())
    off, on = (lambda: figures(bare, asked, given.model)), (lambda: figures(watched, asked, given.model))
    runs = abba.alternate(off, on, given.pairs)
    settings = {**asked.workload.settings, "device": given.device, "sensors": ", ".join(watched.sensors)}
    abba.report("telemetry", ("without", "with"), runs, GOALS, settings, given.json)


if __name__ == "__main__":
    main()
