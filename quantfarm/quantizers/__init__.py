"""Quantizers: how to make a variant. One file and one line here each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from quantfarm import tables
from quantfarm.errors import UsageError, unknown
from quantfarm.nouns import Recipe, Scalar, Trace

TABLE: dict[str, str] = {
    "gguf": "quantfarm.quantizers.gguf:Gguf",
    "hf": "quantfarm.quantizers.hf:Hf",
    "imatrix": "quantfarm.quantizers.imatrix:Imatrix",
    "mlx": "quantfarm.quantizers.mlx:Mlx",
    "awq": "quantfarm.quantizers.awq:Awq",
    "gptq": "quantfarm.quantizers.gptq:Gptq",
    "nf4": "quantfarm.quantizers.nf4:Nf4",
    "rtn": "quantfarm.quantizers.rtn:Rtn",
}
#: The recipe of what is used as it was given.
AS_IS = "as_is"


class Quantizer(Protocol):
    """`quants` are the quantizations it makes, `options` what `+option` of a name it takes, with the defaults;
    `format` is what comes out: one file, or a folder where `folder` says so.

    `source`: what it is made from: "gguf", the model's unquantized GGUF, or "hf", its Hugging Face folder.
    `environment`: the name of the Python environment that `runner` needs; empty: the farm's own interpreter.
    """

    name: str
    format: str
    folder: bool
    quants: tuple[str, ...]
    options: Mapping[str, Scalar]
    source: str
    environment: str
    runner: Path

    def tool(self) -> str:
        """Name and version of the tool: part of every recipe; empty while it is not installed."""
        ...

    def needs(self, recipe: Recipe) -> tuple[str, ...]:
        """What it is made with besides the model: "calibration" (a text), "imatrix" (a file)."""
        ...

    def obstacle(self, facts: Mapping[str, Any]) -> str:
        """Why it cannot do a model, from `architecture` and the like; empty when it can."""
        ...

    def files(self) -> Mapping[str, Path]:
        """What must be on the host that makes it besides the model: the runner, and what the runner loads."""
        ...

    def command(self, recipe: Recipe, files: Mapping[str, str], out: str) -> Sequence[str]:
        """The argument list that makes `out` (paths on the host that runs it).

        `files`: `python` and `runner` where they are not this process's own; `source`, or `source/<name>` of each
        file of a folder; `calibration` and `imatrix` where they are needed.
        """
        ...

    def parse(self, trace: Trace) -> Mapping[str, Any]:
        """`bits_per_weight`, `types`, `fallbacks`, `facts` of what was made, from its trace."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A quantizer whose options do not go with all its quantizations."""

    def check(self, quant: str, options: Mapping[str, Scalar]) -> None:
        """Raises UsageError that says what to ask for instead."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A quantizer whose options say how much of a calibration text it reads."""

    def tokens(self, options: Mapping[str, Scalar], shape: Mapping[str, Any]) -> int:
        """Of a model of that shape (`n_ctx_train` …), at the least."""
        ...


def quantizer(name: str) -> Quantizer:
    """Raises UsageError for an unknown name."""
    return tables.load(TABLE, name, "quantizer")()


def all_quants() -> dict[str, str]:
    """Every quantization that can be asked for, and the quantizer that makes it."""
    return {quant: name for name in TABLE for quant in quantizer(name).quants}


def choices() -> list[str]:
    """What a person chooses from: every quantization, plain and with each option that is given or not."""
    found: list[str] = []
    for made_by in map(quantizer, TABLE):
        marks = ["", *(f"+{key}" for key, value in made_by.options.items() if isinstance(value, bool))]
        found += [quant + mark for quant in made_by.quants for mark in marks]
    return [name for name in found if _can_be_asked(name)]


def _can_be_asked(name: str) -> bool:
    try:
        asked(name)
    except UsageError:
        return False
    return True


def asked(name: str) -> tuple[Quantizer, str, dict[str, Scalar]]:
    """`Q4_K_M+imatrix` or `MLX-4+group_size=32` as (who makes it, the quantization, its options).

    Raises UsageError for what nobody makes, and for options that its quantizer does not take.
    """
    quant, *marks = name.split("+")
    known = all_quants()
    if quant not in known:
        raise unknown("quant", quant, known)
    made_by = quantizer(known[quant])
    options = dict(_option(made_by, quant, mark) for mark in marks)
    if isinstance(made_by, Checked):
        made_by.check(quant, options)
    return made_by, quant, options


def _option(made_by: Quantizer, quant: str, mark: str) -> tuple[str, Scalar]:
    key, given, text = mark.partition("=")
    if key not in made_by.options:
        if not made_by.options:
            raise UsageError(f"{quant} takes no options, and was given +{mark}")
        raise unknown(f"option of {quant}", key, made_by.options)
    return key, _value(quant, key, made_by.options[key], text if given else "true")


def _value(quant: str, key: str, default: Scalar, text: str) -> Scalar:
    """The text as the kind of value that the default is."""
    try:
        match default:
            case bool():
                return {"true": True, "false": False}[text]
            case int():
                return int(text)
            case float():
                return float(text)
            case _:
                return text
    except (ValueError, KeyError) as error:
        kind = "given or not" if isinstance(default, bool) else f"a number, as in {key}={default}"
        raise UsageError(f"{quant}+{key}={text}: {key} is {kind}") from error


def result_of(trace: Trace) -> dict[str, Any]:
    """What a quantizer's trace says of what was made. Raises ValueError when it holds no result."""
    result = trace.first("result")
    if not result:
        raise ValueError("no result event")
    return {
        "bits_per_weight": float(result["bits_per_weight"]),
        "types": dict(result["types"]),
        "fallbacks": tuple(result["fallbacks"]),
        "facts": dict(result["facts"]),
    }


def folder_of(files: Mapping[str, str], name: str) -> dict[str, str]:
    """Of `source/config.json`, … the files of the folder: name -> path."""
    return {key.partition("/")[2]: path for key, path in files.items() if key.startswith(f"{name}/")}
