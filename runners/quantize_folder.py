"""What the runners share that make a folder from a Hugging Face folder: loaded by them by its path, run by nobody.

A folder is made whole or not at all: beside its place, as `.NAME.PID.tmp`, looked through, written to disk, renamed.
When stdin closes the process ends within a second and takes what is unfinished with it.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import shutil
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

#: Nothing is fetched, reported or run that is not installed: set before any library is imported.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
#: Weights that run code when they are loaded, and code: never linked, so that no library can find them.
NEVER = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".py", ".so")
#: The safetensors format allows no longer header.
HEADER_LIMIT = 100 * 10**6
INDEX = "model.safetensors.index.json"
#: What belongs to a model beside its weights and config: taken over as it was published.
TAKEN_OVER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja",
              "generation_config.json")  # fmt: skip


class Failure(Exception):
    """What went wrong, in one line, and at which stage."""

    def __init__(self, stage: str, reason: str, retryable: bool = False) -> None:
        super().__init__(reason)
        self.stage, self.retryable = stage, retryable


# --- safetensors: 8 bytes length, a JSON header with type, shape and offsets of each tensor, the data ---


@dataclass(frozen=True)
class Tensor:
    """A tensor as its header tells of it; `start`, `end` are bytes from the beginning of the file."""

    name: str
    dtype: str  # F16, BF16, F32, U8, U32, …
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def tensors(path: Path) -> list[Tensor]:
    """Those of a safetensors file in the order of its data. Raises Failure for one that is not whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else HEADER_LIMIT + 1
        if length > HEADER_LIMIT:
            raise Failure("load", f"{path.name} is no safetensors file ({size} bytes)")
        raw = file.read(length)
    try:
        header = {name: tensor for name, tensor in json.loads(raw).items() if name != "__metadata__"}
        found = [_tensor(name, said, 8 + length) for name, said in header.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure("load", f"{path.name} is truncated or damaged: {size} bytes, no readable header") from error
    promised = max((tensor.end for tensor in found), default=0)
    if size < promised:
        raise Failure("load", f"{path.name} is truncated: {size} bytes, and its header promises {promised}")
    return sorted(found, key=lambda tensor: (tensor.start, tensor.name))


def _tensor(name: str, said: Mapping[str, Any], base: int) -> Tensor:
    first, last = said["data_offsets"]
    return Tensor(name, str(said["dtype"]), tuple(int(n) for n in said["shape"]), base + first, base + last)


# --- what a quantizer is asked, and what it made ---


@dataclass(frozen=True)
class Job:
    """`source`: the model's folder, `made`: the one to fill (not there yet)."""

    request: Mapping[str, Any]
    source: Path
    made: Path
    config: Mapping[str, Any]
    weights: Mapping[str, Sequence[Tensor]]  # by file

    @property
    def quant(self) -> str:
        return str(self.request["quant"])

    @property
    def text(self) -> Mapping[str, Any]:
        """The part of the config that describes the language model."""
        return self.config.get("text_config") or self.config

    def option(self, name: str, default: Any) -> Any:
        """As the user gave it, else the default."""
        given = self.request.get("options", {}).get(name)
        return default if given is None else given

    def given(self, name: str) -> bool:
        return self.request.get("options", {}).get(name) is not None

    def progress(self, done: int, of: int, what: str = "quantize") -> None:
        emit("progress", done=done, of=of, what=what)


@dataclass(frozen=True)
class Made:
    """`label`: what quantized tensors are called; `parts`: how the names of the tensors end that belong to one
    (scales and the like); `fallbacks`: "NAME: INT4 wanted, F16 kept (why)"; `facts`: what else is to be known."""

    label: str
    parts: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def described(folder: Path, job: Job, made: Made) -> dict[str, Any]:
    """The result event: from the files that were written. Raises Failure where they are not whole."""
    files = sorted(folder.glob("*.safetensors"))
    written = [tensor for path in files for tensor in tensors(path)]
    held = sum(tensor.end - tensor.start for tensor in written)
    published = sum(tensor.count for parts in job.weights.values() for tensor in parts)
    if not held or not (folder / "config.json").is_file():
        raise Failure("run", "what was written is no whole model: it lacks its weights or its config.json")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "bits_per_weight": 8 * held / published,
        "types": types(written, made),
        "fallbacks": list(made.fallbacks),
        "facts": config_facts(job) | {"n_params": published, "tensor_bytes": held, "size": size} | dict(made.facts),
    }


def types(written: Iterable[Tensor], made: Made) -> dict[str, int]:
    """Tensor type -> number of tensors; a quantized one and all that belongs to it count as one."""
    names = {tensor.name: tensor.dtype for tensor in written}
    part_of = {name: end for name in names for end in made.parts if name.endswith(end)}
    quantized = {name.removesuffix(end) for name, end in part_of.items()}
    counted: dict[str, int] = {made.label: len(quantized)} if quantized else {}
    for name, dtype in names.items():
        if name not in part_of and name.rpartition(".weight")[0] not in quantized:
            counted[dtype] = counted.get(dtype, 0) + 1
    return counted


def config_facts(job: Job) -> dict[str, Any]:
    """The shape that memory is estimated from; 0 where the config does not say."""
    text = job.text
    heads, width = int(text.get("num_attention_heads") or 0), int(text.get("hidden_size") or 0)
    return {
        "architecture": str(next(iter(job.config.get("architectures") or [""]))),
        "n_layer": int(text.get("num_hidden_layers") or 0),
        "n_embd": width,
        "n_head": heads,
        "n_head_kv": int(text.get("num_key_value_heads") or heads),
        "head_dim": int(text.get("head_dim") or (width // heads if heads else 0)),
        "n_vocab": int(text.get("vocab_size") or 0),
        "n_ctx_train": int(text.get("max_position_embeddings") or 0),
    }


# --- carrying it out ---

_events = sys.stdout


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), file=_events, flush=True)


def events_alone() -> None:
    """Libraries print: what they say on stdout goes to stderr, and stdout is for events."""
    global _events  # noqa: PLW0603 - there is one stdout
    _events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def sweep_up(out: Path) -> None:
    """Removes what killed runs left behind for the same folder."""
    for left in out.parent.glob(f".{out.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Cut:
    """Set once stdin has closed: the watcher alone ends the process then, after it has cleaned up."""

    def __init__(self) -> None:
        self._cut, self._never = threading.Event(), threading.Event()

    def set(self) -> None:
        self._cut.set()

    def hold(self) -> None:
        """Keeps a main thread that lost its folder from ending the process in the middle of the cleaning up."""
        if self._cut.is_set():
            self._never.wait()


def watch_stdin(temporary: Path, cut: Cut) -> None:
    """Ends this process when its stdin closes: a cut connection frees the device."""

    def wait() -> NoReturn:
        while os.read(0, 4096):
            pass
        cut.set()
        pid = f".{os.getpid()}.tmp"
        gone = temporary.with_name(f"{temporary.name.removesuffix(pid)}.gone{pid}")  # nobody finds it to write into
        with contextlib.suppress(OSError):
            temporary.rename(gone)
        for _ in range(40):  # a library that is just saving makes its folder anew, or a file in it
            shutil.rmtree(gone, ignore_errors=True)
            shutil.rmtree(temporary, ignore_errors=True)
            if not (os.path.lexists(gone) or os.path.lexists(temporary)):
                break
            time.sleep(0.01)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def linked(source: Any, folder: Path) -> None:
    """The source's files by their names, whatever the paths that they lie under. Raises Failure."""
    files = {path.name: str(path) for path in Path(source).iterdir()} if isinstance(source, str) else source
    folder.mkdir(parents=True)
    for name, path in files.items():
        if Path(name).name != name or name.startswith("."):
            raise Failure("start", f"a file of a model is called {name!r}")
        if not name.endswith(NEVER):
            (folder / name).symlink_to(Path(path).resolve())


def job_of(request: Mapping[str, Any], temporary: Path) -> Job:
    """The source looked through before any library reads it. Raises Failure."""
    source = temporary / "source"
    try:
        linked(request["source"], source)
        config = json.loads((source / "config.json").read_bytes())
        if not isinstance(config, dict):
            raise Failure("load", "the model's config.json is no JSON object")
        weights = {path.name: tensors(path) for path in sorted(source.glob("model*.safetensors"))}
        if (source / INDEX).exists():
            named = set(json.loads((source / INDEX).read_bytes())["weight_map"].values())
            if missing := sorted(named - set(weights)):
                raise Failure("load", f"the model lacks {', '.join(missing)}, which its {INDEX} names")
    except FileNotFoundError as error:
        raise Failure("load", f"the model lacks {Path(error.filename).name}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Failure("load", f"the model's config.json or {INDEX} is damaged: {error}") from error
    if not any(weights.values()):
        raise Failure("load", "the model has no weights as safetensors (pickles can run code: they are not opened)")
    if given := config.get("quantization_config") or config.get("quantization"):
        how = given.get("quant_method", "quantized") if isinstance(given, dict) else "quantized"
        raise Failure("load", f"the model is quantized already ({how}): quantizing it again would hide the first loss")
    return Job(request, source, temporary / "made", config, weights)


def take_over(job: Job) -> None:
    """The tokenizer's files and their like beside the new weights; what a library wrote of them gives way."""
    for pattern in TAKEN_OVER:
        for path in job.source.glob(pattern):
            shutil.copyfile(path, job.made / path.name)


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(made: Path, out: Path, aside: Path) -> None:
    """The finished folder under its name, safely on disk and readable as any new file is; another there gives way."""
    mask = os.umask(0)
    os.umask(mask)
    for path in made.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        fsync(path)
    fsync(made)
    if out.exists():
        out.rename(aside)
    made.rename(out)
    fsync(out.parent)


def room(folder: Path) -> str:
    """The usual reason for a failed write, where a user looks first."""
    free = os.statvfs(folder)
    return f"{free.f_bavail * free.f_frsize / 2**20:.0f} MiB are free in {folder}"


def carry_out(request: Mapping[str, Any], make: Callable[[Job], Made]) -> dict[str, Any]:
    """Makes `out` whole or not at all. Raises Failure."""
    out, _, _ = Path(request["out"]), request["source"], request["quant"]
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    cut = Cut()
    watch_stdin(temporary, cut)
    try:
        sweep_up(out)
        job = job_of(request, temporary)
        try:
            made = make(job)
            take_over(job)
            result = described(job.made, job, made)
        except Failure:
            raise
        except MemoryError as error:
            raise Failure("run", "it does not fit into memory", retryable=True) from error
        except Exception as error:  # whatever a library raises, a user gets one line
            said = " ".join(str(error).split()) or type(error).__name__
            raise Failure("run", f"it could not be quantized ({said[:600]}); {room(out.parent)}") from error
        settle(job.made, out, temporary / "before")
    finally:
        cut.hold()
        shutil.rmtree(temporary, ignore_errors=True)
        cut.hold()  # what closed meanwhile has another to clean up after it, and cleans itself
    return result


def begin(runner: str, packages: Sequence[str]) -> None:
    """The first event, also where a package is missing, which is then said."""
    versions, missing = {"python": platform.python_version()}, list[str]()
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    about = {"schema": 1, "clock": "monotonic_ns", "runner": runner, "versions": versions}
    emit("begin", **about, system=platform.platform(), pid=os.getpid())
    if missing:
        raise Failure("start", f"{', '.join(missing)}: not installed in {sys.prefix}")


def main(runner: str, packages: Sequence[str], make: Callable[[Job], Made]) -> int:
    """Reads the request from the command line, answers it, and returns the exit status."""
    parser = argparse.ArgumentParser(prog=runner)
    parser.add_argument("--request", required=True, type=json.loads)
    request = parser.parse_args().request
    events_alone()
    os.environ.update(QUIET)
    try:
        begin(runner, packages)
        emit("result", **carry_out(request, make))
    except Failure as error:
        emit("end", ok=False, stage=error.stage, error=str(error), retryable=error.retryable)
        return 1
    except KeyError as error:
        emit("end", ok=False, stage="start", error=f"the request lacks {error}", retryable=False)
        return 1
    except OSError as error:
        why = f"{error.filename or ''}: {error.strerror}; {room(Path(request['out']).parent)}"
        emit("end", ok=False, stage="run", error=why, retryable=True)
        return 1
    emit("end", ok=True)
    return 0
