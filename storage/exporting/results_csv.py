"""Every figure as CSV."""

from __future__ import annotations

from storage.exporting import Asked, Exported
from storage.reading import Reader
from storage.results import results, to_csv


def export(reader: Reader, asked: Asked) -> Exported:
    rows = results(reader, device=asked.device, metric=asked.metric, model=asked.model)
    return Exported(to_csv(rows).encode(), len(rows))
