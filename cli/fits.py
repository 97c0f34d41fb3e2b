"""quantfarm fits MODEL: how much memory each quantization needs at each context, beside what was measured."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cli.fits_view import as_dict, show
from cli.output import print_json
from flows.fits import answer as asked
from flows.fits.answer import Wanted
from quantfarm.errors import UsageError, unknown
from quantfarm.memory_model.cache import BYTES
from storage.home import Home


def fits(
    model: Annotated[str, typer.Argument(help="reference, a hub id (org/name), a model folder, or a .gguf file.")],
    device: Annotated[str, typer.Option(help="Does it fit into this device's memory budget?")] = "",
    quants: Annotated[str, typer.Option(help="Quantizations, comma-separated. Default: the usual ones.")] = "",
    contexts: Annotated[str, typer.Option(help="Tokens of context, comma-separated.")] = "2048,8192",
    kv: Annotated[str, typer.Option(help="Types of the KV cache, comma-separated: f16, q8_0, q4_0 …")] = "f16",
    n_ubatch: Annotated[int, typer.Option(help="Tokens computed at once.", min=1)] = 512,
    flash_attn: Annotated[str, typer.Option(help="Flash attention: on or off.")] = "on",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Print the memory that a model would need, by quantization and context, and how far such predictions were off."""
    wanted = Wanted(
        model=model,
        quants=tuple(dict.fromkeys(names(quants))),
        contexts=tuple(sorted({number(text) for text in names(contexts)})) or (2048, 8192),
        caches=tuple(dict.fromkeys(kind(text) for text in names(kv))) or ("f16",),
        device=device,
        n_ubatch=n_ubatch,
        flash_attn=_switch(flash_attn),
    )
    found = asked.answer(Home.default(), wanted)
    if as_json:
        print_json(as_dict(found, wanted))
    else:
        show(found, wanted, Console())


def names(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]


def number(text: str) -> int:
    """`8192` or `8k`. Raises UsageError."""
    plain = text.lower().removesuffix("k")
    if not plain.isdecimal() or int(plain) == 0:
        raise UsageError(f"--contexts: '{text}' is no number of tokens, as in 2048,8192 or 2k,8k")
    return int(plain) * (1024 if plain != text.lower() else 1)


def kind(text: str) -> str:
    if text.lower() not in BYTES:
        raise unknown("KV cache type", text, BYTES)
    return text.lower()


def _switch(text: str) -> str:
    if text not in ("on", "off"):
        raise UsageError(f"--flash-attn is on or off, not '{text}'")
    return text
