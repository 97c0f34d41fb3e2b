"""Bootstrap draws of a candidate's figures: speed and memory by launch, loss by chunks (documents) shared by all.

Every candidate draws from a generator of its own, seeded by its name, and chunk draws from one seeded by
the text: so a figure's draws do not depend on which other candidates are looked at, or in what order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantfarm.candidates import Candidate
from quantfarm.statistics.margins import Margins

Array = NDArray[np.float64]
#: The axes of a decision besides the loss.
SPEED, MEMORY = "decode_tps", "resident_peak"
#: Half-width of a 95 % normal interval in standard errors.
Z95 = 1.959964


def key(candidate: Candidate) -> str:
    """What tells one candidate from another."""
    c = candidate
    return "|".join((c.device, c.model, c.variant, c.runtime, c.build, c.artifact))


def generator(seed: int, *names: str) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype="<u4").tolist()])


def launch_values(candidate: Candidate, metric: str) -> tuple[float, ...]:
    """The value of each launch; the summary's one where launches were not kept."""
    return candidate.launches.get(metric) or (candidate.figures[metric].value,)


def log_medians(candidate: Candidate, metric: str, draws: int, seed: int) -> Array:
    """ln of the median of launches drawn with replacement. Shape (draws,); constant for one launch."""
    values = np.asarray(launch_values(candidate, metric))
    if len(values) == 1:
        return np.full(draws, math.log(values[0]))
    picks = generator(seed, key(candidate), metric).integers(0, len(values), size=(draws, len(values)))
    ordered, middle = np.sort(values[picks], axis=1), len(values) // 2  # as np.median, several times as fast
    return np.log((ordered[:, middle] + ordered[:, (len(values) - 1) // 2]) / 2)


@dataclass(frozen=True, slots=True)
class Losses:
    """Loss of n candidates (ln PPL or KLD in nats, or the share of wrong answers): estimate (n,), draws (draws, n),
    and how far two must lie apart."""

    estimate: Array
    drawn: Array
    margins: Margins


def losses(candidates: Sequence[Candidate], metric: str, draws: int, seed: int, ses: float) -> Losses:
    """Losses of candidates measured on one text with the same chunks (or all without chunks), or asked the same
    documents; the margin of a pair is `ses` standard errors of its difference: paired where there are pairs."""
    first = candidates[0]
    if metric == "ppl" and has_chunks(first):
        nll, tokens = np.array([c.chunk_nll for c in candidates]), np.array(first.chunk_tokens, dtype=np.float64)
        return _paired_losses(nll, tokens, generator(seed, "chunks", first.text_sha256), draws, ses)
    if documents := documents_of(first, metric):
        wrong = np.array([[not c.items[metric].right[doc] for doc in documents] for c in candidates], dtype=np.float64)
        return _paired_losses(wrong, np.ones(len(documents)), generator(seed, "documents", metric), draws, ses)
    estimate, error = figure_losses(candidates, metric)
    drawn = np.stack([generator(seed, key(c), metric).standard_normal(draws) for c in candidates]).T
    drawn *= error
    drawn += estimate
    return Losses(estimate, drawn, Margins(error[:, None], False, ses))


def has_chunks(candidate: Candidate) -> bool:
    """Whether its perplexity can be resampled: one chunk says nothing about the spread between chunks."""
    return len(candidate.chunk_nll) > 1


def documents_of(candidate: Candidate, metric: str) -> list[str]:
    """Those that its accuracy is of, in one order for all; none for another metric, or where one document says
    nothing about the spread between documents."""
    documents = sorted(candidate.items[metric].right) if metric in candidate.items else []
    return documents if len(documents) > 1 else []


def is_accuracy(metric: str) -> bool:
    """Whether it is the share of right answers, in %: a loss is then what lacks of all."""
    return metric.startswith("acc_")


def figure_losses(candidates: Sequence[Candidate], metric: str) -> tuple[Array, Array]:
    """Estimate and standard error of each loss from its figure and 95 % interval (0 where it has none)."""
    figures = [c.figures[metric] for c in candidates]
    value = np.array([s.value for s in figures])
    low, high = (np.array(end, dtype=np.float64) for end in ([s.low for s in figures], [s.high for s in figures]))
    error = (high - low) / (2 * Z95)  # where there is no interval, None has become NaN
    error[np.isnan(error)] = 0.0
    if is_accuracy(metric):
        return 1 - value / 100, error / 100
    return (np.log(value), error / value) if metric == "ppl" else (value, error)


def figure_loss(candidate: Candidate, metric: str) -> tuple[float, float]:
    """Of one."""
    estimate, error = figure_losses([candidate], metric)
    return float(estimate[0]), float(error[0])


def _paired_losses(summed: Array, sizes: Array, random: np.random.Generator, draws: int, ses: float) -> Losses:
    """Of `summed` losses (n, parts) over parts of so many tokens (or documents) each."""
    even = np.full(len(sizes), 1 / len(sizes))
    counts = random.multinomial(len(sizes), even, size=draws).astype(np.float64)  # one resample for all
    drawn = (counts @ summed.T) / (counts @ sizes)[:, None]
    return Losses(summed.sum(axis=1) / sizes.sum(), drawn, Margins(_residuals(summed, sizes), True, ses))


def paired_errors(nll: Array, tokens: Array) -> Array:
    """Standard error of the difference in mean nll of each pair. `nll` (n, chunks), `tokens` (chunks,) -> (n, n)."""
    return Margins(_residuals(nll, tokens), True, 1.0).matrix()


def _residuals(nll: Array, tokens: Array) -> Array:
    """Of each chunk, such that the length of two candidates' difference is the standard error of their losses'.

    The ratio estimator's, on paired chunks (Cochran, Sampling Techniques, §6.3).
    """
    chunks = len(tokens)
    residuals = (nll - tokens * (nll.sum(axis=1) / tokens.sum())[:, None]) / tokens.sum()
    return residuals * math.sqrt(chunks / (chunks - 1))
