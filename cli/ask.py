"""quantfarm ask "prompt": the answers of variants next to each other; with --set and --rate, judged blind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.ask_view import Columns, Lines, Nobody, by_prompt
from cli.output import print_json
from cli.rating import rate as judge
from flows import progress
from flows.answers import asking, preparing
from flows.answers.preparing import Question
from flows.stopping import Stopped
from quantfarm import prompts as sets
from quantfarm.answers import Answer, Manner, Writer
from quantfarm.errors import UsageError
from storage.home import Home


def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask. None with --set.")] = "",
    model: Annotated[str, typer.Option(help="reference, a hub id (org/name), a model folder, or a .gguf file.")] = (
        "reference"
    ),
    variants: Annotated[str, typer.Option(help="Quantizations, comma-separated. Default: the usual ones.")] = "",
    device: Annotated[str, typer.Option(help="Devices, comma-separated. Default: local.")] = "",
    runtime: Annotated[str, typer.Option(help="Runtimes, comma-separated. Default: each device's own.")] = "",
    n_gen: Annotated[int, typer.Option("--n-gen", "-n", help="At most this many tokens.", min=1)] = 256,
    seed: Annotated[int, typer.Option(help="Of chance, where there is any.", min=0)] = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy: always the likeliest token.", min=0, max=5)] = 0.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="The same as --temperature 0.")] = False,
    chat: Annotated[bool, typer.Option("--chat/--plain", help="Use the model's chat template, or none.")] = True,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: the device's physical cores.", min=1)
    ] = None,
    prompt_set: Annotated[str, typer.Option("--set", help="Ask a set of prompts: edge-ten.")] = "",
    rate: Annotated[str, typer.Option("--rate", help="Judge the answers of --set blind, under this name.")] = "",
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Read the marks from this file, one a line, instead of asking.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Ask variants, and show their answers next to each other with how fast they came.

    On a device they are asked one after the other, so that none slows another down; several devices at the same time.
    """
    _check(prompt, prompt_set, rate, answers)
    question = Question(
        model=model,
        prompts=tuple(sets.prompt_set(prompt_set)) if prompt_set else (prompt,),
        variants=_names(variants),
        devices=_names(device),
        runtimes=_names(runtime),
        threads=threads,
        manner=Manner(n_gen=n_gen, temperature=0.0 if greedy else temperature, seed=seed, chat=chat),
    )
    home, console = Home.default(), Console(stderr=as_json)
    found, failed = carry_out(home, question, console, as_json=as_json, quiet=bool(prompt_set), keep=bool(prompt_set))
    if rate:
        judge(home, prompt_set, rate, found, seed=seed, answers_file=answers, console=console, as_json=as_json)
    elif as_json:
        print_json({"answers": [as_dict(one) for one in found], "failed": _failed(failed)})
    elif prompt_set:
        by_prompt(console, sets.probes(prompt_set), found)
    if failed:
        raise typer.Exit(1)


def _check(prompt: str, prompt_set: str, rate: str, answers: Path | None) -> None:
    """Raises UsageError."""
    if bool(prompt) == bool(prompt_set):
        raise UsageError('give a prompt, as in quantfarm ask "Why is the sky blue?", or a set of them with --set')
    if not prompt.strip() and not prompt_set:
        raise UsageError("the prompt is empty")
    if rate and not prompt_set:
        raise UsageError("--rate judges the answers to a set of prompts: add --set edge-ten")
    if answers and not rate:
        raise UsageError("--answers is read by --rate NAME")


def _names(given: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))


def carry_out(
    home: Home, question: Question, console: Console, *, as_json: bool, quiet: bool, keep: bool
) -> tuple[list[Answer], dict[Writer, str]]:
    """The answers; shown while they are written unless they are many, judged blind or read by a program."""
    stop = threading.Event()
    news = Nobody(console, len(question.prompts))
    try:
        with progress.listening(news):
            on = preparing.prepare(home, question, stop.is_set)
            writers = [asking.writer(one) for asked in on.values() for one in asked]
            news.expect(len(writers))
            if as_json or quiet:
                return asking.ask(home, question, on, news, stop, keep)
            view = Columns(console, writers) if console.is_terminal else Lines(console)
            with view:
                return asking.ask(home, question, on, view, stop, keep)
    except KeyboardInterrupt:
        raise Stopped("stopped") from None


def as_dict(answer: Answer) -> dict[str, Any]:
    by, manner = answer.writer, answer.manner
    return {
        "device": by.device,
        "model": by.model,
        "variant": by.variant,
        "runtime": by.runtime,
        "build": by.build,
        "artifact": by.artifact,
        "prompt": answer.prompt,
        "text": answer.text,
        "ended": answer.ended,
        "form": answer.form,
        "tokens": answer.n,
        "ttft_s": answer.ttft_s,
        "tps": answer.tps,
        "n_gen": manner.n_gen,
        "temperature": manner.temperature,
        "seed": manner.seed,
    }


def _failed(failed: dict[Writer, str]) -> list[dict[str, str]]:
    return [{"device": by.device, "variant": by.variant, "reason": why} for by, why in failed.items()]
