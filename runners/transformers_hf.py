"""Measures a model folder with Hugging Face transformers on PyTorch: speed, perplexity, KL divergence, tasks.

    python -P transformers_hf.py --request '{"kind": "bench", "model": {"config.json": "/…", …}, …}'

Reads the published folder and what llm-compressor, bitsandbytes and our own round-to-nearest make of it. Prints the
events of docs/events.md on stdout and nothing else; stops when its stdin closes. What is not transformers' lies in
runners/shared.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "torch==2.13.0",
#   "transformers>=5.0",
#   "accelerate>=1.10",
#   "compressed-tensors>=0.12",
#   "bitsandbytes>=0.49",
#   "safetensors>=0.6",
#   "numpy>=2.0",
# ]
# ///

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import perf_counter_ns as now
from typing import Any

sys.dont_write_bytecode = True  # the folder of what is loaded by its path is not ours
RUNNER = "transformers_hf"
PACKAGES = ("transformers", "torch", "compressed-tensors", "bitsandbytes", "numpy")
MIB = 2**20
torch: Any = None  # once loaded
session: Any = None  # the files of runners/shared, once loaded
tokenizer: Any = None
speed: Any = None
#: The names of a KV cache that is not quantized: it has the type that the model computes in.
PLAIN = {"f32": "f32", "f16": "f16", "bf16": "bf16"}
SHORT = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
#: The last tokens that a repeat penalty looks at: llama.cpp's own default.
PENALTY_LAST_N = 64
#: Format -> `quant_method` in config.json; None: there is no such method.
METHODS = {"hf": None, "compressed-tensors": "compressed-tensors", "bnb": "bitsandbytes", "rtn": "quantfarm_rtn"}


def shared(request: str) -> dict[str, Any]:
    """The files of runners/shared: where the request says, else beside this one."""
    try:
        paths = dict(json.loads(request)["shared"])
    except (ValueError, KeyError, TypeError):
        paths = {path.stem: str(path) for path in (Path(__file__).parent / "shared").glob("*.py")}
    loader = SourceFileLoader("quantfarm_session", paths.get("session", "the path of session.py is not given"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = sys.modules[loader.name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module.load_shared(paths)


def lost(error: OSError) -> int:
    """Says that a file of runners/shared is not there: nothing of ours is loaded yet that could."""
    at = {"t": now(), "schema": 1, "clock": "monotonic_ns", "runner": RUNNER, "versions": {}}
    end = {"event": "end", "t": now(), "ok": False, "stage": "start", "retryable": False}
    print(json.dumps({"event": "begin", **at}))
    print(json.dumps({**end, "error": f"a part of the runner cannot be read: {error}"}))
    return 1


def load_runtime(request: dict[str, Any]) -> None:
    """Imports PyTorch and sets what is in effect for all of it. Fails where CUDA is asked for and is not there."""
    global torch  # noqa: PLW0603
    threads = session.number(request, "threads")
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise session.Failure("start", f"PyTorch cannot be loaded: {error}") from error
    if session.chosen(request, "device", {"cpu": "cpu", "cuda": "cuda"}) == "cuda" and not torch.cuda.is_available():
        raise session.Failure("load", "a GPU was asked for: this PyTorch has no CUDA device")
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.set_grad_enabled(False)
    if torch.get_num_threads() != threads:
        raise session.Failure("load", f"threads {threads} was asked for, PyTorch uses {torch.get_num_threads()}")


def nvml_mib() -> dict[str, float]:
    """What the driver says that this process holds on GPUs; nothing where it does not say (a container's pid)."""
    asks = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    if not shutil.which(asks[0]):
        return {}
    try:
        said = subprocess.run(asks, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split(",") for line in said.splitlines()]
    own = [float(row[1]) for row in rows if len(row) == 2 and row[0].strip() == str(os.getpid())]
    return {"nvml_mib": sum(own)} if own else {}


def read_zero_points() -> None:
    """Lets transformers read packed zero points (AWQ's): 5.23 compares their shape with that of unpacked ones and
    refuses the folder, where 5.17 read it. Shapes of what is packed are compressed-tensors' business."""
    held = importlib.import_module("transformers.quantizers.quantizer_compressed_tensors").CompressedTensorsHfQuantizer
    asked = held.param_needs_quantization

    def packed(self: Any, model: Any, param_name: str, **more: Any) -> bool:
        return param_name.endswith(".weight_zero_point") or asked(self, model, param_name, **more)

    held.param_needs_quantization = packed


class Transformers:
    """A model loaded by transformers."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        began = now()
        self.request = request
        self.attention = session.chosen(request, "flash_attn", {"on": "sdpa", "off": "eager"})
        for name in ("type_k", "type_v"):
            session.chosen(request, name, PLAIN)
        compute = session.chosen(request, "compute", {"float32": "float32", "model": "auto"})
        self.step_size = min(session.number(request, "n_batch"), session.number(request, "n_ubatch"))
        self.config = session.config_of(folder)
        self._check_format()
        load_runtime(request)
        self.device, self.text = torch.device(request["device"]), tokenizer.Tokenizer(folder)
        self.model = self._load(folder, compute)
        self._check(compute)
        self.max_length = int(getattr(self.plain, "max_position_embeddings", 2048))
        self.facts = self._facts()
        self.seconds = (now() - began) / 1e9

    def _check_format(self) -> None:
        """Fails where the folder is not of the format that is asked for: it would be measured under its name."""
        method = (self.config.get("quantization_config") or {}).get("quant_method")
        asked = self.request.get("format", "hf")
        if asked not in METHODS or METHODS[asked] != method:
            raise session.Failure("load", f"the format {asked} was asked for, its config.json says {method}")

    def _load(self, folder: Path, dtype: str) -> Any:
        if self.request.get("format") == "rtn":
            session.load_by_path("quant_linear", str(session.need(self.request, "quant_linear"))).register()
        if self.request.get("format") == "compressed-tensors":
            read_zero_points()
        transformers = importlib.import_module("transformers")
        model, said = self._called(
            transformers.AutoModelForCausalLM.from_pretrained,
            str(folder),
            dtype=dtype,
            device_map={"": self.request["device"]},
            attn_implementation=self.attention,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
        lost = sorted(map(str, [*said["missing_keys"], *said["mismatched_keys"]]))
        if lost:  # they would hold random numbers
            raise session.Failure("load", f"its weights lack {len(lost)} tensors: {', '.join(lost[:3])}")
        return model.eval()

    def _called(self, load: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return load(*arguments, **named)
        except (ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError, AttributeError) as error:
            raise session.Failure("load", f"transformers cannot load it: {error}") from error

    def _check(self, compute: str) -> None:
        """What is in effect is what was asked for."""
        if compute == "float32":
            self._widen()
        self.plain = self.model.config.get_text_config(decoder=True)
        attention, places = self.model.config._attn_implementation, {p.device.type for p in self.model.parameters()}
        if attention != self.attention:
            raise session.Failure("load", f"{self.attention} attention was asked for, transformers uses {attention}")
        if places != {self.device.type}:
            raise session.Failure("load", f"{self.device.type} was asked for, weights are on {', '.join(places)}")
        probe = self._logits([[0]], None, 0)
        self.n_vocab, self.dtype = probe.shape[-1], str(probe.dtype).rpartition(".")[2]
        if compute == "float32" and self.dtype != compute:
            raise session.Failure("load", f"{compute} was asked for, the model computes in {self.dtype}")
        asked, layers = int(session.need(self.request, "n_gpu_layers")), int(self.plain.num_hidden_layers)
        wanted = "cuda" if asked < 0 or asked >= layers else "cpu" if asked == 0 else "some"
        if wanted != self.device.type:
            raise session.Failure(
                "load", f"{asked} of {layers} layers were asked for on a GPU, with all on {self.device}"
            )

    def _widen(self) -> None:
        """bitsandbytes' layers have a type of their own, and what lies beside them stays as it was saved."""
        for part in self.model.modules():
            if hasattr(part, "compute_dtype"):
                part.compute_dtype, part.compute_type_is_set = torch.float32, True
        if self.model.dtype != torch.float32:
            for held in (*self.model.parameters(), *self.model.buffers()):
                if held.is_floating_point():
                    held.data = held.data.float()

    def _facts(self) -> dict[str, Any]:
        tensors = {t.data_ptr(): t.nbytes for t in (*self.model.parameters(), *self.model.buffers())}
        method = (self.config.get("quantization_config") or {}).get("quant_method") or "not quantized"
        return {
            "n_params": self._n_params(),
            "size": sum(tensors.values()),
            "n_vocab": int(self.plain.vocab_size),
            "n_ctx_train": self.max_length,
            "description": f"{self.model.config.model_type} {method}",
            "add_bos": self.text.bos is not None,
        }

    def _n_params(self) -> int:
        """Weights of the model as published: scales and the like are none, and two packed into a byte are two."""
        if "quantization_config" not in self.config:
            return int(self.model.num_parameters())
        transformers, config = importlib.import_module("transformers"), copy.deepcopy(self.model.config)
        del config.quantization_config
        with torch.device("meta"):
            published = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        return int(published.num_parameters())

    def _held(self) -> str:
        """How the weights are held. transformers computes with those of compressed-tensors only once they are
        unpacked, all of them and for good: their memory and speed are those of the type that is computed in."""
        packed = any("packed" in name for name, _ in (*self.model.named_parameters(), *self.model.named_buffers()))
        return "as stored" if self.request.get("format") != "compressed-tensors" or packed else "unpacked at loading"

    def loaded(self) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        settings = {
            **{"n_batch": int(self.request["n_batch"]), "n_ubatch": self.step_size},
            **{"flash_attn": self.request["flash_attn"], "attention": self.attention, "compute": self.dtype},
            **{"type_k": SHORT[self.dtype], "type_v": SHORT[self.dtype], "threads": torch.get_num_threads()},
            "n_gpu_layers": int(self.plain.num_hidden_layers) if cuda else 0,
            "weights": self._held(),
        }
        about = {"seconds": self.seconds, "model_seconds": self.seconds, "context_seconds": 0.0}
        name = f"CUDA: {torch.cuda.get_device_name()}" if cuda else "CPU"
        return {**about, "backend": name, "settings": settings, "model": self.facts}

    def memory(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        allocated, reserved = torch.cuda.max_memory_allocated() / MIB, torch.cuda.max_memory_reserved() / MIB
        return {"cuda_allocated_peak_mib": allocated, "cuda_reserved_peak_mib": reserved, **nvml_mib()}

    def cache(self) -> Any:
        return importlib.import_module("transformers").DynamicCache(config=self.model.config)

    def _logits(self, sequences: Sequence[Sequence[int]], cache: Any, first: int) -> Any:
        """Logits of the positions from `first` on; computed when they are read."""
        ids = torch.tensor(sequences, device=self.device)
        keep = ids.shape[1] - first
        use = cache is not None
        return self.model(input_ids=ids, past_key_values=cache, use_cache=use, logits_to_keep=keep).logits

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def feed(self, ids: Sequence[int], cache: Any) -> None:
        for start in range(0, len(ids), self.step_size):
            part = ids[start : start + self.step_size]
            self._logits([part], cache, len(part) - 1)
        self._wait()

    def step(self, token: int, cache: Any) -> None:
        self._logits([[token]], cache, 0)
        self._wait()

    def generate(self, ids: Sequence[int], n: int) -> tuple[int, list[int], list[int]]:
        cache, times, tokens = self.cache(), [0] * n, [0] * n
        head, last = ids[: (len(ids) - 1) // self.step_size * self.step_size], ids[:]
        with session.timed():
            submit = now()
            if head:
                self.feed(head, cache)
                last = ids[len(head) :]
            tokens[0] = int(self._logits([last], cache, len(last) - 1)[0, -1].argmax())
            times[0] = now()
            for i in range(1, n):
                tokens[i] = int(self._logits([[tokens[i - 1]]], cache, 0)[0, -1].argmax())
                times[i] = now()
        return submit, times, tokens

    def stream(
        self, ids: Sequence[int], n: int, temperature: float, seed: int, *, top_k: int = 0, top_p: float = 1.0,
        repeat_penalty: float = 1.0,
    ) -> Iterator[int]:  # fmt: skip
        drawn = temperature > 0
        chosen, told = _among(top_k if drawn else 0, top_p if drawn else 1.0, repeat_penalty), list(ids)
        cache, dice = self.cache(), torch.Generator().manual_seed(seed)
        head = (len(ids) - 1) // self.step_size * self.step_size
        if head:
            self.feed(ids[:head], cache)
        following = list(ids[head:])
        for _ in range(n):
            logits = self._logits([following], cache, len(following) - 1)[0, -1]
            for one in chosen:
                logits = one(torch.tensor([told[-PENALTY_LAST_N:]], device=logits.device), logits[None].float())[0]
            if temperature > 0:
                odds = torch.softmax(logits.float().cpu() / temperature, dim=-1)
                following = [int(torch.multinomial(odds, 1, generator=dice))]
            else:
                following = [int(logits.argmax())]
            told.append(following[0])
            yield following[0]

    def generate_many(self, prompts: Sequence[Sequence[int]], n: int) -> tuple[int, list[int]]:
        """Greedy, of several prompts at once: the time of submitting, and when each step's ids were on the host."""
        cache, times = self.cache(), [0] * n
        with session.timed():
            submit = now()
            following = self._logits(prompts, cache, len(prompts[0]) - 1)[:, -1:].argmax(-1).tolist()
            times[0] = now()
            for i in range(1, n):
                following = self._logits(following, cache, 0)[:, -1:].argmax(-1).tolist()
                times[i] = now()
        return submit, times

    def rows(self, sequences: Sequence[Sequence[int]], cache: Any, first: int) -> Any:
        return self._logits(sequences, cache, first).float().cpu().numpy()

    def _plain(self, cache: Any) -> bool:
        return all(type(layer).__name__ == "DynamicLayer" for layer in cache.layers)

    def kept(self, cache: Any, n: int) -> bool:
        if not self._plain(cache):
            return False
        if (over := cache.get_seq_length() - n) > 0:
            cache.crop(-over)
        return True

    def forked(self, cache: Any, n: int) -> Any:
        if not self._plain(cache):
            return None
        copy = self.cache()
        for i, layer in enumerate(cache.layers):
            copy.update(layer.keys.repeat_interleave(n, dim=0), layer.values.repeat_interleave(n, dim=0), i)
        return copy


def _among(top_k: int, top_p: float, repeat_penalty: float) -> list[Any]:
    """transformers' own processors, in llama.cpp's order; what would change nothing is left out."""
    made = importlib.import_module("transformers.generation.logits_process")
    found: list[Any] = []
    if repeat_penalty != 1:
        found.append(made.RepetitionPenaltyLogitsProcessor(repeat_penalty))
    if top_k > 0:
        found.append(made.TopKLogitsWarper(top_k))
    if top_p < 1:
        found.append(made.TopPLogitsWarper(max(top_p, 1e-6)))
    return found


def main() -> int:
    global session, tokenizer, speed
    given = sys.argv[sys.argv.index("--request") + 1 :][:1] if "--request" in sys.argv else []
    try:
        modules = shared("".join(given))
    except OSError as error:
        return lost(error)
    session, tokenizer, speed = modules["session"], modules["tokenizer"], modules["speed"]
    engine = modules["engine"]
    kinds = engine.kinds() | {"batch": speed.batch}
    can = lambda request, events: engine.answer(request, events, Transformers, kinds)  # noqa: E731
    return session.main(RUNNER, PACKAGES, kinds, can)


if __name__ == "__main__":
    sys.exit(main())
