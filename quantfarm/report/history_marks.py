"""What is marked on a history: forks with what changed, and changes with how large they are."""

# pyright: reportUnknownMemberType=false
# (matplotlib's own annotations leave **kwargs untyped)
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from quantfarm.nightly.verdicts import Kind, Verdict
from quantfarm.report.figures import share
from quantfarm.report.palette import CLASSES, INK, MUTED, PAPER
from quantfarm.statistics.changes import ChangePoint
from quantfarm.statistics.series import Night, segments

if TYPE_CHECKING:
    from quantfarm.report.history_plot import History

WORSE, BETTER = CLASSES[3], CLASSES[5]
#: More forks than this are lines without words, but the last ones.
TOLD, LONGEST = 4, 46
#: Kinds of verdicts that stand on a chart, by whether they were confirmed.
CONFIRMED = {Kind.REGRESSION: WORSE, Kind.IMPROVEMENT: BETTER}


def forks(axes: Axes, x: Sequence[int], nights: Sequence[Night], labels: Collection[str]) -> list[int]:
    """A dashed line before the first night of each fork; the words in rows, so that neighbours can be read."""
    found = [part for part in segments(nights, labels) if part.forked]
    low, high = axes.get_xlim()
    for number, part in enumerate(found):
        at = x[part.start] - 0.5
        axes.axvline(at, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        row = number - max(0, len(found) - TOLD)
        if row < 0:
            continue
        right = (at - low) / (high - low) > 0.55  # the words go where there is room
        _beside(axes, at, 0.96 - 0.052 * row, words(part.forked), right=right, away=3, colour=MUTED)
    return [part.start for part in found]


def words(forked: Mapping[str, tuple[str, str]]) -> str:
    """`build 0.3.35 → 0.3.36`; of several, the first and how many more."""
    (name, (was, now)), more = next(iter(forked.items())), len(forked) - 1
    was, now = apart(was, now)
    text = f"{name} {was or '–'} → {now or '–'}"
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text + (f" and {more} more" if more else "")


def apart(was: str, now: str) -> tuple[str, str]:
    """`llama-cpp-python 0.3.35`, `llama-cpp-python 0.3.36`: the second without the words that both begin with."""
    first, second = was.split(), now.split()
    same = 0
    while same < min(len(first), len(second)) - 1 and first[same] == second[same]:
        same += 1
    return was, " ".join(second[same:]) if len(was) + len(now) > LONGEST // 2 else now


def changes(axes: Axes, x: Sequence[int], history: History) -> None:
    """A triangle at each change, down or up; filled where a verdict confirmed it."""
    confirmed = {one.first_bad: one for one in history.verdicts if one.kind in CONFIRMED and one.first_bad}
    index = {night.run: i for i, night in enumerate(history.nights)}
    drawn = {history.nights[one.index].run for one in history.changes}
    for change in history.changes:
        run = history.nights[change.index].run
        _mark(axes, x[change.index], _ratio(change), confirmed.get(run))
    for run, verdict in confirmed.items():
        if run not in drawn and run in index:  # at a fork there is no change point: the rerun found it
            _mark(axes, x[index[run]], verdict.ratio, verdict)


def _ratio(change: ChangePoint) -> float | None:
    return None if change.relative_size is None else 1 + change.relative_size


def _mark(axes: Axes, at: float, ratio: float | None, verdict: Verdict | None) -> None:
    """On the axis at the foot, where no point is; with the size as the reruns (or the nights) say it."""
    hue = CONFIRMED[verdict.kind] if verdict else MUTED
    size = verdict.ratio if verdict and verdict.ratio is not None else ratio
    up = size is not None and size > 1
    axes.scatter(
        [at],
        [0.035],
        s=62,
        marker="^" if up else "v",
        facecolor=hue if verdict else PAPER,
        edgecolor=hue,
        linewidth=1.2,
        transform=axes.get_xaxis_transform(),
        zorder=5,
        clip_on=False,
    )
    text = share(size - 1) if size is not None else ""
    low, high = axes.get_xlim()
    right = (at - low) / (high - low) > 0.85
    said = f"{text} {verdict.kind}" if verdict else text
    _beside(axes, at, 0.035, said, right=right, away=8, colour=INK if verdict else MUTED)


def _beside(axes: Axes, at: float, height: float, text: str, *, right: bool, away: float, colour: str) -> None:
    """Words `away` points beside a place, on paper of their own, so that no line runs through them."""
    axes.annotate(
        text,
        (at, height),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-away if right else away, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=7.5,
        color=colour,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2, "alpha": 0.85},
        zorder=6,
    )
