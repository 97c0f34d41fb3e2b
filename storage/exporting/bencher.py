"""Every figure in Bencher Metric Format; of two builds of a series the one that was measured last."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from quantfarm.exchange import bencher
from storage.exporting import Asked, Exported
from storage.reading import Reader
from storage.results import results

NEWEST = "SELECT series, max(started_at) AS newest FROM cells GROUP BY series"


def export(reader: Reader, asked: Asked) -> Exported:
    rows = results(reader, device=asked.device, metric=asked.metric, model=asked.model)
    times = {row["series"]: row["newest"] or datetime.min for row in reader.query(NEWEST)}
    rows.sort(key=lambda row: times.get(row["series"], datetime.min))
    counted = Counter(bencher.usable(row) for row in rows)
    shown = {(bencher.name(row), row["metric"]) for row in rows if bencher.usable(row)}
    left = {
        "failed, not valid or simulated": counted[False],
        "of an older build": counted[True] - len(shown),
    }
    return Exported(bencher.text(rows).encode(), len(shown), tuple(f"{n} {why}" for why, n in left.items() if n))
