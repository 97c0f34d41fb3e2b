"""What the nightly detector finds, misses and makes up.

    python benchmarks/detector.py [--data ../shared/data] [--ruptures] [--json FILE]

1. 200 A/A series of 60 nights: the share that alerts on any night before confirmation (goal: at most 2 % in white
   noise), in noises of several kinds, and what is left after measuring again with Benjamini–Hochberg.
2. Steps at cv 1 %: caught within three nights (goal: at least 90 % of 5 % steps), delay, errors of size and place.
3. One bad last night, and slow drift.
4. Apache Otava's own expectations, all ten.
5. F1 and covering on the Turing Change Point Dataset beside published figures, and beside `ruptures` with
   `--ruptures` (installed from the package index into an environment that goes again).

Everything but 4 and 5 is simulated from fixed seeds. Prints tables ready for Markdown; a few minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import simulated_nights as sim
import tcpd

from quantfarm.statistics.changes import Settings, change_points

ROOT = Path(__file__).resolve().parent.parent
SIZES = (0.02, 0.03, 0.04, 0.05, 0.1)
OTAVA = Settings(min_points=1)


def no_change() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, (noise, cv) in sim.NOISES.items():
        told = sim.alerts(noise, cv)
        rows.append(
            {
                "noise": name,
                "alert": sim.share(len(told), sim.SERIES),
                "otava": sim.share(len(sim.alerts(noise, cv, OTAVA)), sim.SERIES),
                "left_interleaved": sim.share(sim.confirmed(told, noise, cv, "interleaved"), sim.SERIES),
                "left_repeat": sim.share(sim.confirmed(told, noise, cv, "repeat"), sim.SERIES),
            }
        )
    return rows


def with_step() -> list[dict[str, Any]]:
    cases = [(size, name) for size in SIZES for name in ("white noise, cv 1 %",)]
    cases += [(0.05, name) for name in sim.NOISES if name != "white noise, cv 1 %"]
    rows: list[dict[str, Any]] = []
    for size, name in cases:
        noise, cv = sim.NOISES[name]
        found = sim.steps(size, noise, cv)
        delays = sorted(one.delay for one in found if one.delay is not None)
        told = [one for one in found if one.delay is not None]
        rows.append(
            {
                "step": size,
                "noise": name,
                "caught": sim.share(sim.caught(found), sim.SERIES),
                "in_the_end": sim.share(len(told), sim.SERIES),
                "delay_median": statistics.median(delays) if delays else None,
                "delay_p90": delays[int(0.9 * (len(delays) - 1))] if delays else None,
                "place_exact": sim.share(sum(one.place_error == 0 for one in told), len(told)) if told else None,
                "size_error_median": statistics.median(abs(one.size_error) for one in told) if told else None,
                "size_error_worst": max(abs(one.size_error) for one in told) if told else None,
                "confirmed_if_rerun": sim.share(sim.confirms(1 - size, cv), 1000),
            }
        )
    return rows


def others() -> dict[str, Any]:
    outliers = {f"{size:+.0%}": sim.share(sim.outlier_alarms(size), sim.SERIES) for size in (-0.9, -0.1, 0.5, 9.0)}
    drift: dict[str, Any] = {}
    for by in (0.03, 0.05, 0.1):
        count, told = sim.drift_told(by)
        median = statistics.median(told) if told else None
        drift[f"{by:.0%}"] = {**sim.share(count, sim.SERIES), "night_median": median}
    rerun = sim.share(sim.confirms(1, 0.01), 1000)
    return {"outlier_alarms": outliers, "drift_told": drift, "confirmed_aa_rerun": rerun}


def otava(data: Path) -> dict[str, Any]:
    body = json.loads((data / "history" / "otava" / "tigerbeetle.json").read_text())
    same: dict[str, bool] = {}
    for name, asked in body["otava_expected"].items():
        given = Settings(
            window=asked["window_len"], p=asked["max_pvalue"], magnitude=asked["min_magnitude"], min_points=1
        )
        same[name] = [c.index for c in change_points(body["values"], given)] == asked["change_points"]
    return {"reproduced": sum(same.values()), "of": len(same), "each": same}


# --- printing ---


def percent(of: dict[str, float] | None) -> str:
    return f"{of['share']:.1%} ({of['low']:.1%} … {of['high']:.1%})" if of else "–"


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|---|" + "--:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def tell(found: dict[str, Any]) -> None:
    print(f"### No change: {sim.SERIES} series × {sim.NIGHTS} nights, share that alerts on any night (95 % interval)\n")
    table(
        ["noise (simulated)", "alert", "Otava's rules", "left after interleaved rerun", "left after repeat"],
        [
            [row["noise"], *(percent(row[k]) for k in ("alert", "otava", "left_interleaved", "left_repeat"))]
            for row in found["no_change"]
        ],
    )
    print(f"### A step, told within {sim.WITHIN} nights\n")
    head = ["step", "noise", "caught in 3 nights", "by the end", "delay: median, 90 %", "place exact"]
    head += ["size error: median, worst", "a rerun confirms it"]
    table(head, [_step_row(row) for row in found["step"]])
    print("### One bad last night, and drift, at cv 1 %\n")
    other = found["others"]
    rows = [[f"last night {k}", percent(v), "–"] for k, v in other["outlier_alarms"].items()]
    rows += [[f"{k} lost over 60 nights", percent(v), str(v["night_median"])] for k, v in other["drift_told"].items()]
    rows += [["a rerun of what did not change, confirmed", percent(other["confirmed_aa_rerun"]), "–"]]
    table(["what", "share told", "median night"], rows)
    if "otava" in found:
        print(f"Otava's expectations: {found['otava']['reproduced']} of {found['otava']['of']} reproduced.\n")
    if "tcpd" in found:
        _tell_tcpd(found["tcpd"])
    print(f"Goals: {json.dumps(found['goals'])}; {found['seconds']:.0f} s")


def _step_row(row: dict[str, Any]) -> list[str]:
    told = row["delay_median"] is not None
    return [
        f"{row['step']:.0%}",
        row["noise"],
        percent(row["caught"]),
        percent(row["in_the_end"]),
        f"{row['delay_median']:g}, {row['delay_p90']}" if told else "–",
        percent(row["place_exact"]),
        f"{row['size_error_median']:.1%}, {row['size_error_worst']:.1%}" if told else "–",
        percent(row["confirmed_if_rerun"]),
    ]


def _tell_tcpd(found: dict[str, Any]) -> None:
    methods = list(found["mean"])
    print(f"### Turing Change Point Dataset, {len(found['series'])} series; published: {found['source']}\n")
    print("F1 default / oracle\n")
    rows = [
        [name, *(f"{row[m]['default']['f1']:.2f} / {row[m]['oracle']['f1']:.2f}" for m in methods)]
        for name, row in found["series"].items()
    ]
    means = found["mean"]
    rows.append(["**mean F1**", *(f"{means[m]['f1 default']:.3f} / {means[m]['f1 oracle']:.3f}" for m in methods)])
    rows.append(
        ["mean covering", *(f"{means[m]['covering default']:.3f} / {means[m]['covering oracle']:.3f}" for m in methods)]
    )
    table(["series", *methods], rows)
    ours = [
        [name, *(f"{row['quantfarm']['default'][k]:.2f}" for k in ("precision", "recall", "f1", "covering"))]
        for name, row in found["series"].items()
    ]
    table(["ours, default", "precision", "recall", "F1", "covering"], ours)


def measure(data: Path, *, with_ruptures: bool) -> dict[str, Any]:
    began = time.monotonic()
    found: dict[str, Any] = {"no_change": no_change(), "step": with_step(), "others": others()}
    if data.is_dir():
        found |= {"otava": otava(data), "tcpd": tcpd.compare(data, with_ruptures=with_ruptures)}
    else:
        print(f"no test data at {data}: without Otava's expectations and the Turing dataset", file=sys.stderr)
    white = [row["alert"] for row in found["no_change"] if row["noise"].startswith("white")]
    caught = next(row["caught"] for row in found["step"] if row["step"] == 0.05 and row["noise"].endswith("cv 1 %"))
    found["goals"] = {
        "A/A alerts at most 2 %": all(one["share"] <= 0.02 for one in white),
        "5 % step caught in at least 90 %": caught["share"] >= 0.9,
        "no alarm on one bad last night": all(not one["hits"] for one in found["others"]["outlier_alarms"].values()),
        "Otava reproduced": "otava" in found and found["otava"]["reproduced"] == found["otava"]["of"],
    }
    return found | {"seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--ruptures", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure(args.data, with_ruptures=args.ruptures)
    tell(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
