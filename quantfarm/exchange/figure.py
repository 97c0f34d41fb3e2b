"""What an importer makes of a file: figures in our units, each with the line that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What `spread` is.
DEVIATION, ERROR = "standard deviation", "standard error"
#: What `value` is of the repetitions behind it.
MEDIAN, MEAN = "median", "mean"


class Wrong(ValueError):
    """What is wrong with a file, and on which line (from 1)."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure as a file says it. A text is empty, a number None, where the file does not say.

    `metric` is a name of ours only where the definition is ours too. `spread` is in `unit`; `device` is the file's
    word for it; `extra` is what else the file says of this figure.
    """

    line: int
    metric: str
    value: float
    unit: str
    workload: str
    model: str = ""
    variant: str = ""
    device: str = ""
    runtime: str = ""
    build: str = ""
    statistic: str = ""
    n: int | None = None
    spread: float | None = None
    spread_is: str = ""
    measured_at: str = ""  # as the file says it
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file says. `passed_over` names what was in it and is no figure of any use here."""

    figures: tuple[Figure, ...]
    tool: str
    version: str = ""
    passed_over: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the file names, each once."""
        return tuple(dict.fromkeys(figure.device for figure in self.figures if figure.device))


@dataclass(frozen=True, slots=True)
class Importer:
    """`recognises` is quick and never raises; `read` raises Wrong."""

    recognises: Callable[[str], bool]
    read: Callable[[str], Reading]
