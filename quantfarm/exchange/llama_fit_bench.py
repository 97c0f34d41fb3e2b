"""Tables of llama-bench runs that were fitted to a GPU's memory, and of their KL divergences, by model and quant.

Columns `model`, `quant` and any of ppN_tps, tgN_tps (with ppN_stddev_tps, tgN_stddev_tps) and kld; whatever else
there is says how it was run. The form of github.com/ghost91-/llama-bench.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from quantfarm.exchange.figure import DEVIATION, MEAN, Figure, Importer, Reading, Wrong
from quantfarm.exchange.reading import csv_table, header_of, number, text_of, whole

RATE = re.compile(r"(?P<kind>pp|tg)(?P<n>\d+)_tps")
KLD = "kld"
#: Columns that tell one workload of a model from another -> how a label says it.
LABEL = {"mode": "{}", "ctx": "ctx {}", "ubatch": "ub{}", "ngl": "ngl{}", "offload": "offload {}"}


def recognises(text: str) -> bool:
    header = header_of(text)
    rates = any(RATE.fullmatch(name) for name in header)
    return {"model", "quant"} <= set(header) and (rates or KLD in header)


def read(text: str) -> Reading:
    """Raises Wrong."""
    return Reading(figures=tuple(_figures(text)), tool="llama-bench")


def _figures(text: str) -> Iterator[Figure]:
    for line, row in csv_table(text):
        for name in ("model", "quant"):
            if not text_of(row, name):
                raise Wrong(line, f"no {name}")
        for column in row:
            if found := RATE.fullmatch(column):
                yield _rate(line, row, found)
        if KLD in row:
            yield Figure(line=line, metric=KLD, value=number(row, KLD, line), unit="nat", workload="", **_about(row))


def _rate(line: int, row: Mapping[str, Any], found: re.Match[str]) -> Figure:
    spread = f"{found['kind']}{found['n']}_stddev_tps"
    known = bool(text_of(row, spread))
    labels = [form.format(text_of(row, name)) for name, form in LABEL.items() if text_of(row, name)]
    return Figure(
        line=line,
        metric=f"bench_{found['kind']}",
        value=number(row, found.group(), line),
        unit="tok/s",
        workload=" ".join([f"bench {found['kind']}{found['n']}", *labels]),
        statistic=MEAN,
        n=whole(row, "reps", line) if text_of(row, "reps") else None,
        spread=number(row, spread, line) if known else None,
        spread_is=DEVIATION if known else "",
        measured_at=text_of(row, "bench_ts"),
        **_about(row),
    )


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    """A quantization of one provider is another file than that of another."""
    provider = text_of(row, "provider")
    said = {name: value for name, value in row.items() if value and name not in ("model", "quant", KLD)}
    return {
        "model": text_of(row, "model"),
        "variant": text_of(row, "quant") + (f" ({provider})" if provider else ""),
        "runtime": "llama-bench",
        "extra": {name: value for name, value in said.items() if not name.endswith("_tps")},
    }


IMPORTER = Importer(recognises, read)
