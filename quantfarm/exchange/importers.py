"""The formats that can be imported. One file and one line here each; recognised from their content."""

from __future__ import annotations

from dataclasses import replace

from quantfarm import tables
from quantfarm.errors import UsageError, unknown
from quantfarm.exchange.figure import Importer, Reading, Wrong

TABLE: dict[str, str] = {
    "llama-bench-json": "quantfarm.exchange.llama_bench_json:IMPORTER",
    "llama-bench-jsonl": "quantfarm.exchange.llama_bench_jsonl:IMPORTER",
    "llama-bench-sql": "quantfarm.exchange.llama_bench_sql:IMPORTER",
    "llama-bench-csv": "quantfarm.exchange.llama_bench_csv:IMPORTER",
    "llama-bench-markdown": "quantfarm.exchange.llama_bench_markdown:IMPORTER",
    "llama-fit-bench": "quantfarm.exchange.llama_fit_bench:IMPORTER",
    "mlx-lm": "quantfarm.exchange.mlx_lm:IMPORTER",
    "lm-eval": "quantfarm.exchange.lm_eval:IMPORTER",
    "mlperf-client-csv": "quantfarm.exchange.mlperf_client:IMPORTER",
    "optimum-benchmark": "quantfarm.exchange.optimum_benchmark:IMPORTER",
}


def importer(name: str) -> Importer:
    """Raises UsageError with suggestions for an unknown name."""
    return tables.load(TABLE, name, "format")


def recognise(text: str, where: str) -> str:
    """The format of a text. Raises UsageError: what is known, what to do."""
    if not text.strip():
        raise UsageError(f"{where} is empty: nothing was measured, or nothing was written")
    if text.strip() == "[":
        raise UsageError(
            f"{where}, line 1: only '[': a llama-bench that failed prints no more. What went wrong it said on stderr"
        )
    found = [name for name in TABLE if importer(name).recognises(text)]
    if not found:
        raise UsageError(f"{where} is of no format that is known here: say --format. Known: {', '.join(sorted(TABLE))}")
    if len(found) > 1:
        raise UsageError(f"{where} could be {' or '.join(found)}: say which with --format")
    return found[0]


def read(text: str, name: str, where: str) -> Reading:
    """The figures of a text of a format. Raises UsageError naming the line."""
    if name not in TABLE:
        raise unknown("format", name, TABLE)
    try:
        reading = importer(name).read(text)
    except Wrong as error:
        raise UsageError(f"{where}, line {error.line}: {error.what} (read as {name})") from error
    if not reading.figures:
        more = f"; passed over: {', '.join(reading.passed_over)}" if reading.passed_over else ""
        raise UsageError(f"{where} holds no figure (read as {name}){more}")
    return reading


def named(reading: Reading, where: str, *, model: str = "", variant: str = "", device: str = "") -> Reading:
    """With what the one who imports says of all figures.

    Raises UsageError where that would make several things one, and where nobody says of which model a figure is.
    """
    for what, given in (("model", model), ("variant", variant), ("device", device)):
        said = {getattr(one, what) for one in reading.figures} - {""}
        if given and len(said) > 1:
            raise UsageError(f"{where} names {len(said)} {what}s: --{what} {given} would make them one")
    figures = tuple(
        replace(one, model=model or one.model, variant=variant or one.variant, device=device or one.device)
        for one in reading.figures
    )
    if nameless := next((one for one in figures if not one.model), None):
        raise UsageError(f"{where}, line {nameless.line}: the file does not say of which model this is: say --model")
    return replace(reading, figures=figures)
