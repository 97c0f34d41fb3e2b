"""quantfarm toolchain: llama.cpp's own tools, built from the sources of the installed llama-cpp-python."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from quantfarm import toolchain
from quantfarm.errors import FarmError
from quantfarm.toolchain import machines
from quantfarm.toolchain.news import Step, Tell

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """So that a single verb keeps its name."""


@app.command()
def build(
    only_source: Annotated[
        bool, typer.Option(help="Fetch and unpack the sources (with the converter), no more.")
    ] = False,
    for_: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="PLATFORM",
            help="Build llama-bench and quantfarm-native, static, for devices of this platform instead "
            f"({', '.join(machines.TABLE)}); may be given several times.",
        ),
    ] = None,
    sha256: Annotated[str, typer.Option(help="Of the source package, for a version that is not locked.")] = "",
    jobs: Annotated[int, typer.Option(min=0, help="Compilers at once; 0: one for each core.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="JSON lines instead of a bar.")] = False,
) -> None:
    """Build llama-bench, llama-quantize, llama-perplexity and llama-imatrix; a second time does nothing."""
    began = time.monotonic()
    with _Told(json_) as told:
        try:
            paths = _paths(told.tell, only_source, for_ or [], sha256, jobs)
        except FarmError as error:
            if json_:
                _line("end", ok=False, error=str(error))
            raise
    if json_:
        _line("end", ok=True, version=toolchain.version(), seconds=round(time.monotonic() - began, 1), paths=paths)
        return
    for name, path in paths.items():
        Console(soft_wrap=True).print(f"{name}: {path}", highlight=False)


def _paths(tell: Tell, only_source: bool, platforms: list[str], sha256: str, jobs: int) -> dict[str, str]:
    if only_source:
        toolchain.fetch_source(tell, sha256)
        return {"converter": str(toolchain.converter())}
    if platforms:
        made = toolchain.build_for(platforms, tell, sha256=sha256, jobs=jobs)
        return {f"{platform} {name}": str(path) for platform in made for name, path in made[platform].items()}
    return {name: str(path) for name, path in toolchain.build(tell, sha256=sha256, jobs=jobs).items()}


def _line(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class _Told:
    """Shows steps: one JSON line each, or a bar with percent and an estimate of the time left."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[left]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), disable=as_json)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Told:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, step: Step) -> None:
        if self._json:
            left = None if step.left_s is None else round(step.left_s, 1)
            _line(
                "progress",
                what=step.what,
                done=step.done,
                of=step.of,
                percent=step.percent,
                left_s=left,
                note=step.note,
            )
        elif step.note:
            self._bar.console.print(f"{step.what}: {step.note}", highlight=False, markup=False)
        else:
            self._show(step)

    def _show(self, step: Step) -> None:
        if step.what not in self._tasks:
            self._tasks[step.what] = self._bar.add_task(step.what, total=None, left="")
        left = "" if not step.left_s else f"about {_time(step.left_s)} left"
        self._bar.update(self._tasks[step.what], total=step.of or None, completed=step.done, left=left)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
