"""Quantize a GGUF with llama.cpp, or say what is in one: events as JSON lines on stdout.

    python -P quantize_gguf.py --request '{"source": …, "out": …, "quant": "Q4_K_M", "threads": 2}'
    python -P quantize_gguf.py --request '{"kind": "inspect", "source": …}'

`"imatrix": PATH` of a request: the importance matrix (a GGUF, as llama-imatrix writes it) that weights are rounded by.

The result is read from the file that was written, not from what was asked for.
Needs llama-cpp-python >= 0.3.36.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-cpp-python>=0.3.36"]
# ///

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import math
import mmap
import os
import platform
import re
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

#: llama.h, enum llama_ftype: those that are made here.
FTYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
    "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
    "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ4_XS": 30, "BF16": 32,
    "IQ2_XXS": 19, "IQ2_XS": 20, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ2_S": 28, "IQ2_M": 29, "IQ1_M": 31,
}  # fmt: skip
#: Names of file types that are read but not made here.
OTHER_FTYPES = {
    21: "Q2_K_S", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
FTYPE_NAMES = {number: name for name, number in FTYPES.items()} | OTHER_FTYPES
UNQUANTIZED = ("F32", "F16", "BF16")
#: Of so few bits that llama.cpp refuses to make them without an importance matrix.
WITH_IMATRIX = ("IQ2_XXS", "IQ2_XS", "IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ2_S", "IQ2_M", "IQ1_M")
STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\] ")
FALLBACK = re.compile(r"warning: (\S+)\s+- ncols.*required for type\s+(\w+)\).*falling back to\s+(\w+)")
#: Its error can follow on the line of a step that was not finished.
ERROR = re.compile(r"failed to quantize: (.*)|ERROR: (.*)")
#: A tensor that the importance matrix says nothing of; its type is on the line of its step.
WITHOUT = re.compile(r"did not find weights for (\S+)")
events = sys.stdout


class Failure(Exception):
    """What went wrong, in one line, and at which stage."""

    def __init__(self, stage: str, reason: str, retryable: bool = False) -> None:
        super().__init__(reason)
        self.stage, self.retryable = stage, retryable


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), file=events, flush=True)


# --- the file format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ---

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


class Header:
    """The keys and tensors that a GGUF promises. Raises Failure when it does not even hold its header."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data, self.at = data, 0
        if bytes(data[:4]) != b"GGUF":
            raise Failure("load", f"not a GGUF: it begins with {bytes(data[:4])!r}")
        self.at = 4
        version = self.number("<I")
        if version not in (2, 3):
            raise Failure("load", f"GGUF version {version} is not one this program reads (2 or 3)")
        n_tensors, n_keys = self.number("<Q"), self.number("<Q")
        self.keys = {self.text(): self.value(self.number("<I")) for _ in range(n_keys)}
        self.tensors = [self.tensor() for _ in range(n_tensors)]
        alignment = int(self.keys.get("general.alignment", 32))
        self.data_start = -(-self.at // alignment) * alignment

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        length = self.number("<Q")
        if self.at + length > len(self.data):
            raise struct.error("a text reaches beyond the end of the file")
        found = bytes(self.data[self.at : self.at + length])
        self.at += length
        return found.decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """A scalar or a text; of an array its length alone."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array()
        if kind not in SCALARS:
            raise Failure("load", f"a value of unknown type {kind} at byte {self.at}: the header is damaged")
        return self.number(SCALARS[kind])

    def array(self) -> int:
        kind, length = self.number("<I"), self.number("<Q")
        if kind in SCALARS:
            self.at += length * struct.calcsize(SCALARS[kind])
        else:
            for _ in range(length):
                self.value(kind)
        return length

    def tensor(self) -> tuple[str, list[int], int, int]:
        """Name, shape (ggml order), type number, offset from the start of the data."""
        name = self.text()
        shape = [self.number("<Q") for _ in range(self.number("<I"))]
        return name, shape, self.number("<I"), self.number("<Q")


def ggml() -> tuple[ctypes.CDLL, int]:
    """llama.cpp's own tables of types (names and sizes are never copied here), and how many types it has."""
    import llama_cpp
    from llama_cpp._ggml import libggml

    for name, result in (("ggml_type_size", ctypes.c_size_t), ("ggml_blck_size", ctypes.c_int64)):
        getattr(libggml, name).argtypes, getattr(libggml, name).restype = [ctypes.c_int], result
    libggml.ggml_type_name.argtypes, libggml.ggml_type_name.restype = [ctypes.c_int], ctypes.c_char_p
    # The library's mark for "no type given" is the number after its last type.
    return libggml, llama_cpp.llama_model_quantize_default_params().output_tensor_type


def read_header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < 24:
                raise Failure("load", f"{path} is no GGUF: {os.fstat(file.fileno()).st_size} bytes in all")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return Header(data)
    except FileNotFoundError as error:
        raise Failure("load", f"{path}: no such file") from error
    except OSError as error:
        raise Failure("load", f"{path}: {error.strerror}") from error
    except (struct.error, OverflowError, MemoryError) as error:
        size = path.stat().st_size
        raise Failure("load", f"{path} is truncated: {size} bytes, and the header alone is longer") from error


def inspect(path: Path) -> dict[str, Any]:
    """Bits per weight, tensor types and facts of a whole GGUF. Raises Failure for one that is not."""
    try:
        return described(path, read_header(path))
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:  # values of kinds that no model has
        raise Failure("load", f"{path}: its header is damaged ({error})") from error


def described(path: Path, header: Header) -> dict[str, Any]:
    lib, n_types, size = *ggml(), path.stat().st_size
    types: dict[str, int] = {}
    weights = held = promised = 0
    for name, shape, number, offset in header.tensors:
        if number >= n_types or not lib.ggml_blck_size(number):
            raise Failure("load", f"{path}: tensor {name} is of type {number}, which this llama.cpp does not know")
        kind = lib.ggml_type_name(number).decode().upper()
        types[kind] = types.get(kind, 0) + 1
        count = math.prod(shape)
        nbytes = count // lib.ggml_blck_size(number) * lib.ggml_type_size(number)
        weights, held, promised = weights + count, held + nbytes, max(promised, header.data_start + offset + nbytes)
    if size < promised:
        raise Failure("load", f"{path} is truncated: {size} bytes, and its header promises {promised}")
    if not weights:
        raise Failure("load", f"{path} holds no tensors")
    if header.keys.get("split.count", 0) > 1:
        raise Failure("load", f"{path} is one part of {header.keys['split.count']}: merge them with llama-gguf-split")
    return {
        "bits_per_weight": 8 * held / weights,
        "types": types,
        "fallbacks": [],
        "facts": facts(header.keys, weights) | {"tensor_bytes": held, "size": size},
    }


def facts(keys: dict[str, Any], weights: int) -> dict[str, Any]:
    """What a plan and a model card say of a model, from the keys of its GGUF."""
    arch = keys.get("general.architecture", "")
    of = {key.removeprefix(f"{arch}."): value for key, value in keys.items()}
    heads = of.get("attention.head_count")
    width = of.get("embedding_length")
    head_dim = of.get("attention.key_length") or (width // heads if isinstance(heads, int) and heads and width else 0)
    return {
        "architecture": arch,
        "name": keys.get("general.name", ""),
        "file_type": FTYPE_NAMES.get(keys.get("general.file_type", -1), "unknown"),
        "n_params": weights,
        "n_vocab": keys.get("tokenizer.ggml.tokens", of.get("vocab_size", 0)),
        "n_ctx_train": of.get("context_length", 0),
        "n_layer": of.get("block_count", 0),
        "n_embd": width or 0,
        "n_head": heads or 0,
        "n_head_kv": of.get("attention.head_count_kv", heads) or 0,
        "head_dim": head_dim,
        "tokenizer": keys.get("tokenizer.ggml.model", ""),
        "pre_tokenizer": keys.get("tokenizer.ggml.pre", ""),
    }


# --- quantizing ---


class Log:
    """llama.cpp's log: progress from its steps, fall-back types, and its errors."""

    def __init__(self) -> None:
        self.fallbacks: list[str] = []
        self.errors: list[str] = []
        self.without: list[str] = []
        self._line = ""

    def __call__(self, level: int, text: bytes, _: object) -> None:
        del level
        *lines, self._line = (self._line + text.decode("utf-8", errors="replace")).split("\n")
        for line in lines:
            self.line(line)

    def line(self, line: str) -> None:
        if error := ERROR.search(line):
            self.errors.append((error[1] or error[2]).strip())
        elif without := WITHOUT.search(line):
            self.without.append(without[1])
        elif step := STEP.match(line):
            emit("progress", done=int(step[1]), of=int(step[2]), what="quantize")
        elif fallback := FALLBACK.search(line):
            name, wanted, used = fallback.groups()
            self.fallbacks.append(f"{name}: {wanted.upper()} wanted, {used.upper()} used")


# --- importance matrices ---


class ImatrixHeader(Header):
    """Its arrays hold names of texts: they are kept."""

    def array(self) -> Any:
        kind, length = self.number("<I"), self.number("<Q")
        return [self.value(kind) for _ in range(length)]


class Imatrix:
    """What is in an importance matrix, as llama.cpp takes it. Raises Failure for a file that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
            header = ImatrixHeader(data)
            self.entries = self._entries(header, data)
            self.chunks = int(header.keys.get("imatrix.chunk_count", 0))
            self.datasets = [str(name) for name in header.keys["imatrix.datasets"]]
        except OSError as error:
            raise Failure("load", f"{path}: {error.strerror}") from error
        except (Failure, struct.error, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise Failure("load", f"{path} is no importance matrix that llama-imatrix made ({error})") from error
        self.sha256 = hashlib.sha256(data).hexdigest()

    def _entries(self, header: Header, data: bytes) -> dict[str, Any]:
        """By tensor, the mean square of what each column was multiplied with; 1 where nothing was."""
        import numpy as np

        tensors: dict[str, Any] = {}
        for name, shape, number, offset in header.tensors:
            if number != 0:
                raise ValueError(f"{name} is not of type F32")
            rows = np.frombuffer(data, "<f4", math.prod(shape), header.data_start + offset)
            tensors[name] = rows.reshape(-1, shape[0])
        entries: dict[str, Any] = {}
        for name in [name.removesuffix(".in_sum2") for name in tensors if name.endswith(".in_sum2")]:
            sums, counts = tensors[f"{name}.in_sum2"], tensors[f"{name}.counts"].reshape(-1)
            each = sums.reshape(len(counts), -1)
            with np.errstate(divide="ignore", invalid="ignore"):
                mean = each / counts[:, None]
            entries[name] = np.ascontiguousarray(np.where(counts[:, None] > 0, mean, np.float32(1))).reshape(-1)
        if not entries:
            raise ValueError("it has no entries")
        return entries

    def give(self, params: Any) -> list[Any]:
        """Into llama.cpp's parameters, with the keys that llama-quantize writes; what must be kept meanwhile."""
        import llama_cpp.llama_cpp as api

        each = (api.llama_model_imatrix_data * (len(self.entries) + 1))()  # the last one, of zeros, ends it
        for one, (name, values) in zip(each, self.entries.items(), strict=False):
            one.name, one.size = name.encode(), values.size
            one.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        said: dict[str, str | int] = {"file": "imatrix.gguf"}  # not its path: the same matrix gives the same bytes
        if self.datasets:
            said["dataset"] = self.datasets[0]
        said["entries_count"] = len(self.entries)
        if self.chunks > 0:
            said["chunks_count"] = self.chunks
        keys = (api.llama_model_kv_override * (len(said) + 1))()
        for one, (key, value) in zip(keys, said.items(), strict=False):
            one.key = f"quantize.imatrix.{key}".encode()
            if isinstance(value, int):
                one.tag, one.value.val_i64 = api.LLAMA_KV_OVERRIDE_TYPE_INT, value
            else:
                one.tag, one.value.val_str = api.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()[:127]
        params.imatrix = ctypes.cast(each, ctypes.POINTER(api.llama_model_imatrix_data))
        params.kv_overrides = ctypes.cast(keys, ctypes.POINTER(api.llama_model_kv_override))
        return [each, keys]

    def facts(self, without: list[str]) -> dict[str, Any]:
        """`imatrix_without`: the tensors that were quantized though it says nothing of them."""
        return {
            "imatrix_sha256": self.sha256,
            "imatrix_chunks": self.chunks,
            "imatrix_entries": len(self.entries),
            "imatrix_of": self.datasets,
            "imatrix_without": without,
        }


def check(source: Path, quant: str, matrix: Imatrix | None) -> None:
    """Raises Failure for an unknown quant, a source that is quantized already, and a matrix of another model."""
    if quant not in FTYPES:
        raise Failure("start", f"unknown quant {quant}: known are {', '.join(FTYPES)}")
    if quant in WITH_IMATRIX and not matrix:
        raise Failure("start", f"{quant} cannot be made without an importance matrix")
    if matrix and not matrix.entries.keys() & {name for name, *_ in read_header(source).tensors}:
        raise Failure("load", f"the importance matrix {matrix.path} is of another model: it has none of its tensors")
    given = inspect(source)["facts"]["file_type"]
    if given not in UNQUANTIZED:
        raise Failure("load", f"{source} is quantized already ({given}): quantizing it again would hide the first loss")


def quantize(source: Path, out: Path, quant: str, threads: int, matrix: Imatrix | None = None) -> dict[str, Any]:
    """Writes `out`. Raises Failure."""
    import llama_cpp

    check(source, quant, matrix)
    log = Log()
    callback = llama_cpp.llama_log_callback(log)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = FTYPES[quant], threads
    kept = matrix.give(params) if matrix else []
    failed = llama_cpp.llama_model_quantize(bytes(source), bytes(out), ctypes.pointer(params))
    del kept
    if failed:
        said = log.errors[-1] if log.errors else "it said nothing"
        raise Failure("run", f"llama.cpp could not quantize it ({said}); {room(out.parent)}")
    try:  # llama.cpp does not look whether all its writes succeeded: a full disk can leave a short file
        made = inspect(out)
    except Failure as error:
        raise Failure("run", f"what was written is not whole: {error}; {room(out.parent)}") from error
    learnt = matrix.facts(log.without) if matrix else {}
    return made | {"fallbacks": log.fallbacks, "facts": made["facts"] | learnt}


def room(folder: Path) -> str:
    """The usual reason for a failed write, where a user looks first."""
    free = os.statvfs(folder)
    return f"{free.f_bavail * free.f_frsize / 2**20:.0f} MiB are free in {folder}"


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(temporary: Path, out: Path) -> None:
    """The finished file under its name, safely on disk."""
    fsync(temporary)
    temporary.replace(out)
    fsync(out.parent)


def sweep_up(out: Path) -> None:
    """Removes what killed runs left behind for the same file."""
    for left in out.parent.glob(f".{out.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not alive(int(pid)):
            left.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watch_stdin(temporary: Path | None) -> None:
    """Ends this process when its stdin closes: a cut connection frees the device."""

    def wait() -> NoReturn:
        while os.read(0, 4096):
            pass
        if temporary:
            temporary.unlink(missing_ok=True)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    source = Path(request["source"])
    if request.get("kind", "quantize") == "inspect":
        watch_stdin(None)
        return inspect(source)
    out = Path(request["out"])
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    watch_stdin(temporary)
    try:
        sweep_up(out)
        matrix = Imatrix(Path(request["imatrix"])) if request.get("imatrix") else None
        made = quantize(source, temporary, request["quant"], int(request.get("threads") or os.cpu_count() or 1), matrix)
        settle(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request", required=True, type=json.loads)
    request = parser.parse_args().request
    import llama_cpp

    versions = {"python": platform.python_version(), "llama-cpp-python": llama_cpp.__version__}
    emit("begin", schema=1, clock="monotonic_ns", runner="quantize_gguf", versions=versions,
         system=platform.platform(), pid=os.getpid())  # fmt: skip
    try:
        emit("result", **carry_out(request))
    except Failure as error:
        emit("end", ok=False, stage=error.stage, error=str(error), retryable=error.retryable)
        return 1
    except KeyError as error:
        emit("end", ok=False, stage="start", error=f"the request lacks {error}", retryable=False)
        return 1
    except OSError as error:
        emit("end", ok=False, stage="run", error=f"{error.filename or ''}: {error.strerror}", retryable=True)
        return 1
    emit("end", ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
