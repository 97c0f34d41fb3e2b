"""Every figure as Parquet."""

from __future__ import annotations

from storage import table_files
from storage.exporting import Asked, Exported
from storage.reading import Reader
from storage.results import COLUMNS, results


def export(reader: Reader, asked: Asked) -> Exported:
    rows = results(reader, device=asked.device, metric=asked.metric, model=asked.model)
    return Exported(table_files.to_parquet(rows, COLUMNS), len(rows))
