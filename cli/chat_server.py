"""quantfarm chat-server: a variant on a device behind an OpenAI-compatible server on this machine's loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from flows.answers.serving import Service, serve
from flows.stopping import Stopped
from quantfarm.errors import FarmError, UsageError
from storage.home import Home


def chat_server(
    variant: Annotated[str, typer.Option(help="Quantizations, comma-separated: one is in memory at a time.")],
    model: Annotated[str, typer.Option(help="reference, a hub id (org/name), a model folder, or a .gguf file.")] = (
        "reference"
    ),
    device: Annotated[str, typer.Option(help="Which device.")] = "local",
    runtime: Annotated[str, typer.Option(help="Which runtime. Default: the first of the device's that serves.")] = "",
    n_ctx: Annotated[int, typer.Option(help="Tokens of context; never more than the model knows.", min=64)] = 4096,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: the device's physical cores.", min=1)
    ] = None,
    gpu_layers: Annotated[
        int | None, typer.Option(help="Layers on a GPU; -1: all. Default: all where the device has one.", min=-1)
    ] = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1. Default: a free one.", min=0, max=65535)] = 0,
    idle: Annotated[float, typer.Option(help="Ends after so many minutes without a request; 0: never.", min=0)] = 15,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON lines, and end when stdin closes.")
    ] = False,
) -> None:
    """Serve variants for a chat, OpenAI-compatible, for as long as this runs.

    The device is leased meanwhile: nothing is measured on it. Whoever asks needs the key that is printed.
    """
    service = Service(
        model=model,
        variants=_names(variant),
        devices=_names(device),
        runtimes=_names(runtime),
        threads=threads,
        n_ctx=n_ctx,
        gpu_layers=gpu_layers,
        port=port,
        idle_s=60 * idle,
    )
    if not service.variants:
        raise UsageError("name a variant, as in --variant Q4_K_M")
    stop = threading.Event()
    _end_on_signals(stop)
    if as_json:
        threading.Thread(target=_end_with_stdin, args=(stop,), daemon=True).start()
    tell = _Lines(stop) if as_json else _Words(Console())
    try:
        reason = _carried_out(service, tell, stop)
    except FarmError as error:
        if not as_json:
            raise
        tell("ended", ok=False, reason=str(error))
        raise typer.Exit(error.exit_code) from None
    tell("ended", ok=True, reason=reason)


def _names(given: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))


def _carried_out(service: Service, tell: Callable[..., None], stop: threading.Event) -> str:
    try:
        return serve(Home.default(), service, tell, stop)
    except (KeyboardInterrupt, Stopped):
        return "stopped"


def _end_on_signals(stop: threading.Event) -> None:
    """The first interrupts whatever is going on; what follows must not interrupt its cleaning up."""

    def end(_signal: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)


def _end_with_stdin(stop: threading.Event) -> None:
    """Whoever started us holds our stdin open; when it closes, nobody chats any more."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    main = threading.main_thread().ident
    if not stop.is_set() and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)  # to the main thread, which may be waiting for what a program says


class _Lines:
    """Events as JSON lines. Nobody reads them any more: it ends."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop, self._lock = stop, threading.Lock()

    def __call__(self, event: str, **fields: Any) -> None:
        try:
            with self._lock:
                sys.stdout.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
                sys.stdout.flush()
        except OSError:
            self._stop.set()
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - what is left is flushed at exit


class _Words:
    """Events for people."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: str, **fields: Any) -> None:
        if text := self._text(event, fields):
            style = {"ready": "bold", "wanted": "yellow", "waiting": "yellow"}.get(event, "dim")
            self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _text(self, event: str, fields: dict[str, Any]) -> str:
        if event == "ready":
            return self._ready(fields)
        if event == "wanted":
            urgent = "urgently " if fields["urgent"] else ""
            return f"{fields['by']} {urgent}waits for {fields['device']}" if fields["by"] else "nobody waits any more"
        if event == "loading":
            return f"loading {fields['variant']} on {fields['device']}"
        return str(fields.get("what") or fields.get("reason") or "")

    def _ready(self, fields: dict[str, Any]) -> str:
        names = ", ".join(one["name"] for one in fields["variants"])
        return (
            f"{fields['url']} serves {names} of {fields['model']} on {fields['device']} "
            f"({fields['build']}, context of {fields['n_ctx']} tokens)\nkey: {fields['key']}\nCtrl-C ends it."
        )
