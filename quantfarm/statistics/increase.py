"""How much worse a variant's perplexity is than the unquantized model's, on the same chunks of the same text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quantfarm.candidates import Candidate
from quantfarm.statistics.comparable import text_of
from quantfarm.statistics.resample import Z95, figure_loss, has_chunks, paired_errors
from quantfarm.statistics.significance import student

#: Quantizations that count as unquantized, in the order in which they are preferred as the base.
#: HF: the model as it was published.
UNQUANTIZED = ("F16", "BF16", "F32", "HF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase:
    """ln(PPL ÷ base's PPL) in nats, and its standard error (0 where none is known). `width`: half of the 95 % interval
    in standard errors, Student's where the error is of few chunks."""

    nats: float
    error: float
    width: float = Z95

    @property
    def low(self) -> float:
        return self.nats - self.width * self.error

    @property
    def high(self) -> float:
        return self.nats + self.width * self.error

    @property
    def beyond_noise(self) -> bool:
        """Whether the whole 95 % interval is an increase."""
        return self.low > 0

    @property
    def share(self) -> float:
        """PPL ÷ base's PPL - 1: 0.05 is 5 % more perplexity."""
        return math.expm1(self.nats)


def increase(candidate: Candidate, base: Candidate) -> Increase | None:
    """None when a perplexity is missing or they are not of the same chunks of the same text.

    The error is of paired chunks (they share the text's difficulty); without chunks, of both intervals.
    """
    if candidate.value("ppl") is None or base.value("ppl") is None or text_of(candidate) != text_of(base):
        return None
    if has_chunks(candidate):
        nll = np.array([candidate.chunk_nll, base.chunk_nll])
        tokens = np.array(base.chunk_tokens, dtype=np.float64)
        mean = nll.sum(axis=1) / tokens.sum()
        error = float(paired_errors(nll, tokens)[0, 1])
        return Increase(nats=float(mean[0] - mean[1]), error=error, width=student(len(tokens) - 1))
    (own, own_error), (other, other_error) = figure_loss(candidate, "ppl"), figure_loss(base, "ppl")
    return Increase(nats=own - other, error=math.hypot(own_error, other_error))


def _has_perplexity(candidate: Candidate) -> bool:
    return candidate.value("ppl") is not None


def base_of(
    candidates: Sequence[Candidate],
    runtime: str | None = None,
    has: Callable[[Candidate], bool] = _has_perplexity,
) -> Candidate | None:
    """The unquantized candidate that has a perplexity (or what else), of the runtime asked for where there is one."""
    known = [c for c in candidates if c.variant in UNQUANTIZED and has(c)]
    order = sorted(known, key=lambda c: (c.runtime != runtime, UNQUANTIZED.index(c.variant), c.build))
    return order[0] if order else None
