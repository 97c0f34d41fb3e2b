"""Energy of decoding: J/token = ∫P dt / N over decode (METHOD §4). What the device draws at rest is a part of it.

Power is what stands for the device among the readings (quantfarm.sensors.pick): watts are integrated, counters of
µJ are subtracted, with their wrap. Only where samples cover the time; a gap is no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from quantfarm.metrics.windows import Window, names, series, windows
from quantfarm.nouns import Measurement, Trace
from quantfarm.sensors import pick
from quantfarm.statistics.summary import summarise

#: Samples further apart than this (s) leave a hole; fewer than this many inside do not show what happened.
GAP_S = 2.5
FEWEST = 3
#: Repetitions back to back: so much of the time from the first one's start to the last one's end is decoding.
BACK_TO_BACK = 0.95
#: No device here draws more (W): a counter that says so has been reset.
MOST_W = 20_000.0

Series = Sequence[tuple[int, float]]


def measure(trace: Trace) -> list[Measurement]:
    """energy_per_token (J/token over decode; the remark names the reading) and idle_power (W before the model was
    loaded, apart: it is never subtracted). Nothing of an unfinished trace or without power readings."""
    on_gpu = pick.on_gpu(str(trace.first("loaded").get("backend", "")))
    name = pick.power(names(trace), on_gpu=on_gpu)
    if not trace.finished or not name:
        return []
    # What changes from run to run is no median of repetitions: quantfarm.metrics.sustained.
    decoded = [] if trace.of("sustained") else windows(trace, "decode")
    return [*_per_token(decoded, joules(trace, name), name), *_idle(trace, name)]


def joules(trace: Trace, name: str) -> list[list[tuple[int, float]]]:
    """Energy since the first sample (t, J), in pieces that have no hole: from watts or from a counter of µJ."""
    points = series(trace, name)
    spans = dict(series(trace, name.removesuffix("_uj") + "_range_uj"))
    pieces: list[list[tuple[int, float]]] = [[(points[0][0], 0.0)]] if points else []
    for (t0, v0), (t1, v1) in pairwise(points):
        if t1 == t0:
            continue
        seconds = (t1 - t0) / 1e9
        step = _counted(v0, v1, spans.get(t1), seconds) if name.endswith("_uj") else (v0 + v1) / 2 * seconds
        if step is None or seconds > GAP_S:
            pieces.append([(t1, 0.0)])
        else:
            pieces[-1].append((t1, pieces[-1][-1][1] + step))
    return pieces


def _counted(before: float, now: float, span: float | None, seconds: float) -> float | None:
    """J between two readings of a counter of µJ that goes back to 0 at `span`; None where it was reset."""
    step = now - before
    if step < 0:
        if span is None:
            return None
        step += span
    return step * 1e-6 if 0 <= step * 1e-6 <= MOST_W * seconds else None


def _per_token(decoded: list[Window], pieces: list[list[tuple[int, float]]], name: str) -> list[Measurement]:
    """Each repetition for itself where samples show it; else all of them as one, where they are back to back."""
    each = [energy(pieces, w.began, w.finished) for w in decoded]
    remark = f"reading: {name}"
    known = [e / w.tokens for e, w in zip(each, decoded, strict=True) if e is not None and w.tokens]
    if not known or len(known) < len(decoded):
        whole = as_one(decoded)
        total = energy(pieces, whole.began, whole.finished) if whole else None
        if whole is None or total is None:
            return []
        known, remark = [total / whole.tokens], f"{remark}; over {len(decoded)} repetitions together"
    value = summarise(known).value
    samples = tuple(known)
    return [
        Measurement(
            metric="energy_per_token", value=value, unit="J/token", n=len(known), samples=samples, remark=remark
        )
    ]


def as_one(decoded: list[Window]) -> Window | None:
    """All repetitions as one window, if there is next to nothing between them."""
    if len(decoded) < 2:
        return None
    whole = Window("decode", decoded[0].began, decoded[-1].finished, sum(w.tokens for w in decoded))
    return whole if whole.tokens and sum(w.seconds for w in decoded) >= BACK_TO_BACK * whole.seconds else None


def energy(pieces: list[list[tuple[int, float]]], began: int, finished: int) -> float | None:
    """J from `began` to `finished`; None unless one piece covers all of it, with a few samples inside."""
    for piece in pieces:
        inside = sum(began <= t <= finished for t, _ in piece)
        if piece[0][0] <= began and finished <= piece[-1][0] and inside >= FEWEST:
            return _at(piece, finished) - _at(piece, began)
    return None


def _at(piece: Series, t: int) -> float:
    """Between two samples in proportion to time."""
    for (t0, j0), (t1, j1) in pairwise(piece):
        if t0 <= t <= t1:
            return j0 + (j1 - j0) * (t - t0) / (t1 - t0)
    return piece[0][1]


def _idle(trace: Trace, name: str) -> list[Measurement]:
    """Mean power from the first look to the run's `begin`, where somebody looked before it began."""
    began = trace.first("begin").get("t")
    pieces = [p for p in joules(trace, name) if p[0][0] < p[-1][0]]
    if not isinstance(began, int) or not pieces or pieces[0][0][0] >= began:
        return []
    spent = energy(pieces, pieces[0][0][0], began)
    if spent is None:
        return []
    watts = spent / ((began - pieces[0][0][0]) / 1e9)
    return [Measurement(metric="idle_power", value=watts, unit="W", samples=(watts,), remark=f"reading: {name}")]
