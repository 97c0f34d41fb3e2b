"""llama-bench -o md, also as people paste it into a text of theirs: every table with the columns model, test, t/s.

A table's device is what llama.cpp said of it above the table, its build what stands below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantfarm.exchange.figure import Figure, Importer, Reading, Wrong
from quantfarm.exchange.llama_bench import TOOL, figure
from quantfarm.exchange.units import mib

WANTED = ("model", "test", "t/s")
#: Columns -> the names that rows of the other formats have.
COLUMNS = {"backend": "backends", "threads": "n_threads", "ngl": "n_gpu_layers", "fa": "flash_attn", "params": "params"}
TEST = re.compile(r"(?:pp ?(?P<pp>\d+))?\+?(?:tg ?(?P<tg>\d+))?(?:\s*@\s*d(?P<depth>\d+))?")
RATE = re.compile(r"(?P<mean>[\d.]+)(?:\s*±\s*(?P<spread>[\d.]+))?")
SIZE = re.compile(r"(?P<value>[\d.]+) (?P<unit>[KMG]?i?B)")
BUILD = re.compile(r"build: (?P<commit>\S+) \((?P<number>\d+)\)")
DEVICE = re.compile(r"\s*Device \d+: (?P<cuda>[^,]+),|.*device: '(?P<opencl>[^'(]+)|.*GPU name:\s+(?P<metal>.+)")


def recognises(text: str) -> bool:
    return any(_header(line) for line in text.split("\n"))


def read(text: str) -> Reading:
    """Raises Wrong."""
    figures = tuple(_figures(text))
    builds = dict.fromkeys(one.build for one in figures if one.build)
    return Reading(figures=figures, tool=TOOL, version=", ".join(builds))


@dataclass(slots=True)
class _State:
    """Where in a text we are: the columns of the table, the devices said, the figures without a build yet."""

    columns: Sequence[str] = ()
    devices: list[str] = field(default_factory=list[str])
    waiting: list[Figure] = field(default_factory=list[Figure])

    def settle(self, build: str = "") -> list[Figure]:
        """What was read, now that its build is known or will not be said."""
        done = [replace(one, build=build) for one in self.waiting]
        self.waiting.clear()
        return done


def _figures(text: str) -> Iterator[Figure]:
    state = _State()
    for line, row in enumerate(text.split("\n"), 1):
        if header := _header(row):
            state.columns = header
        elif state.columns and row.lstrip().startswith("|"):
            cells = _cells(row)
            if not all(set(cell) <= set("-: ") for cell in cells):
                state.waiting.append(_figure(line, state, cells))
        else:
            state.columns = ()
            yield from _said(row, state)
    yield from state.settle()


def _said(row: str, state: _State) -> list[Figure]:
    """A line between tables: a device, a build, or a heading, from which on other devices may be meant."""
    if found := DEVICE.match(row):
        state.devices.append(next(name for name in found.groups() if name).strip())
    elif found := BUILD.match(row.strip().strip("`")):
        state.devices.clear()
        return state.settle(f"{found['commit']} ({found['number']})")
    elif row.startswith("#"):
        state.devices.clear()
        return state.settle()
    return []


def _header(row: str) -> list[str]:
    cells = _cells(row) if row.lstrip().startswith("|") else []
    return cells if all(name in cells for name in WANTED) else []


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _figure(line: int, state: _State, cells: Sequence[str]) -> Figure:
    if len(cells) != len(state.columns):
        raise Wrong(line, f"{len(cells)} cells, but the table has {len(state.columns)} columns")
    row = dict(zip(state.columns, cells, strict=True))
    test, rate = TEST.fullmatch(row["test"]), RATE.fullmatch(row["t/s"])
    if not row["test"] or not test:
        raise Wrong(line, f"test is {row['test']!r}, not such as pp512, tg128, pp512+tg128 or tg128 @ d4096")
    if not rate:
        raise Wrong(line, f"t/s is {row['t/s']!r}, not such as 123.45 ± 6.78")
    named = {COLUMNS.get(name, name): value for name, value in row.items() if name not in ("test", "t/s", "model")}
    return figure(line, {**named, **_measured(test, rate), **_about(row, state)})


def _measured(test: re.Match[str], rate: re.Match[str]) -> Mapping[str, Any]:
    sizes = {"n_prompt": test["pp"] or 0, "n_gen": test["tg"] or 0, "n_depth": test["depth"] or 0}
    return {**sizes, "avg_ts": rate["mean"], "stddev_ts": rate["spread"] or ""}


def _about(row: Mapping[str, str], state: _State) -> Mapping[str, Any]:
    size = SIZE.fullmatch(row.get("size", ""))
    about: dict[str, Any] = {"model_type": row["model"], "gpu_info": ", ".join(dict.fromkeys(state.devices))}
    return about | ({"size": None, "size_mib": mib(float(size["value"]), size["unit"])} if size else {})


IMPORTER = Importer(recognises, read)
