"""MLPerf Client's CSV (--export-csv): a column for each result, a block of rows for each category of prompts.

TTFT is a geometric mean over prompts, in s; TPS is its "2nd+ token generation rate", which is decode_tps. A rate of 0
is its way to write that there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from quantfarm.exchange.figure import Figure, Importer, Reading, Wrong
from quantfarm.exchange.reading import CUT, csv_rows, number

TOOL = "MLPerf Client"
#: The rows that say what each column is, in the file's order.
ABOUT = ("EP", "Device", "Scenario", "Date", "Tested By MLCommons", "Config Category", "System Info")
NEEDED = ABOUT[:4]
FIRST = 3  # the first column of a result
#: The file's word -> (our metric, its unit).
METRICS = {"TTFT (seconds)": ("ttft", "s"), "TPS": ("decode_tps", "tok/s")}

Rows = Sequence[tuple[int, list[str]]]


def recognises(text: str) -> bool:
    return text.lstrip("\ufeff").startswith("EP,,,") and "\nScenario,,," in text


def read(text: str) -> Reading:
    """Raises Wrong."""
    rows = list(csv_rows(text))
    results, body = _results(rows)
    passed: list[str] = []
    figures = tuple(_figures(results, body, passed))
    return Reading(figures=figures, tool=TOOL, passed_over=tuple(dict.fromkeys(passed)))


@dataclass(frozen=True, slots=True)
class _Result:
    """What the head of the file says of one column."""

    said: Mapping[str, str]

    @property
    def system(self) -> Mapping[str, str]:
        """`CPU: …;RAM: …;GPU: …` as a mapping."""
        parts = (part.split(": ", 1) for part in self.said.get("System Info", "").split(";"))
        return {part[0].strip(): part[1].strip() for part in parts if len(part) == 2}

    @property
    def device(self) -> str:
        gpu = self.system.get("GPU", "") if "GPU" in self.said["Device"] else ""
        return gpu or self.system.get("CPU", "")


def _results(rows: Rows) -> tuple[list[_Result], Rows]:
    """The columns, and the rows behind the head. Raises Wrong."""
    head: dict[str, list[str]] = {}
    for _, fields in rows:
        if fields[0] not in ABOUT:
            break
        head[fields[0]] = fields[FIRST:]
    last = rows[len(head) - 1][0] if head else 1
    for name in NEEDED:
        if name not in head:
            raise Wrong(last, f"no row {name} in the head of the file")
    columns = len(head["EP"])
    if odd := next((name for name, values in head.items() if len(values) != columns), None):
        raise Wrong(last, f"the row {odd} has {len(head[odd])} results, the first one {columns}")
    found = [_Result({name: values[i] for name, values in head.items()}) for i in range(columns)]
    return found, rows[len(head) :]


def _figures(results: Sequence[_Result], body: Rows, passed: list[str]) -> Iterator[Figure]:
    category, begun = "", 0
    for line, fields in body:
        if fields[0]:
            _ended(category, begun)
            category, begun = fields[0], line
        elif not category or len(fields) != FIRST + len(results):
            raise Wrong(line, f"{len(fields) - FIRST} results, but the head has {len(results)}")
        else:
            begun = 0
            yield from _row(results, category, line, fields, passed)
    _ended(category, begun)


def _ended(category: str, begun: int) -> None:
    if begun:
        raise Wrong(begun, f"the category {category} has no rows: {CUT}")


def _row(
    results: Sequence[_Result], category: str, line: int, fields: Sequence[str], passed: list[str]
) -> Iterator[Figure]:
    label, values = fields[FIRST - 1], fields[FIRST:]
    if label not in METRICS:
        passed.append(label)
        return
    metric, unit = METRICS[label]
    for result, given in zip(results, values, strict=True):
        if not given.strip():
            continue  # this result has no such category
        value = number({label: given}, label, line)
        if not value:
            passed.append(f"{label} of {category}: no value")
            continue
        yield Figure(
            line=line,
            metric=metric,
            value=value,
            unit=unit,
            workload=category,
            model=result.said["Scenario"],
            device=result.device,
            runtime=result.said["EP"],
            statistic="geometric mean" if metric == "ttft" else "",
            measured_at=result.said["Date"],
            extra={name: value for name, value in result.said.items() if value and name not in ("Scenario", "Date")},
        )


IMPORTER = Importer(recognises, read)
