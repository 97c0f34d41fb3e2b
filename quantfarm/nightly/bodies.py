"""A night for programs: what a webhook posts and an event carries. Plain JSON, bounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from quantfarm.nightly import words
from quantfarm.nightly.telling import LISTED, ROWS, Item, Links, by_device

#: The longest text in a body: a command that reproduces must be whole.
LONGEST = 2000


def rows(items: Iterable[Item], links: Links) -> list[dict[str, Any]]:
    """Verdicts for programs: numbers as numbers, texts bounded, nothing that JSON does not know."""
    return [
        {
            **_plain(asdict(one.verdict)),
            "id": one.verdict.series.id,
            "name": words.clean(one.verdict.series.name),
            "told_now": words.clean(one.remark),
            "bisect": f"quantfarm nightly bisect {one.verdict.series.id}" if words.build_changed(one.verdict) else "",
            "link": words.clean(links.history(one.verdict.series.id)),
        }
        for one in items
    ]


def silences(silent: Sequence[Item]) -> list[dict[str, Any]]:
    return [
        {
            "device": words.clean(name),
            "simulated": mine[0].verdict.simulated,
            "n_series": len(mine),
            "series": [one.verdict.series.id for one in mine[:ROWS]],
            "reasons": sorted({words.clean(one.verdict.reason) for one in mine})[:LISTED],
            "told_now": words.clean(mine[0].remark),
            "last_good": words.clean(max(one.verdict.last_good for one in mine), 40),
        }
        for name, mine in list(by_device(silent).items())[:ROWS]
    ]


def _plain(thing: Any) -> Any:
    """Texts cleaned (a command may be long), numbers that JSON does not know as null."""
    if isinstance(thing, dict):
        return {words.clean(str(k)): _plain(v) for k, v in thing.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    if isinstance(thing, list | tuple):
        return [_plain(one) for one in thing]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(thing, str):
        return words.clean(thing, LONGEST)
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing
