"""Measures a GGUF model with llama.cpp: speed as llama-bench does, TTFT and decode, perplexity and KL divergence.

    python -P llama_cpp.py --request '{"kind": "bench", "model": "m.gguf", ...}'

Prints the events of docs/events.md on stdout and nothing else; stops when its stdin closes.
Requirements: llama-cpp-python >= 0.3.36 (which brings numpy). Run it with `-P`: it is named
like the package that it uses.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-cpp-python>=0.3.36"]
# ///

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import types
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import perf_counter_ns as now  # on Linux and macOS the same clock as time.monotonic_ns
from typing import IO, Any

SCHEMA = 1
C: Any = None  # llama_cpp.llama_cpp, once loaded
np: Any = None  # numpy, once a kind needs it: it would weigh in the memory of the others
MIB = 2**20
CPU_DEVICE = 0  # GGML_BACKEND_DEVICE_TYPE_CPU
BLOCK = 2**18  # float32 values scored at a time: 1 MiB stays in the cache


class Failure(Exception):
    """The cell fails: at which stage, and why in one line."""

    def __init__(self, stage: str, error: str, retryable: bool = False) -> None:
        super().__init__(error)
        self.stage, self.error, self.retryable = stage, " ".join(error.split()), retryable


# ------------------------------------------------------------------ events


class Events:
    """JSON lines on what was stdout; whatever else writes to stdout lands on stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="ascii")
        os.dup2(2, 1)

    def emit(self, event: str, arrays: Mapping[str, Any] | None = None, **fields: Any) -> None:
        head = json.dumps({"event": event, "t": now(), **fields}, allow_nan=False)
        # Nine digits hold a float32 exactly; a nll rounded so moves a perplexity by less than 1e-9.
        lists = (f', "{name}": [{",".join(map("%.9g".__mod__, a.tolist()))}]' for name, a in (arrays or {}).items())
        self._out.write(f"{head[:-1]}{''.join(lists)}}}\n")
        self._out.flush()


unfinished: set[Path] = set()  # files and folders to take away when the process is told to stop


def take_away(path: Path) -> None:
    """The main thread may be writing into a folder meanwhile."""
    for _ in range(40):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
        if not path.exists():
            return
        time.sleep(0.01)


def watch_stdin() -> None:
    """The lifeline: whoever started us holds our stdin open; when it closes, nobody listens any more."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        for path in list(unfinished):
            take_away(path)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


# ------------------------------------------------------------------ memory


def _status_mib(text: str) -> dict[str, float]:
    names = {"VmHWM": "hwm_mib", "VmRSS": "rss_mib", "RssAnon": "rss_anon_mib", "RssFile": "rss_file_mib"}
    pairs = (line.partition(":") for line in text.splitlines())
    return {names[key]: int(value.split()[0]) / 1024 for key, _, value in pairs if key in names}


def _linux_memory() -> dict[str, Any]:
    figures: dict[str, Any] = _status_mib(Path("/proc/self/status").read_text())
    # Fields after the command's name, which may itself hold spaces; majflt is field 12 of proc(5).
    figures["majflt"] = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[9])
    return figures | {"estimated": False}


def _mac_memory(mapped: int) -> dict[str, Any]:
    """`rusage_info_v4` of <sys/resource.h>: a 16-byte uuid, then 64-bit counters."""
    counters = (ctypes.c_uint64 * 64)()
    if ctypes.CDLL(None).proc_pid_rusage(os.getpid(), 4, ctypes.byref(counters)):
        return {}
    pageins, resident, footprint, peak = (counters[2 + i] for i in (4, 6, 7, 28))
    return {
        "hwm_mib": (peak + mapped) / MIB,  # a footprint leaves mapped files out
        "rss_mib": resident / MIB,
        "rss_anon_mib": footprint / MIB,
        "rss_file_mib": mapped / MIB,
        "majflt": pageins,
        "estimated": True,
    }


def memory(mapped: int) -> dict[str, Any]:
    """Our own memory now, in MiB, and its peak since this program was exec'd."""
    if sys.platform == "darwin":
        return _mac_memory(mapped)
    return _linux_memory() if Path("/proc/self/status").exists() else {}


# ------------------------------------------------------------------ the runtime


class Log:
    """llama.cpp's own log: all of it while loading, for what was really set; its last complaints after."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.loading = True
        self.problems: deque[str] = deque(maxlen=8)
        self.callback = C.llama_log_callback(self._take)  # kept: C holds no reference
        C.llama_log_set(self.callback, None)

    def _take(self, level: int, text: bytes, _: object) -> None:
        if level >= 3 or self.loading:  # 3: warning
            line = text.decode(errors="replace").strip()
            if self.loading:
                self.lines.append(line)
            if level == 4 and line:
                self.problems.append(line)

    def found(self, pattern: str) -> list[Any]:
        return re.findall(pattern, "\n".join(self.lines))

    def why(self, otherwise: str) -> str:
        """llama.cpp's first complaint says the cause, later ones only that it failed."""
        return self.problems[0] if self.problems else otherwise


def load_runtime() -> None:
    """Imports the low-level bindings alone: the package's own start pulls in numpy, jinja2 and a
    server's types, 20 MiB that would be counted as the model's."""
    global C  # noqa: PLW0603
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise Failure("start", "llama-cpp-python is not installed here")
    package = types.ModuleType("llama_cpp")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    try:
        C = importlib.import_module("llama_cpp.llama_cpp")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise Failure("start", f"llama-cpp-python cannot be loaded: {error}") from error


def load_numpy() -> None:
    global np  # noqa: PLW0603
    np = importlib.import_module("numpy")


def native(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml's that the bindings leave out; dlsym finds it through libllama's own needs."""
    function = C._lib[name]
    function.restype, function.argtypes = result, list(arguments)
    return function


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    with contextlib.suppress(PackageNotFoundError):
        found["llama-cpp-python"] = version("llama-cpp-python")
    with contextlib.suppress(AttributeError):
        found["ggml"] = native("ggml_version", ctypes.c_char_p)().decode()
    return found


class Threadpool:
    """Threads that live as long as a context, as llama-bench attaches them (polling level 50)."""

    def __init__(self, context: Any, threads: int) -> None:
        device = native("ggml_backend_dev_by_type", ctypes.c_void_p, ctypes.c_int)(CPU_DEVICE)
        self._registry = native("ggml_backend_dev_backend_reg", ctypes.c_void_p, ctypes.c_void_p)(device)
        # ggml fills the structure in; its size is its own affair, so it gets more than it needs.
        settings = ctypes.create_string_buffer(64 * 1024)
        native("ggml_threadpool_params_init", None, ctypes.c_void_p, ctypes.c_int)(settings, threads)
        self._pool = self._function("ggml_threadpool_new", ctypes.c_void_p)(ctypes.addressof(settings))
        if not self._pool:
            raise Failure("load", f"no pool of {threads} threads could be made")
        attach = native("llama_attach_threadpool", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        attach(context, self._pool, None)

    def _function(self, name: str, result: Any) -> Any:
        find = native("ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
        return ctypes.CFUNCTYPE(result, ctypes.c_void_p)(find(self._registry, name.encode()))

    def free(self) -> None:
        self._function("ggml_threadpool_free", None)(self._pool)


# ------------------------------------------------------------------ model and context


def need(request: Mapping[str, Any], name: str) -> Any:
    if request.get(name) is None:
        raise Failure("request", f"the request has no {name}")
    return request[name]


class Model:
    """A loaded model, its vocabulary, and the log of its loading."""

    def __init__(self, request: Mapping[str, Any], log: Log) -> None:
        self.request, self.log, self.path = request, log, str(need(request, "model"))
        layers = int(need(request, "n_gpu_layers"))
        if not Path(self.path).is_file():
            raise Failure("load", f"there is no model file {self.path}")
        if layers > 0 and not C.llama_supports_gpu_offload():
            raise Failure("load", f"{layers} layers were asked for on a GPU: this llama.cpp has no GPU backend")
        params = C.llama_model_default_params()
        params.n_gpu_layers = layers
        params.vocab_only = request.get("kind") == "tokens"
        nothing = (ctypes.c_void_p * 1)(None)  # an empty list of devices, where NULL would mean all
        if layers == 0:
            params.devices = ctypes.cast(nothing, ctypes.c_void_p)
        began = now()
        self.handle = C.llama_model_load_from_file(self.path.encode(), params)
        self.seconds = (now() - began) / 1e9
        if not self.handle:
            raise Failure("load", f"{self.path}: {log.why('llama.cpp cannot load it')}")
        self.vocab = C.llama_model_get_vocab(self.handle)
        self.n_vocab = C.llama_vocab_n_tokens(self.vocab)
        self.adds_bos = bool(C.llama_vocab_get_add_bos(self.vocab))
        self.bos = C.llama_vocab_bos(self.vocab)
        self.mapped = Path(self.path).stat().st_size if "mmap" in self.load_mode else 0

    @property
    def load_mode(self) -> str:
        return (self.log.found(r"\(load_mode = ([^)]+)\)") or ["unknown"])[-1]

    def devices(self) -> list[str]:
        """The device of each layer (the output layer last), as llama.cpp says it assigned them."""
        return [device for _, device in self.log.found(r"layer\s+(\d+) assigned to device ([^,\s]+)")]

    def facts(self) -> dict[str, Any]:
        text = ctypes.create_string_buffer(256)
        C.llama_model_desc(self.handle, text, len(text))
        return {
            "n_params": C.llama_model_n_params(self.handle),
            "size": C.llama_model_size(self.handle),
            "n_vocab": self.n_vocab,
            "n_ctx_train": C.llama_model_n_ctx_train(self.handle),
            "description": text.value.decode(errors="replace"),
            "add_bos": self.adds_bos,
        }

    def tokenise(self, text: bytes) -> array[int]:
        """As llama-perplexity: special tokens added, none parsed from the text."""
        room = len(text) + 2
        ids = (ctypes.c_int32 * room)()
        n = C.llama_tokenize(self.vocab, text, len(text), ids, room, True, False)
        if n < 0:
            raise Failure("run", f"the text of {len(text)} bytes cannot be tokenised ({n})")
        return array("i", ids[:n])


def ggml_type(name: str) -> int:
    """ggml's number of a KV cache type."""
    value = getattr(C, f"GGML_TYPE_{name.upper()}", None)
    if value is None:
        raise Failure("request", f"unknown KV cache type {name!r}")
    return value


class Context:
    """A context with every parameter set, checked against what llama.cpp says is in effect."""

    def __init__(self, model: Model, n_ctx: int, n_seq: int = 1, unified: bool = False) -> None:
        self.model, request = model, model.request
        self.threads = int(need(request, "threads"))
        params = C.llama_context_default_params()
        params.n_ctx, params.n_seq_max = n_ctx, n_seq
        params.n_batch, params.n_ubatch = int(need(request, "n_batch")), int(need(request, "n_ubatch"))
        params.n_threads = params.n_threads_batch = self.threads
        params.flash_attn_type = {"on": 1, "off": 0}.get(need(request, "flash_attn"), -2)
        if params.flash_attn_type == -2:
            raise Failure("request", f"flash_attn is 'on' or 'off', not {request['flash_attn']!r}")
        params.type_k, params.type_v = ggml_type(need(request, "type_k")), ggml_type(need(request, "type_v"))
        params.offload_kqv = params.op_offload = int(request["n_gpu_layers"]) != 0
        params.embeddings = False
        # What sequences share must stay whole, also where a layer looks at a window alone.
        params.kv_unified = params.swa_full = unified
        params.no_perf = True
        before = now()
        model.log.loading, model.log.lines = True, []
        self.handle = C.llama_init_from_model(model.handle, params)
        self.seconds = (now() - before) / 1e9
        if not self.handle:
            raise Failure("load", model.log.why(f"no context of {n_ctx} tokens could be made"))
        self.memory = C.llama_get_memory(self.handle)
        self._pool = Threadpool(self.handle, self.threads)
        self.settings = self._settings()
        model.log.loading = False
        self._check(n_ctx)

    def _settings(self) -> dict[str, Any]:
        """What is in effect, read back from llama.cpp: by its functions, else from its log."""
        log, handle = self.model.log, self.handle
        cache = (log.found(r"K \((\w+)\):.*V \((\w+)\):") or [("unknown", "unknown")])[-1]
        flash = (log.found(r"flash_attn\s*=\s*(\w+)") or ["unknown"])[-1]
        return {
            "n_ctx": C.llama_n_ctx(handle),
            "n_batch": C.llama_n_batch(handle),
            "n_ubatch": C.llama_n_ubatch(handle),
            "n_seq_max": C.llama_n_seq_max(handle),
            "threads": C.llama_n_threads(handle),
            "threads_batch": C.llama_n_threads_batch(handle),
            "flash_attn": {"enabled": "on", "disabled": "off"}.get(flash, flash),
            "type_k": cache[0],
            "type_v": cache[1],
        }

    def _check(self, n_ctx: int) -> None:
        request = self.model.request
        # llama.cpp bounds a batch by the context (as asked for: it rounds that up), a micro-batch by the batch.
        n_batch = min(int(request["n_batch"]), n_ctx)
        asked = {name: request[name] for name in ("threads", "flash_attn", "type_k", "type_v")}
        asked |= {"n_batch": n_batch, "n_ubatch": min(int(request["n_ubatch"]), n_batch)}
        for name, value in asked.items():
            if self.settings[name] != value:
                raise Failure("load", f"{name} {value} was asked for, llama.cpp uses {self.settings[name]}")

    def clear(self, data: bool = False) -> None:
        C.llama_memory_clear(self.memory, data)

    def decode(self, batch: Any) -> None:
        status = C.llama_decode(self.handle, batch)
        if status:
            raise Failure("run", self.model.log.why(f"llama_decode returned {status}"))

    def free(self) -> None:
        C.llama_free(self.handle)
        self._pool.free()


def on_gpu(model: Model) -> tuple[str, int]:
    """The backend in use and how many layers are on a GPU. Fails where fewer are than were asked for."""
    devices = model.devices()
    on = sum(device != "CPU" for device in devices)
    asked = int(model.request["n_gpu_layers"])
    wanted = len(devices) if asked < 0 and C.llama_supports_gpu_offload() else min(max(asked, 0), len(devices))
    if on < wanted:
        raise Failure("load", f"{wanted} layers were asked for on a GPU, llama.cpp put {on} there")
    return "+".join(sorted(set(devices))) or "unknown", on


class Batch:
    """A llama_batch with a fixed layout: only its token ids change.

    `positions` and `sequences` are per token; `outputs` says of which tokens logits are wanted.
    """

    def __init__(self, positions: Sequence[int], sequences: Sequence[int], outputs: Sequence[bool]) -> None:
        self.raw = C.llama_batch_init(len(positions), 0, 1)
        for i, (position, sequence, output) in enumerate(zip(positions, sequences, outputs, strict=True)):
            self.raw.pos[i], self.raw.n_seq_id[i], self.raw.logits[i] = position, 1, output
            self.raw.seq_id[i][0] = sequence
        self.raw.n_tokens = len(positions)

    def fill(self, ids: array[int]) -> None:
        """Puts token ids in; fewer than the layout holds are a shorter batch."""
        ctypes.memmove(self.raw.token, ids.buffer_info()[0], 4 * len(ids))
        self.raw.n_tokens = len(ids)


def prompt_batches(ids: array[int], n_batch: int) -> list[Batch]:
    """A prompt from position 0 in batches; logits for the last token of each batch, as llama-bench."""
    batches: list[Batch] = []
    for start in range(0, len(ids), n_batch):
        part = ids[start : start + n_batch]
        n = len(part)
        batches.append(Batch(range(start, start + n), [0] * n, [i == n - 1 for i in range(n)]))
        batches[-1].fill(part)
    return batches


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """No garbage collection inside a timed section."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Session:
    """A request being answered: the model loaded, contexts made as a kind needs them."""

    def __init__(self, request: Mapping[str, Any], events: Events) -> None:
        self.request, self.events = request, events
        self.model = Model(request, Log())
        self._loaded = False

    def context(self, n_ctx: int, n_seq: int = 1, unified: bool = False) -> Context:
        """A context; with the first one the model counts as loaded. `unified`: sequences share the cells."""
        load_mode, (backend, layers) = self.model.load_mode, ("", 0)
        if not self._loaded:
            backend, layers = on_gpu(self.model)
        context = Context(self.model, n_ctx, n_seq, unified)
        if not self._loaded:
            self._loaded = True
            offload = bool(layers)
            constant = {"n_gpu_layers": layers, "load_mode": load_mode, "op_offload": offload, "offload_kqv": offload}
            constant |= {"swa_full": unified, "kv_unified": unified, "threadpool": "attached", "poll": 50}
            self.events.emit(
                "loaded",
                seconds=self.model.seconds + context.seconds,
                model_seconds=self.model.seconds,
                context_seconds=context.seconds,
                backend=backend,
                settings=context.settings | constant,
                model=self.model.facts(),
            )
            self.memory("loaded")
        return context

    def memory(self, phase: str) -> None:
        self.events.emit("memory", phase=phase, **memory(self.model.mapped))

    def number(self, name: str, least: int = 1) -> int:
        value = need(self.request, name)
        if not isinstance(value, int) or value < least:
            raise Failure("request", f"{name} must be a whole number of at least {least}, not {value!r}")
        return value


# ------------------------------------------------------------------ bench: llama-bench's protocol


class Bench:
    """One test of llama-bench: a prompt of n tokens or n single tokens, at a depth, in a context of its own."""

    def __init__(self, session: Session, phase: str, tokens: int, depth: int) -> None:
        self.session, self.phase, self.tokens, self.depth = session, phase, tokens, depth
        self.context = session.context(tokens + depth)
        self.n_batch = int(session.request["n_batch"])
        self._deep: Any = None  # the KV cache at depth, kept as llama-bench keeps it

    def _ids(self, n: int) -> array[int]:
        """Random tokens; the first of a sequence is BOS where the vocabulary adds it."""
        model = self.session.model
        ids = array("i", (random.randrange(model.n_vocab) for _ in range(n)))  # noqa: S311
        if model.adds_bos:
            ids[0] = model.bos
        return ids

    def _prompt(self, n: int, position: int = 0) -> float:
        batches = prompt_batches(self._ids(n), self.n_batch)
        for batch in batches:
            for i in range(batch.raw.n_tokens):
                batch.raw.pos[i] += position
        with timed():
            began = now()
            for batch in batches:
                self.context.decode(batch.raw)
            C.llama_synchronize(self.context.handle)
            return (now() - began) / 1e9

    def _generate(self, n: int, position: int) -> float:
        ids, batch = self._ids(n), Batch([0], [0], [True]).raw
        handle, decode, synchronize = self.context.handle, C.llama_decode, C.llama_synchronize
        token, place = batch.token, batch.pos
        with timed():
            began = now()
            for i in range(n):
                token[0], place[0] = ids[i], position + i
                if decode(handle, batch):
                    raise Failure("run", self.session.model.log.why("llama_decode failed"))
                synchronize(handle)
            return (now() - began) / 1e9

    def _fill_to_depth(self) -> None:
        handle = self.context.handle
        if self._deep is not None and C.llama_state_seq_set_data(handle, self._deep, len(self._deep), 0):
            return
        self._prompt(self.depth)
        self._deep = (ctypes.c_uint8 * C.llama_state_seq_get_size(handle, 0))()
        C.llama_state_seq_get_data(handle, self._deep, len(self._deep), 0)

    def _once(self) -> float:
        self.context.clear()
        if self.depth:
            self._fill_to_depth()
        run = self._prompt if self.phase == "prefill" else self._generate
        return run(self.tokens, self.depth)

    def run(self, repetitions: int) -> None:
        events = self.session.events
        self.context.clear()
        warm = self._prompt(self.tokens) if self.phase == "prefill" else self._generate(1, 0)
        events.emit("warmup", phase=self.phase, seconds=warm, n_ctx=self.context.settings["n_ctx"])
        done = [(self._once(), now()) for _ in range(repetitions)]
        for i, (value, until) in enumerate(done):  # nothing is written between repetitions: it would wake others
            figures = {"tokens": self.tokens, "depth": self.depth, "seconds": value, "until": until}
            events.emit(self.phase, mode="bench", repetition=i, **figures)
        self.context.free()


def bench(session: Session) -> None:
    depth, repetitions = session.number("n_depth", 0), session.number("repetitions")
    for phase, name in (("prefill", "n_prompt"), ("decode", "n_gen")):
        if tokens := session.number(name, 0):
            Bench(session, phase, tokens, depth).run(repetitions)


# ------------------------------------------------------------------ app: what a person feels

PROSE = (
    "The quick brown fox jumps over the lazy dog while five wizards box and the judge vows to quiz them. "
    "On a clear morning the ferry leaves at seven, crosses the bay in forty minutes and is back before noon. "
)


def prompt_ids(model: Model, n: int) -> tuple[array[int], dict[str, Any]]:
    """The first n tokens of a text that is always the same, and what it took to make them."""
    text = PROSE.encode()
    text *= 1 + n // max(1, len(model.tokenise(text)) - 1)
    began = now()
    ids = model.tokenise(text)
    seconds = (now() - began) / 1e9
    if len(ids) < n:
        raise Failure("run", f"the prompt has {len(ids)} tokens, {n} were asked for")
    ids = ids[:n]
    facts = {"text_sha256": hashlib.sha256(text).hexdigest(), "token_sha256": token_sha256(ids), "seconds": seconds}
    return ids, facts | {"n_tokens": n, "add_bos": model.adds_bos}


def generate(context: Context, prompt: list[Batch], n: int, sampler: Any) -> tuple[int, list[int]]:
    """Greedy, no stop at EOS. The time of submitting, and when each token id was on the host."""
    single, handle, sample = Batch([0], [0], [True]).raw, context.handle, C.llama_sampler_sample
    token, place, position, times = single.token, single.pos, sum(b.raw.n_tokens for b in prompt), [0] * n
    context.clear()
    with timed():
        submit = now()
        for batch in prompt:
            context.decode(batch.raw)
        token[0] = sample(sampler, handle, -1)
        times[0] = now()
        for i in range(1, n):
            place[0] = position + i - 1
            if C.llama_decode(handle, single):
                raise Failure("run", context.model.log.why("llama_decode failed"))
            token[0] = sample(sampler, handle, -1)
            times[i] = now()
    return submit, times


def app(session: Session) -> None:
    n_prompt, n_gen = session.number("n_prompt"), session.number("n_gen")
    repetitions = session.number("repetitions")
    context = session.context(n_prompt + n_gen)
    ids, facts = prompt_ids(session.model, n_prompt)
    session.events.emit("tokens", **facts)
    prompt = prompt_batches(ids, int(session.request["n_batch"]))
    sampler = C.llama_sampler_init_greedy()
    generate(context, prompt, min(2, n_gen), sampler)
    session.events.emit("warmup", phase="app")
    runs = [generate(context, prompt, n_gen, sampler) for _ in range(repetitions)]
    for i, (submit, times) in enumerate(runs):
        seconds = (times[0] - submit) / 1e9
        session.events.emit("prefill", mode="app", repetition=i, tokens=n_prompt, depth=0, seconds=seconds)
        session.events.emit("decode", mode="app", repetition=i, submit=submit, times=times)
    context.free()


# ------------------------------------------------------------------ quality: llama-perplexity's arithmetic


def token_sha256(ids: array[int]) -> str:
    """Of the ids as little-endian int32."""
    little = ids if sys.byteorder == "little" else array("i", ids)
    if little is not ids:
        little.byteswap()
    return hashlib.sha256(little.tobytes()).hexdigest()


class Text:
    """A text cut into disjoint chunks of n_ctx tokens; the second half of each is scored."""

    def __init__(self, session: Session) -> None:
        self.model, self.n_ctx, path = session.model, session.number("n_ctx", 4), str(need(session.request, "text"))
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise Failure("run", f"the text cannot be read: {error}") from error
        self.sha256 = hashlib.sha256(raw).hexdigest()
        began = now()
        self.ids = self.model.tokenise(raw[:-1] if raw.endswith(b"\n") else raw)
        self.seconds = (now() - began) / 1e9
        if len(self.ids) < 2 * self.n_ctx:
            least = f"perplexity needs at least {2 * self.n_ctx} (2 × n_ctx {self.n_ctx})"
            raise Failure("run", f"the text {path} has {len(self.ids)} tokens: {least}")
        wanted = session.request.get("n_chunks")
        self.n_chunks = min(len(self.ids) // self.n_ctx, wanted if wanted else len(self.ids))
        self.first = self.n_ctx // 2  # the position whose logits score the first target
        self.rows = self.n_ctx - 1 - self.first

    def evaluated(self) -> array[int]:
        return self.ids[: self.n_chunks * self.n_ctx]

    def targets(self, chunk: int) -> array[int]:
        start = chunk * self.n_ctx
        return self.ids[start + self.first + 1 : start + self.n_ctx]

    def inputs(self, chunk: int, n: int) -> array[int]:
        """The ids of n chunks; where the vocabulary adds BOS it stands in for the first token of each."""
        ids = self.ids[chunk * self.n_ctx : (chunk + n) * self.n_ctx]
        if self.model.adds_bos:
            for i in range(n):
                ids[i * self.n_ctx] = self.model.bos
        return ids

    def scored_bytes(self) -> int:
        """Bytes of text that the scored tokens stand for."""
        counts: dict[int, int] = {}
        for chunk in range(self.n_chunks):
            for token in self.targets(chunk):
                counts[token] = counts.get(token, 0) + 1
        piece = ctypes.create_string_buffer(1024)
        return sum(
            n * abs(C.llama_token_to_piece(self.model.vocab, token, piece, len(piece), 0, True))
            for token, n in counts.items()
        )

    def facts(self) -> dict[str, Any]:
        """`token_sha256` is of the ids that are evaluated: n_chunks × n_ctx of the n_tokens."""
        return {
            "text_sha256": self.sha256,
            "token_sha256": token_sha256(self.evaluated()),
            "n_tokens": len(self.ids),
            "n_chunks": self.n_chunks,
            "n_ctx": self.n_ctx,
            "add_bos": self.model.adds_bos,
            "bytes": self.scored_bytes(),
            "seconds": self.seconds,
        }


def chunk_logits(session: Session, text: Text) -> Iterator[tuple[int, Any]]:
    """(chunk, logits of shape (rows, n_vocab)) of every chunk, batched as llama-perplexity does at this n_batch.

    The logits are llama.cpp's own buffer: good until the next chunk is asked for.
    """
    n_ctx, n_batch, first = text.n_ctx, session.number("n_batch"), text.first
    if n_batch > n_ctx and n_batch % n_ctx:
        raise Failure("request", f"n_batch {n_batch} must be a multiple of n_ctx {n_ctx}, or below it")
    n_seq = max(1, n_batch // n_ctx)
    context = session.context(n_seq * n_ctx, n_seq)
    if n_batch < n_ctx:
        yield from _in_parts(context, text, n_batch)
        return context.free()
    places = list(range(n_ctx)) * n_seq
    batch = Batch(places, [s for s in range(n_seq) for _ in range(n_ctx)], [p >= first for p in places])
    for start in range(0, text.n_chunks, n_seq):
        n = min(n_seq, text.n_chunks - start)
        batch.fill(text.inputs(start, n))
        context.clear(True)
        context.decode(batch.raw)
        for i in range(n):
            pointer = C.llama_get_logits_ith(context.handle, i * n_ctx + first)
            yield start + i, np.ctypeslib.as_array(pointer, (text.rows, session.model.n_vocab))
    return context.free()


def _in_parts(context: Context, text: Text, n_batch: int) -> Iterator[tuple[int, Any]]:
    """As chunk_logits where a batch holds less than a chunk: logits are gathered part by part."""
    parts = [range(start, min(start + n_batch, text.n_ctx)) for start in range(0, text.n_ctx, n_batch)]
    batches = [Batch(part, [0] * len(part), [p >= text.first for p in part]) for part in parts]
    n_vocab = text.model.n_vocab
    for chunk in range(text.n_chunks):
        ids, gathered = text.inputs(chunk, 1), []
        context.clear(True)
        for part, batch in zip(parts, batches, strict=True):
            batch.fill(ids[part.start : part.stop])
            context.decode(batch.raw)
            if outputs := sum(p >= text.first for p in part):
                gathered.append(np.ctypeslib.as_array(C.llama_get_logits(context.handle), (outputs, n_vocab)).copy())
        yield chunk, np.concatenate(gathered)[: text.rows]


class Rows:
    """Log-softmax of rows of logits, in the float widths that llama-perplexity uses.

    `peak` and `log_sum` (float32) and `sums` (float64, of float32 exponentials): shape (rows,).
    """

    def __init__(self, logits: Any, targets: array[int]) -> None:
        self.logits, self.at = logits, (np.arange(len(targets)), np.frombuffer(targets, dtype=np.int32))
        self.peak = logits.max(axis=1)
        work = logits - self.peak[:, None]
        np.exp(work, out=work)
        self.sums = work.sum(axis=1, dtype=np.float64)
        self.log_sum = np.log(self.sums).astype(np.float32)
        self.target = logits[self.at]

    def nll(self) -> Any:
        """Nats per target, float64: -(logit - peak - ln Σ exp)."""
        return np.log(self.sums) - (self.target - self.peak)

    def divergence(self, base: Any) -> dict[str, Any]:
        """KL divergence to a base whose rows are (scale f32, min f32, u16 log-probabilities), as the tool sums it."""
        scale, least = base[:, :2].copy().view("<f4"), base[:, 2:4].copy().view("<f4")
        log_base = base[:, 4 : 4 + self.logits.shape[1]].astype(np.float32)
        log_base *= scale
        log_base += least
        top = log_base.argmax(axis=1) == self.logits.argmax(axis=1)
        nll, nll_base = self.peak + self.log_sum - self.target, -log_base[self.at]
        terms = log_base - self.logits
        terms += (self.peak + self.log_sum)[:, None]
        terms *= np.where(log_base > np.float32(-16), np.exp(log_base), np.float32(0))
        return {
            "kld": terms.sum(axis=1, dtype=np.float64),
            "same_top": top,
            "dp": np.exp(-nll) - np.exp(-nll_base),
            "nll_base": nll_base,
        }

    def packed(self, width: int) -> Any:
        """Rows of llama-perplexity's base-logits file: scale, min, then log-probabilities in 16 bits."""
        least = np.maximum(self.logits.min(axis=1), self.peak - np.float32(16))
        scale = (self.peak - least) / np.float32(65535)
        head = np.stack([scale, least - self.peak - self.log_sum], axis=1).astype("<f4")
        with np.errstate(divide="ignore"):
            inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
        steps = np.rint(np.maximum(self.logits - least[:, None], 0) * inverse[:, None])
        rows = np.zeros((len(steps), width), dtype="<u2")
        rows[:, :4] = head.view("<u2")
        rows[:, 4 : 4 + self.logits.shape[1]] = steps
        return rows


def blocks(logits: Any, targets: array[int], base: Any = None) -> Iterator[tuple[Rows, Any]]:
    """Rows in groups that stay in the processor's cache."""
    step = max(1, BLOCK // logits.shape[1])
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        yield Rows(logits[part], targets[part]), None if base is None else base[part]


def row_width(n_vocab: int) -> int:
    return 2 * ((n_vocab + 1) // 2) + 4


class Base:
    """The unquantised model's log-probabilities, from a file that llama-perplexity or we wrote."""

    def __init__(self, path: str, text: Text) -> None:
        self.width, self.rows = row_width(text.model.n_vocab), text.rows
        try:
            self._file = Path(path).open("rb")  # noqa: SIM115 (read chunk by chunk)
            size = Path(path).stat().st_size
        except OSError as error:
            raise Failure("run", f"the base logits cannot be read: {error}") from error
        if self._file.read(8) != b"_logits_":
            raise Failure("run", f"{path} is no base-logits file")
        n_ctx, n_vocab, n_chunks = (int(v) for v in np.fromfile(self._file, "<i4", 3))
        if (n_ctx, n_vocab) != (text.n_ctx, text.model.n_vocab):
            ours = f"here n_ctx {text.n_ctx} and {text.model.n_vocab} tokens"
            raise Failure("run", f"{path} is of n_ctx {n_ctx} and a vocabulary of {n_vocab}, {ours}")
        if n_chunks < text.n_chunks:
            raise Failure("run", f"{path} holds {n_chunks} chunks, {text.n_chunks} are wanted")
        if size != 20 + 4 * n_ctx * n_chunks + 2 * self.width * self.rows * n_chunks:
            raise Failure("run", f"{path} is not whole: {size} bytes")
        ids = np.fromfile(self._file, "<i4", n_ctx * n_chunks)
        if not np.array_equal(ids[: text.n_chunks * n_ctx], np.frombuffer(text.evaluated(), np.int32)):
            raise Failure("run", f"{path} was made from another text or tokenizer")

    def next(self) -> Any:
        return np.fromfile(self._file, "<u2", self.rows * self.width).reshape(self.rows, self.width)


def score(logits: Any, targets: array[int], base: Any, write: IO[bytes] | None) -> dict[str, Any]:
    """The figures of one chunk: arrays over its scored tokens."""
    found: dict[str, list[Any]] = {}
    for rows, part in blocks(logits, targets, base):
        figures = {"nll": rows.nll()} | (rows.divergence(part) if part is not None else {})
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
        if write:
            write.write(rows.packed(row_width(logits.shape[1])).tobytes())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def evaluate(session: Session, text: Text, base: Base | None, write: IO[bytes] | None) -> None:
    for chunk, logits in chunk_logits(session, text):
        found = score(logits, text.targets(chunk), base.next() if base else None, write)
        if not all(np.isfinite(values).all() for values in found.values()):
            raise Failure("run", f"chunk {chunk}: the logits are not finite numbers")
        same = {"same_top": int(found.pop("same_top").sum())} if base else {}
        session.events.emit("chunk", found, index=chunk, n=text.rows, **same)


def begin_text(session: Session) -> Text:
    load_numpy()
    if C.llama_vocab_get_add_eos(session.model.vocab):
        raise Failure("run", "the vocabulary adds EOS: llama-perplexity's perplexity is not defined for it")
    text = Text(session)
    session.events.emit("tokens", **text.facts())
    return text


def quality(session: Session) -> None:
    text, path = begin_text(session), session.request.get("base_logits")
    evaluate(session, text, Base(path, text) if path else None, None)


def logits_file(session: Session) -> None:
    text, out = begin_text(session), Path(need(session.request, "out"))
    head = array("i", [text.n_ctx, session.model.n_vocab, text.n_chunks])
    with written_whole(out) as file:
        file.write(b"_logits_" + head.tobytes() + text.evaluated().tobytes())
        evaluate(session, text, None, file)
    session.events.emit("result", out=str(out), size=out.stat().st_size)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is complete and on disk."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            unfinished.add(part)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise Failure("run", f"{path} cannot be written: {error}") from error
    finally:
        for part in list(unfinished):
            part.unlink(missing_ok=True)
            unfinished.discard(part)


def count_tokens(session: Session) -> None:
    """Is the text long enough? Loads the vocabulary alone."""
    session.events.emit("tokens", **Text(session).facts())


# ------------------------------------------------------------------ main

KINDS = {"bench": bench, "app": app, "quality": quality, "logits": logits_file, "tokens": count_tokens}


def clocks() -> dict[str, int]:
    """This moment on the machine's other clocks: what its sensors stamp their looks with."""
    found = {"wall_ns": time.time_ns()}
    if hasattr(time, "CLOCK_BOOTTIME"):
        found["boottime_ns"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return found


def begin(events: Events) -> None:
    """The first event, also where the runtime cannot be loaded."""
    failure, system = None, platform.platform()
    try:
        load_runtime()
        system = f"{system} | {C.llama_print_system_info().decode(errors='replace').strip(' |')}"
    except Failure as error:
        failure = error
    found = versions() if C else {"python": platform.python_version()}
    events.emit(
        "begin",
        schema=SCHEMA,
        clock="monotonic_ns",
        runner="llama_cpp",
        versions=found,
        system=system,
        pid=os.getpid(),
        clocks=clocks(),
    )
    if failure:
        raise failure


def kinds(request: Mapping[str, Any]) -> dict[str, Any]:
    """The kinds of this file, and those of the file that the request names as its `extension`."""
    if not (path := request.get("extension")):
        return KINDS
    spec = importlib.util.spec_from_loader("extension", SourceFileLoader("extension", path))
    assert spec and spec.loader
    extension = sys.modules["extension"] = importlib.util.module_from_spec(spec)  # dataclasses look there
    sys.dont_write_bytecode = True  # the folder is not ours
    try:
        spec.loader.exec_module(extension)
    except OSError as error:
        raise Failure("start", f"the runner's extension cannot be read: {error}") from error
    return KINDS | extension.kinds(sys.modules[__name__])


def answer(text: str, events: Events) -> None:
    begin(events)
    known = KINDS
    try:
        request = json.loads(text)
        known = kinds(request)
        kind = known[request["kind"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failure("request", f"no request of a known kind ({', '.join(known)}): {error}") from error
    C.llama_backend_init()
    session = Session(request, events)
    kind(session)
    session.memory("end")


def main() -> int:
    parser = argparse.ArgumentParser(description="measures a GGUF model with llama.cpp; see docs/events.md")
    parser.add_argument("--request", required=True, help="the request as JSON")
    request = parser.parse_args().request
    events = Events()
    watch_stdin()
    try:
        answer(request, events)
    except Failure as error:
        events.emit("end", ok=False, stage=error.stage, error=error.error, retryable=error.retryable)
        return 1
    except BrokenPipeError:
        return 1
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        events.emit("end", ok=False, stage="run", error=reason, retryable=False)
        return 1
    events.emit("end", ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
