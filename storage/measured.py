"""Which devices and models there are results of: what a view lets somebody choose from."""

from __future__ import annotations

from dataclasses import dataclass

from storage.reading import Reader

KNOWN = """
SELECT device, model, bool_or(simulated) AS simulated, max(chip) AS chip, count_if(state = 'ok') AS ok
FROM cells WHERE current GROUP BY device, model ORDER BY bool_or(simulated), device, model
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One device and model; `ok`: how many measurements went well."""

    device: str
    model: str
    simulated: bool
    chip: str
    ok: int


def measured(reader: Reader) -> list[Measured]:
    """Real devices before simulated ones, then by name."""
    return [Measured(**row) for row in reader.query(KNOWN)]
