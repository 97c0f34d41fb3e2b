"""Peak resident memory of each evaluation beside the model's own size, and beside llama-perplexity's where it has it.

    python benchmarks/evaluation_memory.py [--model FILE …] [--chunks 8] [--items 20] [--json FILE]

Each is a process of its own, as in a sweep: perplexity, perplexity with KL divergence (a base-logits file of the same
model), bits per byte over a whole text, a task (the built-in cloze). `logits` is what one decode's logits take at
the most: rows × vocabulary × 4 bytes, which is what grows with a large vocabulary. llama-perplexity's peak is the
largest VmHWM seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import abba

from quantfarm import toolchain
from quantfarm.corpus import held_out_text
from quantfarm.errors import FarmError
from quantfarm.nouns import Trace
from quantfarm.runtimes.llama_cpp import LlamaCpp
from quantfarm.tasks.requests import of_cloze

MIB = 2**20
#: Rows of logits of one decode at the most, and the bytes that they are bounded to.
ROWS = {
    "perplexity": (256, 2**62),
    "perplexity and KLD": (256, 2**62),
    "bits per byte": (512, 128 * MIB),
    "task": (512, 128 * MIB),
}


@dataclass(frozen=True, slots=True)
class Peak:
    """MiB. `peer`: llama-perplexity's for the same; None where it has no such evaluation."""

    model: str
    n_vocab: int
    evaluation: str
    resident: float
    committed: float
    logits: float
    peer: float | None


def measured(kind: str, model: Path, files: Mapping[str, Path], **asked: int | str | None) -> Trace:
    under, cell = LlamaCpp(), abba.cell(kind, threads=1, **asked)
    there = {name: str(path) for name, path in {**under.files(cell), **files, "model": model}.items()}
    return abba.finished(under.parse(abba.lines_of(under.command(cell, there))))


def resident(trace: Trace) -> float:
    """The process's own high-water mark at its end."""
    return float(trace.of("memory")[-1]["hwm_mib"])


def committed(trace: Trace) -> float:
    seen = [event["values"] for event in trace.of("sample")] + list(trace.of("memory"))
    return max(float(values["rss_anon_mib"]) for values in seen if "rss_anon_mib" in values)


def peer(model: Path, text: Path, chunks: int, *more: str) -> float | None:
    """None where llama.cpp's tools are not built here."""
    try:
        tool = toolchain.tool("llama-perplexity")
    except FarmError:
        return None
    context = ["-c", "512", "-b", "512", "-ub", "512", "-t", "1", "-fa", "on", "-dev", "none", "--chunks", str(chunks)]
    command = [str(tool), "-m", str(model), "-f", str(text), *context, *more]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        highest = 0.0
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError, ValueError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                highest = max(highest, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
            time.sleep(0.01)
    return highest if process.returncode == 0 else None


def evaluations(model: Path, folder: Path, chunks: int, items: int) -> list[Peak]:
    text, part, base, requests = (folder / name for name in ("text", "part", "base", "requests"))
    text.write_bytes(held_out_text())
    part.write_bytes(held_out_text()[: 2000 * chunks])
    requests.write_bytes(of_cloze(held_out_text().decode(), items))
    runs: dict[str, Callable[[], Trace]] = {
        "perplexity": lambda: measured("quality", model, {"text": text}, n_chunks=chunks),
        "perplexity and KLD": lambda: measured("quality", model, {"text": text, "base_logits": base}, n_chunks=chunks),
        "bits per byte": lambda: measured("rolling", model, {"text": part}),
        "task": lambda: measured("tasks", model, {"requests": requests}, n_ctx=512),
    }
    peers: dict[str, Sequence[str]] = {
        "perplexity": (),
        "perplexity and KLD": ("--kl-divergence", "--kl-divergence-base", str(base)),
    }
    write_base(model, text, base, chunks)
    found: list[Peak] = []
    for name, run in runs.items():
        trace = run()
        n_vocab = int(trace.first("loaded")["model"]["n_vocab"])
        rows, most = ROWS[name]
        logits = min(4 * rows * n_vocab, most) / MIB
        beside = peer(model, text, chunks, *peers[name]) if name in peers else None
        found.append(Peak(model.name, n_vocab, name, resident(trace), committed(trace), logits, beside))
    return found


def write_base(model: Path, text: Path, out: Path, chunks: int) -> None:
    under = LlamaCpp()
    cell = abba.cell("quality", threads=1, n_chunks=chunks)
    request = under.request(cell, {"model": str(model), "text": str(text), "out": str(out)}) | {"kind": "logits"}
    runner = str(under.runner)
    abba.lines_of([sys.executable, "-P", runner, "--request", json.dumps(request)])


def table(found: Sequence[Peak]) -> str:
    lines = ["| model (vocabulary) | evaluation | resident MiB | committed MiB | of it logits | llama-perplexity MiB |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    for one in found:
        other = f"{one.peer:.1f}" if one.peer is not None else ""
        lines.append(
            f"| {one.model} ({one.n_vocab:,}) | {one.evaluation} | {one.resident:.1f} | {one.committed:.1f} "
            f"| {one.logits:.1f} | {other} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", default=[abba.REFERENCE], help="GGUF files")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    found: list[Peak] = []
    for model in given.model:
        with tempfile.TemporaryDirectory() as folder:
            found += evaluations(model, Path(folder), given.chunks, given.items)
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
