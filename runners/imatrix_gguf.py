"""An importance matrix with llama.cpp: how much each column of a model's weights matters on a text. Events on stdout.

    python -P imatrix_gguf.py --request '{"source": "F16.gguf", "calibration": "text.txt", "out": …, "chunks": 100}'
    python -P imatrix_gguf.py --request '{"kind": "tokens", "source": …, "calibration": …}'

What llama-imatrix writes with `-b 512 -fa on`: for each matrix of a block the sum of the squares of what it was
multiplied with. https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/imatrix.cpp
Needs llama-cpp-python >= 0.3.36 (which brings numpy). Ends when its stdin closes; `out` is made whole or not at all.
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
import os
import platform
import struct
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any, NoReturn

#: Tokens of a chunk: each is a context of its own.
CHUNK = 512
#: Fewer columns are no text that is read, and llama-imatrix does not look at them.
LEAST_COLUMNS = 16
ALIGNMENT = 32
F32 = 0
events = sys.stdout


class Failure(Exception):
    """What went wrong, in one line, and at which stage."""

    def __init__(self, stage: str, reason: str, retryable: bool = False) -> None:
        super().__init__(reason)
        self.stage, self.retryable = stage, retryable


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}), file=events, flush=True)


# --- the file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ---


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def shape(row: int, rows: int) -> list[int]:
    """As ggml counts dimensions: those of size one at the end are none."""
    return [row, rows] if rows > 1 else [row]


def written(file: IO[bytes], matrices: dict[str, Any], counts: dict[str, Any], dataset: str, chunks: int) -> None:
    """A GGUF of type imatrix, its entries in order of name."""
    u32, string, array = 4, 8, 9
    keys = [
        key("general.type", string, text("imatrix")),
        key("imatrix.datasets", array, struct.pack("<IQ", string, 1) + text(dataset)),
        key("imatrix.chunk_count", u32, struct.pack("<I", chunks)),
        key("imatrix.chunk_size", u32, struct.pack("<I", CHUNK)),
    ]
    head, data = b"", []
    for name in sorted(matrices, key=str.encode):
        for suffix, values in ((".in_sum2", matrices[name]), (".counts", counts[name].astype("<f4").reshape(-1, 1))):
            dimensions = shape(values.shape[1], values.shape[0])
            head += text(name + suffix) + struct.pack("<I", len(dimensions))
            head += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", F32, sum(map(len, data)))
            data.append(padded(values.astype("<f4").tobytes()))
    whole = b"GGUF" + struct.pack("<IQQ", 3, 2 * len(matrices), len(keys)) + b"".join(keys) + head
    file.write(padded(whole))
    file.writelines(data)


# --- what a model multiplies ---


class Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]
#: `struct ggml_object`, which ggml counts to a tensor.
OBJECT = 32


def ggml(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml's that the bindings leave out; the system finds it through libllama's own needs."""
    import llama_cpp.llama_cpp as api

    function = api._lib[name]
    function.restype, function.argtypes = result, list(arguments)
    return function


def plain(name: bytes) -> str:
    """`CUDA0#blk.0.attn_k.weight#0` as `blk.0.attn_k.weight`."""
    parts = name.decode(errors="replace").split("#")
    return parts[1] if len(parts) > 1 else parts[0]


class Collector:
    """Sums of squares by tensor, taken while llama.cpp computes; what goes wrong there is kept for who waits."""

    def __init__(self) -> None:
        import numpy as np

        self.np = np
        self.sums: dict[str, Any] = {}
        self.counts: dict[str, Any] = {}
        self.error: BaseException | None = None
        self._op_name = ggml("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
        self._is_host = ggml("ggml_backend_buffer_is_host", ctypes.c_bool, ctypes.c_void_p)
        self._get = ggml(
            "ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
        )
        self._nbytes = ggml("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)
        if ggml("ggml_tensor_overhead", ctypes.c_size_t)() != ctypes.sizeof(Tensor) + OBJECT:
            raise Failure("start", "this llama-cpp-python lays its tensors out in a way that is not known here")

    def __call__(self, address: int, ask: bool, _: object) -> bool:
        """llama.cpp asks which nodes are wanted, then gives them once they are computed."""
        try:
            node = Tensor.from_address(address)
            op = self._op_name(node.op)
            if ask:
                return op == b"MUL_MAT_ID" or (op == b"MUL_MAT" and self._wanted(node))
            (self._routed if op == b"MUL_MAT_ID" else self._dense)(node)
        except BaseException as error:  # nothing can be raised through C
            self.error = error
            return False
        return True

    def _wanted(self, node: Tensor) -> bool:
        given = node.src[1].contents
        return given.ne[1] >= LEAST_COLUMNS and given.type == F32 and plain(node.src[0].contents.name)[:4] == "blk."

    def _values(self, tensor: Any, dtype: str) -> Any:
        """A tensor in numpy's order of dimensions: the last one runs fastest."""
        size = self._nbytes(ctypes.addressof(tensor))
        held: Any
        if self._is_host(tensor.buffer):
            held = (ctypes.c_char * size).from_address(tensor.data)
        else:
            held = ctypes.create_string_buffer(size)
            self._get(ctypes.addressof(tensor), held, 0, size)
        dimensions, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
        return self.np.ndarray(dimensions, dtype, held, strides=strides)

    def _entry(self, name: str, matrices: int, row: int, counters: int) -> Any:
        if name not in self.sums:
            self.sums[name] = self.np.zeros((matrices, row), "f4")
            self.counts[name] = self.np.zeros(counters, "i8")
        if self.sums[name].shape != (matrices, row) or self.counts[name].size != counters:
            raise Failure("run", f"{name} is multiplied with texts of different shapes")
        return self.sums[name]

    def _add(self, sums: Any, values: Any) -> None:
        """Row after row as llama-imatrix adds them, in float32: the order is part of the result."""
        rows = self.np.concatenate([sums[None, :], values * values])
        sums[:] = self.np.add.reduce(rows, axis=0)

    def _dense(self, node: Tensor) -> None:
        weights, given = node.src[0].contents, node.src[1].contents
        name = plain(weights.name)
        sums = self._entry(name, weights.ne[2] * weights.ne[3], given.ne[0], 1)
        values = self._values(given, "f4")
        for outer in range(given.ne[3]):
            for inner in range(given.ne[2]):
                matrix = (outer % weights.ne[3]) * weights.ne[2] + inner % weights.ne[2]
                self._add(sums[matrix], values[outer, inner])
        self.counts[name] += given.ne[1] * given.ne[2] * given.ne[3] // len(sums)

    def _routed(self, node: Tensor) -> None:
        """A mixture of experts: each row of the text goes to some of the matrices."""
        weights, given, routes = (node.src[n].contents for n in range(3))
        name, experts = plain(weights.name), weights.ne[2]
        sums = self._entry(name, experts, given.ne[0], experts)
        values, chosen = self._values(given, "f4")[0], self._values(routes, "i4")[0, 0]
        for number in range(routes.ne[0]):
            column = values[:, number % given.ne[1]]
            for expert in self.np.unique(chosen[:, number]):
                rows = column[chosen[:, number] == expert]
                self._add(sums[expert], rows)
                self.counts[name][expert] += len(rows)

    def check(self) -> None:
        """Raises Failure for what went wrong, and for sums that are no numbers."""
        if self.error:
            raise self.error
        for name, sums in self.sums.items():
            if not self.np.isfinite(sums).all():
                raise Failure("run", f"{name} was multiplied with what is no number: the model cannot be used")


class Log:
    """llama.cpp's log: its last complaints."""

    def __init__(self) -> None:
        self.problems: deque[str] = deque(maxlen=8)

    def __call__(self, level: int, said: bytes, _: object) -> None:
        if level == 4 and (line := said.decode(errors="replace").strip()):
            self.problems.append(line)

    def why(self, otherwise: str) -> str:
        return self.problems[0] if self.problems else otherwise


class Model:
    """A model that is being looked at while it reads."""

    def __init__(self, path: str, vocabulary_only: bool, log: Log) -> None:
        import llama_cpp.llama_cpp as api

        self.api, self.log = api, log
        if not Path(path).is_file():
            raise Failure("load", f"{path}: no such file")
        params = api.llama_model_default_params()
        params.vocab_only = vocabulary_only
        params.n_gpu_layers = 0  # the same sums on every machine, as far as that goes
        self.handle = api.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            raise Failure("load", f"{path}: {log.why('llama.cpp cannot load it')}")
        self.vocab = api.llama_model_get_vocab(self.handle)

    def tokens(self, data: bytes) -> Any:
        """As llama-imatrix: one newline at the end does not count, special words are plain text."""
        data = data.removesuffix(b"\n")
        room = len(data) + 2
        ids = (ctypes.c_int32 * room)()
        n = self.api.llama_tokenize(self.vocab, data, len(data), ids, room, True, False)
        if n < 0:
            raise Failure("run", f"the text of {len(data)} bytes cannot be tokenised ({n})")
        return ids[:n]

    def read(self, ids: list[int], chunks: int, collector: Collector, threads: int) -> None:
        """Chunk after chunk from an empty context. Raises Failure."""
        api = self.api
        callback = api.ggml_backend_sched_eval_callback(collector)
        params = api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = CHUNK
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1
        params.cb_eval = callback
        context = api.llama_init_from_model(self.handle, params)
        if not context:
            raise Failure("load", self.log.why(f"no context of {CHUNK} tokens could be made"))
        batch = api.llama_batch_init(CHUNK, 0, 1)
        bos = api.llama_vocab_bos(self.vocab) if api.llama_vocab_get_add_bos(self.vocab) else None
        for chunk in range(chunks):
            api.llama_memory_clear(api.llama_get_memory(context), True)
            fill(batch, ids[chunk * CHUNK : (chunk + 1) * CHUNK], bos)
            failed = api.llama_decode(context, batch)
            collector.check()
            if failed:
                raise Failure("run", self.log.why(f"llama.cpp could not read chunk {chunk + 1} ({failed})"))
            emit("progress", done=chunk + 1, of=chunks, what="imatrix")


def fill(batch: Any, ids: list[int], bos: int | None) -> None:
    """All positions have an output: else the last block would see one token of each chunk alone."""
    batch.n_tokens = len(ids)
    for position, token in enumerate(ids):
        batch.token[position] = bos if bos is not None and position == 0 else token
        batch.pos[position] = position
        batch.n_seq_id[position], batch.seq_id[position][0] = 1, 0
        batch.logits[position] = True


# --- one request ---


def watch_stdin(temporary: Path | None) -> None:
    """Ends this process when its stdin closes: a cut connection frees the device."""

    def wait() -> NoReturn:
        while os.read(0, 4096):
            pass
        if temporary:
            temporary.unlink(missing_ok=True)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def calibration(request: dict[str, Any]) -> bytes:
    try:
        return Path(request["calibration"]).read_bytes()
    except OSError as error:
        raise Failure("load", f"{request['calibration']}: {error.strerror}") from error


def enough(model: Model, data: bytes, request: dict[str, Any]) -> list[int]:
    """The text's tokens. Raises Failure for one that has fewer than are needed."""
    ids, needed = model.tokens(data), max(2 * CHUNK, int(request.get("needed_tokens") or 0))
    if len(ids) < needed:
        raise Failure("run", f"the calibration text has {len(ids):,} tokens, and {needed:,} are needed")
    return ids


def settle(temporary: Path, out: Path) -> None:
    """The finished file under its name, safely on disk."""
    for path, act in ((temporary, lambda: temporary.replace(out)), (out.parent, None)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if act:
            act()


def make(request: dict[str, Any], log: Log) -> dict[str, Any]:
    out, data = Path(request["out"]), calibration(request)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    watch_stdin(temporary)
    model = Model(request["source"], False, log)
    ids = enough(model, data, request)
    chunks = min(int(request["chunks"]), len(ids) // CHUNK)
    collector = Collector()
    model.read(ids, chunks, collector, int(request.get("threads") or os.cpu_count() or 1))
    if not collector.sums:
        raise Failure("run", "the model has no blocks of matrices that an importance matrix could speak of")
    try:
        with temporary.open("wb") as file:
            written(file, collector.sums, collector.counts, Path(request["calibration"]).name, chunks)
        settle(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "chunks": chunks,
        "chunk_size": CHUNK,
        "entries": len(collector.sums),
        "partial": sorted(name for name, counts in collector.counts.items() if not counts.all()),
        "text_tokens": len(ids),
        "calibration_sha256": hashlib.sha256(data).hexdigest(),
        "size": out.stat().st_size,
    }


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    import llama_cpp.llama_cpp as api

    log = Log()
    callback = api.llama_log_callback(log)
    api.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        if request.get("kind", "imatrix") == "imatrix":
            return make(request, log)
        watch_stdin(None)
        return {"tokens": len(enough(Model(request["source"], True, log), calibration(request), request))}
    finally:
        api.llama_log_set(api.llama_log_callback(), ctypes.c_void_p(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request", required=True, type=json.loads)
    request = parser.parse_args().request
    import llama_cpp

    versions = {"python": platform.python_version(), "llama-cpp-python": llama_cpp.__version__}
    emit("begin", schema=1, clock="monotonic_ns", runner="imatrix_gguf", versions=versions,
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
