"""What llama.cpp would need for a model, said by llama.cpp itself: nothing is computed, no weight is read.

    python -P llama_cpp_fits.py --request '{"kind": "types", "model": "m-F16.gguf", "quants": ["Q4_K_M"]}'
    python -P llama_cpp_fits.py --request '{"kind": "buffers", "model": "m.gguf", "contexts": [{"n_ctx": 4096, …}]}'
    python -P llama_cpp_fits.py --request '{"kind": "probe", "out": "folder"}'

`types`: the type and bytes of each tensor by quantization, from a dry run of the quantizer. `buffers`: KV cache and
compute buffers of contexts, made without memory (`no_alloc`), and what the process holds for the model besides.
`probe`: writes a model of almost no weights, `probe.gguf`, and says which types this machine's llama.cpp keeps a
second, rearranged copy of. Events as in docs/events.md; loads its sibling llama_cpp.py.
Requirements: llama-cpp-python >= 0.3.36.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-cpp-python>=0.3.36"]
# ///

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import re
import struct
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

AS_IS = "as_is"
LOAD_INTO_MEMORY = 0  # llama.h, LLAMA_LOAD_MODE_NONE: a mapped model cannot be loaded without memory
TENSOR = re.compile(r"^\[\s*\d+/\s*\d+\]\s+(\S+)\s+- \[([\d, ]+)\], type =\s*(\w+), size =\s*[\d.]+ MiB(.*)$", re.M)
BECOMES = re.compile(r"->\s*[\d.]+ MiB \((\w+)\)")
CACHE = re.compile(r"size =\s*([\d.]+) MiB \(\s*(\d+) cells,\s*(\d+) layers")
COMPUTE = re.compile(r"compute buffer size =\s*([\d.]+) MiB")
OUTPUT = re.compile(r"output buffer size =\s*([\d.]+) MiB")
RECURRENT = re.compile(r"recurrent.*: size =\s*([\d.]+) MiB")
REPACKED = re.compile(r"repack tensor (\S+)")


def sibling(name: str) -> ModuleType:
    """Another runner of this folder, under a name of its own: one is named like the package that it uses."""
    spec = importlib.util.spec_from_file_location(f"{name}_runner", Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


core = sibling("llama_cpp")
MIB = core.MIB


class Log:
    """All that llama.cpp says."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.callback = core.C.llama_log_callback(lambda _, text, __: self.parts.append(text.decode(errors="replace")))
        core.C.llama_log_set(self.callback, None)

    def take(self) -> str:
        """What was said since it was last asked."""
        said, self.parts[:] = "".join(self.parts), []
        return said


# ------------------------------------------------------------------ types: the quantizer's dry run


def types(request: Mapping[str, Any], events: Any, log: Log) -> None:
    """`as_is` is the model's own types."""
    source, quantizer = str(core.need(request, "model")), sibling("quantize_gguf")
    numbers = quantizer.FTYPES | {name: number for number, name in quantizer.OTHER_FTYPES.items()}
    quants = core.need(request, "quants")
    for done, quant in enumerate(quants, 1):
        if quant != AS_IS and quant not in numbers:
            raise core.Failure("request", f"unknown quant {quant}: known are {', '.join(numbers)}")
        events.emit("result", what="types", quant=quant, tensors=dry_run(source, numbers.get(quant), log))
        events.emit("progress", done=done, of=len(quants), what="types")


def dry_run(source: str, ftype: int | None, log: Log) -> list[list[Any]]:
    """[name, shape, type, bytes] of each tensor as the quantizer would write it; None: as they are."""
    params = core.C.llama_model_quantize_default_params()
    params.nthread, params.dry_run, params.only_copy = 1, True, ftype is None
    if ftype is not None:
        params.ftype = ftype
    log.take()
    failed = core.C.llama_model_quantize(source.encode(), b"", ctypes.byref(params))
    said = log.take()
    if failed:
        raise core.Failure("load", first_error(said) or f"the quantizer cannot read {source}")
    return [tensor(*found) for found in TENSOR.findall(said)]


def tensor(name: str, shape: str, given: str, rest: str) -> list[Any]:
    sizes = [int(size) for size in shape.split(",")]
    became = BECOMES.search(rest)
    kind = (became[1] if became else given).upper()
    count = 1
    for size in sizes:
        count *= size
    number = type_number(kind)
    block = core.native("ggml_blck_size", ctypes.c_int64, ctypes.c_int)(number)
    size = core.native("ggml_type_size", ctypes.c_size_t, ctypes.c_int)(number)
    return [name, sizes, kind, count // block * size]


_numbers: dict[str, int] = {}


def type_number(name: str) -> int:
    """ggml's number of a tensor type, by its own table of names."""
    if not _numbers:
        named = core.native("ggml_type_name", ctypes.c_char_p, ctypes.c_int)
        # The library's mark for "no type given" is the number after its last type.
        count = core.C.llama_model_quantize_default_params().output_tensor_type
        _numbers.update({(named(i) or b"").decode().upper(): i for i in range(count)})
    return _numbers[name]


def first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if "error" in line.lower() or "failed" in line.lower()]
    return lines[0] if lines else ""


# ------------------------------------------------------------------ buffers: contexts without memory


def load(path: str, log: Log) -> Any:
    """A model whose weights are not read. Raises Failure."""
    params = core.C.llama_model_default_params()
    params.n_gpu_layers, params.no_alloc, params.load_mode = 0, True, LOAD_INTO_MEMORY
    nothing = (ctypes.c_void_p * 1)(None)
    params.devices = ctypes.cast(nothing, ctypes.c_void_p)
    log.take()
    model = core.C.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise core.Failure("load", f"{path}: {first_error(log.take()) or 'llama.cpp cannot load it'}")
    return model


def buffers(request: Mapping[str, Any], events: Any, log: Log) -> None:
    before = core.memory(0).get("rss_anon_mib", 0.0)
    model = load(str(core.need(request, "model")), log)
    held = core.memory(0).get("rss_anon_mib", 0.0) - before
    said = log.take()
    window = re.search(r"print_info: n_swa\s*=\s*(\d+)", said)
    facts = {
        "n_ctx_train": core.C.llama_model_n_ctx_train(model),
        "n_embd": core.C.llama_model_n_embd(model),
        "n_layer": core.C.llama_model_n_layer(model),
        "n_vocab": core.C.llama_vocab_n_tokens(core.C.llama_model_get_vocab(model)),
        "n_ff": int((re.search(r"print_info: n_ff\s*=\s*(\d+)", said) or ["", "0"])[1]),
        "n_expert": int((re.search(r"print_info: n_expert\s*=\s*(\d+)", said) or ["", "0"])[1]),
        "n_swa": int(window[1]) if window else 0,
    }
    events.emit("result", what="model", held_mib=max(0.0, held), **facts)
    for asked in core.need(request, "contexts"):
        events.emit("result", what="context", asked=asked, **context(model, asked, log))


def context(model: Any, asked: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """MiB of the KV cache (recurrent states too), the compute and the output buffers; where it is refused: why."""
    params = core.C.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = int(asked["n_ctx"]), int(asked["n_batch"]), int(asked["n_ubatch"])
    params.n_threads = params.n_threads_batch = 1
    params.flash_attn_type = {"on": 1, "off": 0}[asked["flash_attn"]]
    params.type_k, params.type_v = core.ggml_type(asked["type_k"]), core.ggml_type(asked["type_v"])
    params.offload_kqv = params.op_offload = params.swa_full = params.kv_unified = params.embeddings = False
    log.take()
    handle = core.C.llama_init_from_model(model, params)
    said = log.take()
    if not handle:
        return {"refused": first_error(said) or "llama.cpp makes no such context"}
    core.C.llama_free(handle)
    caches = [float(size) for size, _, _ in CACHE.findall(said)] + [float(size) for size in RECURRENT.findall(said)]
    return {
        "kv_mib": sum(caches),
        "compute_mib": sum(map(float, COMPUTE.findall(said))),
        "output_mib": sum(map(float, OUTPUT.findall(said))),
    }


# ------------------------------------------------------------------ probe: a model of almost no weights

WIDTH, WORDS = 256, 32
#: llama.h, enum llama_ftype: the type that a pure quantization gives every matrix.
PURE = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 12, "Q4_K": 15, "Q5_K": 17,
        "Q6_K": 18, "IQ4_NL": 25, "IQ3_S": 26, "IQ4_XS": 30}  # fmt: skip


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def probe_model(path: Path) -> None:
    """A llama of one layer and 32 words in F16, its weights zero. Format: ggml's docs/gguf.md."""
    numbers = {"block_count": 1, "context_length": 32768, "embedding_length": WIDTH, "feed_forward_length": WIDTH,
               "attention.head_count": 4, "attention.head_count_kv": 1, "vocab_size": WORDS,
               "rope.dimension_count": WIDTH // 4}  # fmt: skip
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    keys += [text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("no_vocab")]
    keys += [text(f"llama.{name}") + struct.pack("<II", 4, value) for name, value in numbers.items()]
    keys += [text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)]
    small = WIDTH // 4
    matrices = {"token_embd": (WIDTH, WORDS), "output": (WIDTH, WORDS), "blk.0.attn_q": (WIDTH, WIDTH),
                "blk.0.attn_k": (WIDTH, small), "blk.0.attn_v": (WIDTH, small), "blk.0.attn_output": (WIDTH, WIDTH),
                "blk.0.ffn_gate": (WIDTH, WIDTH), "blk.0.ffn_up": (WIDTH, WIDTH),
                "blk.0.ffn_down": (WIDTH, WIDTH)}  # fmt: skip
    vectors = {"output_norm": (WIDTH,), "blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    listing, at = [], 0
    for name, shape in (matrices | vectors).items():
        kind, width = (1, 2) if name in matrices else (0, 4)  # F16, F32
        listing.append(text(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, at))
        at += -(-width * shape[0] * (shape[1] if len(shape) > 1 else 1) // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listing), len(keys)) + b"".join(keys) + b"".join(listing)
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(at))


def repacked(path: Path, log: Log) -> list[str]:
    """Tensors that this machine's llama.cpp copies when it loads a model."""
    params = core.C.llama_model_default_params()
    params.n_gpu_layers = 0
    log.take()
    model = core.C.llama_model_load_from_file(str(path).encode(), params)
    said = log.take()
    if not model:
        raise core.Failure("load", first_error(said) or f"llama.cpp cannot load {path}")
    core.C.llama_model_free(model)
    return REPACKED.findall(said)


def probe(request: Mapping[str, Any], events: Any, log: Log) -> None:
    out = Path(core.need(request, "out")) / "probe.gguf"
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".probe-") as folder:
        core.unfinished.add(Path(folder))
        made = Path(folder) / "model.gguf"
        probe_model(made)
        kinds: list[str] = []
        for kind, ftype in PURE.items():
            params = core.C.llama_model_quantize_default_params()
            params.ftype, params.nthread, params.pure = ftype, 1, True
            changed = Path(folder) / f"{kind}.gguf"
            if core.C.llama_model_quantize(str(made).encode(), str(changed).encode(), ctypes.byref(params)):
                raise core.Failure("run", f"{kind}: {first_error(log.take()) or 'cannot be made'}")
            if "blk.0.attn_q.weight" in repacked(changed, log):
                kinds.append(kind)
        made.replace(out)
    events.emit("result", what="probe", model=str(out), repacked=kinds)


# ------------------------------------------------------------------ main

KINDS = {"types": types, "buffers": buffers, "probe": probe}


def main() -> int:
    parser = argparse.ArgumentParser(description="says what llama.cpp would need for a model")
    parser.add_argument("--request", required=True, type=json.loads)
    request = parser.parse_args().request
    events = core.Events()
    core.watch_stdin()
    try:
        core.load_runtime()
        events.emit("begin", schema=core.SCHEMA, clock="monotonic_ns", runner="llama_cpp_fits",
                    versions=core.versions(), system=platform.platform(), pid=os.getpid())  # fmt: skip
        core.C.llama_backend_init()
        KINDS[request["kind"]](request, events, Log())
    except core.Failure as error:
        events.emit("end", ok=False, stage=error.stage, error=error.error, retryable=error.retryable)
        return 1
    except (KeyError, ValueError, OSError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        events.emit("end", ok=False, stage="run", error=reason, retryable=False)
        return 1
    events.emit("end", ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
