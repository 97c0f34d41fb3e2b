"""The demo's own check: seven variants with speed, memory and quality, and a second run that runs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

QUANTFARM = Path(sys.executable).parent / "quantfarm"
VARIANTS = {"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"}
SPEED = {"bench_pp", "bench_tg", "decode_tps", "ttft", "load_time"}
METRICS = SPEED | {"resident_peak", "committed_peak", "ppl", "kld_mean"}


def quantfarm(*arguments: str) -> Any:
    done = subprocess.run([QUANTFARM, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    rows = quantfarm("results", "--device", "local", "--format", "json")
    good = {(row["variant"], row["metric"]) for row in rows if row["valid"] and row["value"] is not None}
    missing = {(variant, metric) for variant in VARIANTS for metric in METRICS} - good
    assert not missing, f"the demo did not measure {sorted(missing)}"
    again = quantfarm("sweep", "sweeps/demo.yaml", "--json")
    assert again["ok"] == again["failed"] == 0 and again["known"] > 0, f"a second demo ran cells again: {again}"
    assert quantfarm("recommend", "local", "--json")["variant"] in VARIANTS
    sys.stdout.write(f"demo: {len(VARIANTS)} variants with {len(METRICS)} metrics each; the second run ran nothing\n")


if __name__ == "__main__":
    main()
