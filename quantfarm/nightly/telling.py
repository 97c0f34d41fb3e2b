"""What is told, and how much of it: the nouns between a night's verdicts and the bodies of a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from quantfarm import links
from quantfarm.nightly.verdicts import Verdict

#: More regressions than this are counted instead of told one by one; a list of commands longer than this is no help.
TOLD = 20
#: More silent devices, or improvements, than this are counted.
LISTED = 12
#: Rows of each kind in the JSON body; the whole report lies in the farm's folder.
ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where Prefect's run and the dashboard are; empty where they are nowhere."""

    run: str = ""
    dashboard: str = ""

    def history(self, series: str) -> str:
        """Where the dashboard shows the nights of a series (its id); empty without a dashboard."""
        return links.view(self.dashboard, "history", series=series) if self.dashboard else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to tell. `remark`: why it is told now, where it is not of this night alone."""

    verdict: Verdict
    remark: str = ""


def by_device(silent: Iterable[Item]) -> dict[str, list[Item]]:
    devices: dict[str, list[Item]] = defaultdict(list)
    for one in silent:
        devices[one.verdict.series.device].append(one)
    return devices
