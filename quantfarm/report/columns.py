"""The columns of the report's tables: which figures, how they are called, and of what table they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate

QUALITY, TASKS, SPEED = "Quality", "Tasks", "Speed and memory"


@dataclass(frozen=True, slots=True)
class Column:
    """A metric's heading, what its value is multiplied with, and its significant digits."""

    metric: str
    heading: str
    factor: float = 1.0
    digits: int = 3
    table: str = SPEED

    @property
    def by_launch(self) -> bool:
        """Whether its n is a number of launches; that of a quality figure counts tokens or documents."""
        return self.table == SPEED


COLUMNS = (
    Column("bench_pp", "prompt tok/s"),
    Column("bench_tg", "generation tok/s"),
    Column("decode_tps", "decode tok/s"),
    Column("ttft", "TTFT ms", factor=1000.0),
    Column("speculative_tps", "speculative tok/s"),
    Column("speed_up", "speculative ÷ plain"),
    Column("resident_peak", "resident MiB", digits=4),
    Column("sustained_first", "sustained: first run tok/s"),
    Column("sustained_steady", "steady tok/s"),
    Column("throttle_ratio", "steady ÷ first"),
    Column("energy_per_token", "J/token"),
    Column("sustained_energy", "sustained J/token"),
    Column("temperature_max", "hottest °C"),
    Column("ppl", "perplexity", digits=4, table=QUALITY),
    Column("kld_mean", "KLD nat", table=QUALITY),
    Column("same_top", "same top %", table=QUALITY),
    Column("bits_per_byte_rolling", "bits/ byte", digits=4, table=QUALITY),
    Column("rating", "rated of 5", table=QUALITY),
)
#: A task's figure: its metric, task, shots, and how few documents of how many; see quantfarm.tasks.figure.
TASK = re.compile(
    r"(?P<metric>acc_norm|acc)_(?!stderr_)(?P<task>.+?)(?:_(?P<shots>\d+)shot)?(?:_(?P<n>\d+)of(?P<of>\d+))?"
)
NO_TASK = ("acc_stderr_", "acc_norm_stderr_")


def columns(candidates: Sequence[Candidate]) -> list[Column]:
    """Those that somebody has a figure for, in the order of the tables."""
    have = {metric for candidate in candidates for metric in candidate.figures}
    usual = [column for column in COLUMNS if column.metric in have]
    return usual + [found for metric in sorted(have, key=_by_task) if (found := task(metric))]


def _by_task(metric: str) -> tuple[bool, str, bool, str]:
    """The figures of one task side by side; those of few documents last."""
    found = TASK.fullmatch(metric)
    task, norm, few = (found["task"], found["metric"] == "acc_norm", found["n"]) if found else (metric, False, None)
    return (few is not None, task, norm, metric)


def task(metric: str) -> Column | None:
    """The column of a task's figure; None for another metric."""
    found = TASK.fullmatch(metric)
    if not found or metric.startswith(NO_TASK):
        return None
    name = found["task"] + (f" {found['shots']}-shot" if found["shots"] else "")
    few = f"⚠ ONLY {int(found['n']):,} OF {int(found['of']):,}: " if found["n"] else ""
    return Column(metric, f"{few}{name} {found['metric']} %", table=TASKS)


def few(columns: Sequence[Column]) -> bool:
    """Whether a task was asked of fewer documents than its benchmark has."""
    return any("⚠" in column.heading for column in columns)
