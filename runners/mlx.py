"""Measures a model folder with MLX: speed as llama-bench does, TTFT and decode, perplexity, KL divergence, tasks.

    python -P mlx.py --request '{"kind": "bench", "model": {"config.json": "/…", …}, …}'

Prints the events of docs/events.md on stdout and nothing else; stops when its stdin closes. Run it with `-P`: it is
named like the package that it uses. What is not MLX's lies in runners/shared.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "mlx[cpu]>=0.32; sys_platform == 'linux'",
#   "mlx>=0.32; sys_platform == 'darwin'",
#   "mlx-lm>=0.32",
#   "numpy>=2.0",
# ]
# ///

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import perf_counter_ns as now
from typing import Any

sys.dont_write_bytecode = True  # the folder of what is loaded by its path is not ours
RUNNER = "mlx"
PACKAGES = ("mlx-lm", "mlx", "transformers", "numpy")
MIB = 2**20
mx: Any = None  # mlx.core, once loaded
np: Any = None
session: Any = None  # the files of runners/shared, once loaded
tokenizer: Any = None
#: The names of a KV cache that is not quantized: it has the type that the model computes in.
PLAIN = {"f32": "f32", "f16": "f16", "bf16": "bf16"}
#: The last tokens that a repeat penalty looks at: llama.cpp's own default.
PENALTY_LAST_N = 64
SHORT = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


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
    """Imports MLX with what can only be set before, on the device that is asked for."""
    global mx, np
    threads = str(session.number(request, "threads"))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = threads
    if request.get("compute") == "float32":
        os.environ["MLX_ENABLE_TF32"] = "0"  # else a GPU may multiply float32 with ten bits of mantissa
    try:
        np, mx = importlib.import_module("numpy"), importlib.import_module("mlx.core")
    except (ImportError, OSError) as error:
        raise session.Failure("start", f"MLX cannot be loaded: {error}") from error
    device = session.chosen(request, "device", {"cpu": mx.cpu, "gpu": mx.gpu})
    if device == mx.gpu and not mx.is_available(mx.gpu):
        raise session.Failure("load", "a GPU was asked for: this MLX has none")
    mx.set_default_device(device)  # before mlx_lm makes its stream


def backend() -> str:
    """What computes, by MLX's own word."""
    if mx.default_device().type == mx.cpu:
        return "CPU"
    return "Metal" if mx.metal.is_available() else "CUDA"


class Mlx:
    """A model loaded by mlx_lm."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        began = now()
        self.request = request
        session.chosen(request, "flash_attn", {"on": True})  # MLX has its fused attention alone
        for name in ("type_k", "type_v"):
            session.chosen(request, name, PLAIN)
        self.step_size = min(session.number(request, "n_batch"), session.number(request, "n_ubatch"))
        compute = session.chosen(request, "compute", {"float32": "float32", "model": None})
        config = session.config_of(folder)
        self._check_format(config.get("quantization") or config.get("quantization_config"))
        load_runtime(request)
        self.text = tokenizer.Tokenizer(folder)
        self.model, self.config = self._load(folder)
        self.facts = self._facts()
        if compute:
            self.model.set_dtype(mx.float32)
            mx.eval(self.model.parameters())
        probe = self.model(mx.array([[0]]))
        mx.eval(probe)
        self.n_vocab, self.dtype = probe.shape[-1], str(probe.dtype).rpartition(".")[2]
        if compute and self.dtype != compute:
            raise session.Failure("load", f"{compute} was asked for, the model computes in {self.dtype}")
        self._check_layers()
        self.max_length = int(self.facts["n_ctx_train"])
        self.seconds = (now() - began) / 1e9
        mx.clear_cache()

    def _load(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        utils = importlib.import_module("mlx_lm.utils")
        utils.maybe_set_recommended_wired_limit()
        try:
            return utils.load_model(folder, trust_remote_code=False)
        except (ValueError, TypeError, KeyError, RuntimeError, OSError, AttributeError) as error:
            raise session.Failure("load", f"mlx-lm cannot load it: {error}") from error

    def _check_format(self, method: object) -> None:
        """`mlx` is quantized by MLX, `hf` not at all: another one would be measured under the wrong name."""
        if (asked := self.request.get("format")) and (asked == "mlx") != bool(method):
            raise session.Failure("load", f"the format {asked} was asked for, its config.json says {method}")

    def _check_layers(self) -> None:
        """All layers are on the device or none: MLX does not split a model."""
        asked, layers = int(session.need(self.request, "n_gpu_layers")), len(self.cache())
        wanted = "gpu" if asked < 0 or asked >= layers else "cpu" if asked == 0 else "some"
        if wanted != self.request["device"]:
            raise session.Failure("load", f"{asked} of {layers} layers were asked for on a GPU: MLX is on {backend()}")
        self.layers = layers if wanted == "gpu" else 0

    def _facts(self) -> dict[str, Any]:
        tree = importlib.import_module("mlx.utils").tree_flatten(self.model.parameters())
        config = self.config.get("text_config") or self.config
        quantized = self.config.get("quantization") or {}
        kind = f"{quantized['bits']}-bit, group {quantized['group_size']}" if quantized else "not quantized"
        return {
            "n_params": int(importlib.import_module("mlx_lm.utils").get_total_parameters(self.model)),
            "size": sum(array.nbytes for _, array in tree),
            "n_vocab": int(config["vocab_size"]),
            "n_ctx_train": int(config.get("max_position_embeddings") or 2048),
            "description": f"{self.config['model_type']} {kind}",
            "add_bos": self.text.bos is not None,
        }

    def loaded(self) -> dict[str, Any]:
        settings = {
            **{"n_batch": int(self.request["n_batch"]), "n_ubatch": self.step_size, "flash_attn": "on"},
            **{"type_k": SHORT[self.dtype], "type_v": SHORT[self.dtype], "n_gpu_layers": self.layers},
            "threads": int(self.request["threads"]),
            "threads_of": "BLAS at most: MLX sets its own",
            "compute": self.dtype,
        }
        about = {"seconds": self.seconds, "model_seconds": self.seconds, "context_seconds": 0.0}
        return {**about, "backend": backend(), "settings": settings, "model": self.facts}

    def memory(self) -> dict[str, float]:
        return {"mlx_peak_mib": mx.get_peak_memory() / MIB, "mlx_active_mib": mx.get_active_memory() / MIB}

    def cache(self) -> list[Any]:
        return importlib.import_module("mlx_lm.models.cache").make_prompt_cache(self.model)

    def feed(self, ids: Sequence[int], cache: list[Any]) -> None:
        """As mlx_lm does: all but the last token into the cache, logits for the last alone."""
        prompt = mx.array(ids)[None]
        for start in range(0, len(ids) - 1, self.step_size):
            self.model(prompt[:, start : min(start + self.step_size, len(ids) - 1)], cache=cache)
            mx.eval([layer.state for layer in cache])
        mx.eval(self.model(prompt[:, -1:], cache=cache))

    def step(self, token: int, cache: list[Any]) -> None:
        mx.eval(self.model(mx.array([[token]]), cache=cache))

    def generate(self, ids: Sequence[int], n: int) -> tuple[int, list[int], list[int]]:
        """By mlx_lm's own generator, which computes a token while the one before is read."""
        generate_step = importlib.import_module("mlx_lm.generate").generate_step
        named = {"max_tokens": n, "prompt_cache": self.cache(), "prefill_step_size": self.step_size}
        prompt, times, tokens = mx.array(ids), [0] * n, [0] * n
        with session.timed():
            submit = now()
            for i, (token, _) in enumerate(generate_step(prompt, self.model, **named)):
                times[i], tokens[i] = now(), int(token)
        return submit, times, tokens

    def stream(
        self, ids: Sequence[int], n: int, temperature: float, seed: int, *, top_k: int = 0, top_p: float = 1.0,
        repeat_penalty: float = 1.0,
    ) -> Iterator[int]:  # fmt: skip
        def sampled(logprobs: Any) -> Any:
            return mx.random.categorical(logprobs / temperature)

        mx.random.seed(seed)
        generate_step = importlib.import_module("mlx_lm.generate").generate_step
        samplers = importlib.import_module("mlx_lm.sample_utils")
        named = {"max_tokens": n, "prefill_step_size": self.step_size, "sampler": sampled if temperature > 0 else None}
        if temperature > 0 and ((top_k < self.n_vocab and top_k) or top_p < 1):
            # mlx_lm takes a top_p of 0 for none.
            among = {"top_p": max(top_p, 1e-6), "top_k": top_k if top_k < self.n_vocab else 0}
            named["sampler"] = samplers.make_sampler(temperature, **among)
        if repeat_penalty != 1:
            named["logits_processors"] = samplers.make_logits_processors(None, repeat_penalty, PENALTY_LAST_N)
        for token, _ in generate_step(mx.array(ids), self.model, **named):
            yield int(token)

    def rows(self, sequences: Sequence[Sequence[int]], cache: list[Any] | None, first: int) -> Any:
        logits = self.model(mx.array(sequences), cache=cache)[:, first:].astype(mx.float32)
        found = np.array(logits)
        mx.clear_cache()
        return found

    def _plain(self, cache: list[Any]) -> bool:
        return all(type(layer).__name__ == "KVCache" for layer in cache)

    def kept(self, cache: list[Any], n: int) -> bool:
        if not self._plain(cache):
            return False
        for layer in cache:
            layer.trim(layer.offset - n)
        return True

    def forked(self, cache: list[Any], n: int) -> list[Any] | None:
        if not self._plain(cache):
            return None
        copies = self.cache()
        for copy, layer in zip(copies, cache, strict=True):
            keys, values = (mx.repeat(part[..., : layer.offset, :], n, axis=0) for part in layer.keys_and_values())
            copy.keys, copy.values, copy.offset = keys, values, layer.offset
        return copies


def main() -> int:
    global session, tokenizer
    given = sys.argv[sys.argv.index("--request") + 1 :][:1] if "--request" in sys.argv else []
    try:
        modules = shared("".join(given))
    except OSError as error:
        return lost(error)
    session, tokenizer = modules["session"], modules["tokenizer"]
    engine = modules["engine"]
    kinds = engine.kinds()
    return session.main(RUNNER, PACKAGES, kinds, lambda request, events: engine.answer(request, events, Mlx, kinds))


if __name__ == "__main__":
    sys.exit(main())
