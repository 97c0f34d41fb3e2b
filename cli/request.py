"""The options that `plan` and `sweep` share, and the request they make together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from quantfarm import axes, suites, sweeps
from quantfarm.errors import UsageError
from quantfarm.sweeps import Sweep

File = Annotated[Path | None, typer.Argument(metavar="[SWEEP.yaml]", help="A sweep file; options take its place.")]
Model = Annotated[str | None, typer.Option(help="reference, a hub id (org/name), a model folder, or a .gguf file.")]
Quants = Annotated[str | None, typer.Option(help="Quantizations, comma-separated: F16,Q8_0,Q4_K_M …")]
Devices = Annotated[str | None, typer.Option(help="Device names, comma-separated. Default: local.")]
Tags = Annotated[str | None, typer.Option(help="Devices that carry one of these tags, comma-separated.")]
Runtimes = Annotated[str | None, typer.Option(help="Runtimes, comma-separated. Default: each device's own.")]
Suite = Annotated[str | None, typer.Option(help=f"{', '.join(suites.SUITES)}.")]
Launches = Annotated[int | None, typer.Option(help="Process launches of each speed cell.")]
Text = Annotated[Path | None, typer.Option(help="Text for perplexity. Default: the held-out reference corpus.")]
Calibration = Annotated[
    Path | None, typer.Option(help="Text that quantizers learn from. Default: the training part of the corpus.")
]
Tasks = Annotated[str | None, typer.Option(help="Tasks, comma-separated: arc_easy,hellaswag,mmlu,reference_cloze …")]
TasksDir = Annotated[Path | None, typer.Option(help="Folder of task files. Default: from the hub.")]
Shots = Annotated[int | None, typer.Option("--n-shot", help="Worked examples before each question of a task.")]
Items = Annotated[int | None, typer.Option("--limit", help="Items of each task; the figures say that they are fewer.")]
Axis = Annotated[
    list[str] | None, typer.Option("--axis", help="A speed parameter and its values: n_depth=0,4096. Repeat for more.")
]
BuildOn = Annotated[str | None, typer.Option(help="Device or tag that makes the variants. Default: this machine.")]
Chunks = Annotated[int | None, typer.Option("--n-chunks", "--chunks", help="Chunks of text to score.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads. Default: the device's physical cores.")]
Prompt = Annotated[int | None, typer.Option("--n-prompt", "-p", help="Prompt tokens of every speed cell.")]
Gen = Annotated[int | None, typer.Option("--n-gen", "-n", help="Generated tokens of every speed cell.")]
Depth = Annotated[int | None, typer.Option("--n-depth", "-d", help="Tokens in the KV cache before a bench cell.")]
Limit = Annotated[float | None, typer.Option("--limit-s", help="Seconds that one cell may take.")]
Priority = Annotated[
    int | None, typer.Option(help="Who measures first where two sweeps wait for a device; nightly: -5.")
]
Notes = Annotated[str | None, typer.Option(help="Kept with the sweep.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an unfinished sweep: its id in place of the file; none: list them.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def names(given: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in given.split(",") if part.strip()) if given is not None else None


def command(
    carry_out: Callable[[Sweep, bool], None], go_on: Callable[[str, bool], None] | None = None
) -> Callable[..., None]:
    """A verb that takes a sweep file and options in its place, and gives `carry_out` the request they make.

    `go_on` is given the id after `--resume`, empty where there is none; without it the verb has no such option.
    """

    def verb(
        file: File = None,
        model: Model = None,
        quants: Quants = None,
        devices: Devices = None,
        tags: Tags = None,
        runtimes: Runtimes = None,
        suite: Suite = None,
        launches: Launches = None,
        text: Text = None,
        calibration: Calibration = None,
        tasks: Tasks = None,
        tasks_dir: TasksDir = None,
        n_shot: Shots = None,
        limit: Items = None,
        axis: Axis = None,
        build_on: BuildOn = None,
        n_chunks: Chunks = None,
        threads: Threads = None,
        n_prompt: Prompt = None,
        n_gen: Gen = None,
        n_depth: Depth = None,
        limit_s: Limit = None,
        priority: Priority = None,
        notes: Notes = None,
        fresh: Fresh = False,
        resume: Resume = False,
        as_json: Json = False,
    ) -> None:
        given: dict[str, Any] = {
            "model": model,
            "quants": names(quants),
            "devices": names(devices),
            "tags": names(tags),
            "runtimes": names(runtimes),
            "suite": suite,
            "launches": launches,
            "text": text.absolute() if text else None,
            "calibration": calibration.absolute() if calibration else None,
            "tasks": names(tasks),
            "tasks_dir": tasks_dir.absolute() if tasks_dir else None,
            "n_shot": n_shot,
            "limit": limit,
            "axes": axes.read(axis) if axis else None,
            "build_on": build_on,
            "limit_s": limit_s,
            "priority": priority,
            "notes": notes,
            "fresh": fresh or None,
            "common": _given(n_chunks=n_chunks, threads=threads, n_prompt=n_prompt, n_gen=n_gen, n_depth=n_depth)
            or None,
        }
        if resume and go_on:
            _alone(_given(**given))
            return go_on(str(file or ""), as_json)
        return carry_out(request(file, _given(**given)), as_json)

    verb.__doc__ = carry_out.__doc__
    if go_on is None:
        known = inspect.signature(verb, eval_str=True)
        kept = [one for name, one in known.parameters.items() if name != "resume"]
        verb.__signature__ = known.replace(parameters=kept)  # pyright: ignore[reportFunctionMemberAccess]
    return verb


def _alone(given: dict[str, Any]) -> None:
    """What is gone on with is as it was asked for. Raises UsageError."""
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--resume goes on with a sweep as it was asked for, and takes no {names}")


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def request(file: Path | None, options: dict[str, Any]) -> Sweep:
    """The request of a file and of options in its place. Raises UsageError."""
    return sweeps.read(file, options) if file else sweeps.request(options, "the command line")
