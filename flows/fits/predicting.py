"""The parts of a prediction put together: for a quantization, a context, and a runtime's process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows.fits.asking import Buffers, Said
from flows.fits.process import Process
from quantfarm.memory_model import cache, compute
from quantfarm.memory_model.contexts import BLOCK, Context, Use, full
from quantfarm.memory_model.parts import MIB, Parts
from quantfarm.memory_model.tensors import Tensor, copied_bytes
from quantfarm.nouns import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of one variant. `kind`: the type of most weights; `exact`: by the types of its tensors or its file, else by
    the name of the quantization alone; `made`: the file is there."""

    name: str
    format: str
    mib: float
    kind: str = "F16"
    tensors: Sequence[Tensor] = ()
    bits_per_weight: float = 0.0
    types: Mapping[str, int] = field(default_factory=dict[str, int])
    exact: bool = True
    made: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """`said` is None where llama.cpp could not be asked: the shape alone is known then."""

    shape: Mapping[str, Any]
    said: Said | None
    process: Process | None

    def parts(self, weights: Weights, use: Use) -> Parts | str:
        """By part; or why llama.cpp makes no such context."""
        asked = self.buffers(use.context)
        if asked.refused:
            return asked.refused
        said = self.said is not None
        saved = asked.kv * min(1.0, use.saved / use.context.cells) if use.saved else 0.0
        copies = copied_bytes(weights.tensors, self.process.rearranged) / MIB if self.process else 0.0
        return Parts(
            weights=weights.mib,
            copies=copies,
            kv_cache=asked.kv,
            compute=compute.resident(use, self.shape, weights.kind, asked.compute if said else None) + asked.output,
            process=(self.process.mib if self.process else 0.0) + (self.said.held if self.said else 0.0),
            saved=saved,
        )

    def buffers(self, context: Context) -> Buffers:
        """As llama.cpp said; between two contexts that it was asked about, on the line between them."""
        if self.said is None:
            return Buffers(kv=cache.mib(self.shape, context))
        if context in self.said.buffers:
            return self.said.buffers[context]
        alike = sorted((one.n_ctx, one) for one in self.said.buffers if replace(one, n_ctx=context.n_ctx) == context)
        at = bisect_left([n for n, _ in alike], context.n_ctx)
        if not 0 < at < len(alike):
            return Buffers(kv=cache.mib(self.shape, context))
        (low, below), (high, above) = alike[at - 1], alike[at]
        a, b, share = self.said.buffers[below], self.said.buffers[above], (context.n_ctx - low) / (high - low)
        if a.refused or b.refused:
            return Buffers(refused=a.refused or b.refused)
        return Buffers(
            kv=a.kv + share * (b.kv - a.kv), compute=a.compute + share * (b.compute - a.compute), output=b.output
        )

    def largest(self, weights: Weights, settings: Mapping[str, Scalar], budget_mib: float, most: int) -> int | None:
        """The largest context, in whole blocks of cells, that the budget holds; None where none does."""
        fitting = None
        low, high = 1, max(1, most // BLOCK)
        while low <= high:
            middle = (low + high) // 2
            parts = self.parts(weights, full(middle * BLOCK, settings))
            if isinstance(parts, Parts) and parts.total <= budget_mib:
                fitting, low = middle * BLOCK, middle + 1
            else:
                high = middle - 1
        return fitting
