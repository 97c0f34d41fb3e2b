"""Convert a Hugging Face folder to an F16 GGUF with llama.cpp's own converter: events as JSON lines on stdout.

    python -P convert_gguf.py --request '{"source": FOLDER, "out": …, "name": …, "llama_cpp": SOURCES}'

Safetensors only; code that comes with a model is never run; nothing is fetched. A tokenizer that
the converter does not know by its hash is accepted where its split rule is exactly one that
llama.cpp has (PRE_TOKENIZERS), and refused otherwise.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "transformers>=5.0",
#     "tokenizers>=0.22",
#     "safetensors>=0.5",
#     "sentencepiece>=0.2",
#     "protobuf>=5.0",
#     "numpy>=2.2.6",
#     "pyyaml>=6.0",
#     "requests>=2.32",
#     "tqdm>=4.66",
# ]
# ///

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import runpy
import shutil
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
#: (split regex, whether merges are ignored for whole words) -> llama.cpp's name, as src/llama-vocab.cpp has it.
PRE_TOKENIZERS = {(LLAMA3, True): "llama-bpe", (QWEN2, False): "qwen2", ("byte level", False): "gpt-2"}
OWN_CODE = "this model needs Python code of its own (auto_map), which is not run here"
GLANCE_S = 0.5


class Failure(Exception):
    """What went wrong, in one line."""


class Events:
    """The real stdout: whatever else is printed in this process goes to stderr."""

    def __init__(self) -> None:
        self.file = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def emit(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), file=self.file, flush=True)


def pre_tokenizer(folder: Path) -> str:
    """llama.cpp's name for the split rule of a tokenizer.json. Raises Failure when it has none that is equal."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise Failure("llama.cpp's converter does not know this tokenizer, and it has no tokenizer.json to judge it by")
    content = json.loads(path.read_text(encoding="utf-8"))
    rule = (split_rule(content.get("pre_tokenizer") or {}), bool((content.get("model") or {}).get("ignore_merges")))
    if content.get("normalizer") is not None or rule not in PRE_TOKENIZERS:
        raise Failure(
            f"llama.cpp's converter does not know this tokenizer, and its split rule is none that llama.cpp has "
            f"(normalizer {content.get('normalizer')}, split {rule[0]!r}, ignore_merges {rule[1]}): "
            f"its tokens would differ, so it is not converted"
        )
    return PRE_TOKENIZERS[rule]


def split_rule(given: dict[str, Any]) -> str:
    """The split regex when that is all a pre-tokenizer does before bytes; "byte level" for GPT-2's built-in one."""
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    steps = given.get("pretokenizers", [given])
    plain = [{key: step[key] for key in bytes_only if key in step} for step in steps]
    if plain == [bytes_only | {"use_regex": True}]:
        return "byte level"
    split = {key: steps[0].get(key) for key in ("type", "behavior", "invert")}
    if plain[1:] == [bytes_only] and split == {"type": "Split", "behavior": "Isolated", "invert": False}:
        return str(steps[0].get("pattern", {}).get("Regex", ""))
    return json.dumps(given, ensure_ascii=False)


def know_exact_splits(folder: Path) -> None:
    """Where the converter gives up on a tokenizer's hash, its split rule is looked at instead."""
    from conversion.base import TextModel  # pyright: ignore[reportMissingImports]

    by_hash = TextModel.get_vocab_base_pre

    def by_hash_or_rule(self: Any, tokenizer: Any) -> str:
        try:
            return by_hash(self, tokenizer)
        except NotImplementedError:
            return pre_tokenizer(folder)

    TextModel.get_vocab_base_pre = by_hash_or_rule


def refuse_remote_code() -> None:
    """The converter asks transformers to trust code from the model's folder: here it never is."""
    import transformers  # pyright: ignore[reportMissingImports]
    from transformers import dynamic_module_utils  # pyright: ignore[reportMissingImports]

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise Failure(OWN_CODE)

    dynamic_module_utils.get_class_in_module = refuse
    for loader in (transformers.AutoTokenizer, transformers.AutoConfig):
        loader.from_pretrained = distrusting(loader.from_pretrained)


def distrusting(load: Any) -> Any:
    def without_trust(*given: Any, **named: Any) -> Any:
        try:
            return load(*given, **(named | {"trust_remote_code": False}))
        except ValueError as error:
            raise Failure(OWN_CODE) if "custom code" in str(error) else error from error

    return without_trust


def watch_stdin(temporary: Path, scratch: Path) -> None:
    """Ends this process when its stdin closes: a cut connection frees the machine."""

    def wait() -> NoReturn:
        while os.read(0, 4096):
            pass
        temporary.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def report_size(events: Events, path: Path, expected: int) -> None:
    """Progress by the size of what is written so far: `expected` bytes are to come."""

    def look() -> NoReturn:
        while True:
            time.sleep(GLANCE_S)
            if path.exists():
                events.emit("progress", done=min(path.stat().st_size, expected), of=expected, what="convert")

    threading.Thread(target=look, daemon=True).start()


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def convert(source: Path, temporary: Path, scratch: Path, name: str, llama_cpp: Path) -> None:
    """Runs convert_hf_to_gguf.py in this process. The folder is shown to it under the model's own name,
    which it writes into the file: the same model gives the same bytes wherever it lies."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    refuse_remote_code()
    know_exact_splits(source)
    scratch.mkdir()
    named = scratch / name.replace("/", "-")
    named.symlink_to(source.resolve(), target_is_directory=True)
    program = llama_cpp / "convert_hf_to_gguf.py"
    sys.argv = [program.name, str(named), "--outtype", "f16", "--outfile", str(temporary), "--model-name", name]
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise Failure(last_error.text or "the converter gave up") from left


class LastError(logging.Handler):
    """The last error that the converter logged: the reason when it just exits."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage().strip() or self.text


last_error = LastError(level=logging.ERROR)


def versions() -> dict[str, str]:
    """Of what is installed, without importing it: the first event comes before anything can fail."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def carry_out(events: Events, request: dict[str, Any]) -> None:
    source, out = Path(request["source"]), Path(request["out"])
    temporary, scratch = (out.with_name(f".{out.name}.{os.getpid()}.{end}") for end in ("tmp", "source"))
    watch_stdin(temporary, scratch)
    expected = sum(part.stat().st_size for part in source.glob("*.safetensors"))
    if not expected:
        raise Failure(f"{source} holds no safetensors")
    report_size(events, temporary, expected)
    logging.getLogger().addHandler(last_error)
    try:
        convert(source, temporary, scratch, request["name"], Path(request["llama_cpp"]))
        fsync(temporary)
        temporary.replace(out)
        fsync(out.parent)
    finally:
        temporary.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request", required=True, type=json.loads)
    request = parser.parse_args().request
    events = Events()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    events.emit("begin", schema=1, clock="monotonic_ns", runner="convert_gguf", versions=versions(),
                system=platform.platform(), pid=os.getpid())  # fmt: skip
    try:
        carry_out(events, request)
    except Exception as error:
        reason = f"{error}" if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        events.emit("end", ok=False, stage="run", error=" ".join(reason.split())[:1000], retryable=False)
        return 1
    events.emit("result", out=request["out"], size=Path(request["out"]).stat().st_size)
    events.emit("end", ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
