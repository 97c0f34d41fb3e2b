"""Labels beside points, clear of each other, of the points and of the lines: pure geometry in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

#: Directions tried for each label, the pleasant ones first; degrees counter-clockwise from the right.
DIRECTIONS = (90, 270, 45, 315, 135, 225, 0, 180, 65, 115, 245, 295)
DISTANCES = (5.0, 14.0, 26.0, 40.0, 56.0, 75.0)
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Box:
    """Corners in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box, air: float = 0.0) -> float:
        """Area shared, each grown by `air` on every side."""
        width = min(self.right, other.right) - max(self.left, other.left) + 2 * air
        height = min(self.top, other.top) - max(self.bottom, other.bottom) + 2 * air
        return width * height if width > 0 and height > 0 else 0.0

    def count(self, at: Points, air: float = 0.0) -> int:
        """How many of points (n, 2) lie inside, or within `air` of it."""
        x, y = at[:, 0], at[:, 1]
        across = (x > self.left - air) & (x < self.right + air)
        return int(np.count_nonzero(across & (y > self.bottom - air) & (y < self.top + air)))


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a size wanted beside a point with a radius."""

    x: float
    y: float
    radius: float
    width: float
    height: float


def place(labels: Sequence[Label], frame: Box, lines: Sequence[tuple[float, float]] = ()) -> list[Box]:
    """A box for each label inside `frame`. `lines` are points sampled along what should not be covered.

    Greedy, then improved one by one a few times; the same answer for the same question.
    """
    crossed = np.array(lines, dtype=np.float64).reshape(-1, 2)
    placed: list[Box] = []
    points = [Box(p.x - p.radius, p.y - p.radius, p.x + p.radius, p.y + p.radius) for p in labels]
    for label in labels:
        placed.append(_best(label, frame, points, placed, crossed))
    for _ in range(ROUNDS):
        for i, label in enumerate(labels):
            placed[i] = _best(label, frame, points, placed[:i] + placed[i + 1 :], crossed)
    return placed


def _best(label: Label, frame: Box, points: Sequence[Box], others: Sequence[Box], lines: Points) -> Box:
    return min(_tries(label), key=lambda t: t[0] + _cost(t[1], frame, points, others, lines))[1]


def _tries(label: Label) -> list[tuple[float, Box]]:
    """Boxes around the point, each with what it costs to be there."""
    found: list[tuple[float, Box]] = []
    for distance in DISTANCES:
        for rank, degrees in enumerate(DIRECTIONS):
            dx, dy = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            x = label.x + dx * (label.radius + distance) + _side(dx) * label.width / 2
            y = label.y + dy * (label.radius + distance) + _side(dy) * label.height / 2
            box = Box(x - label.width / 2, y - label.height / 2, x + label.width / 2, y + label.height / 2)
            found.append((distance * 1.5 + rank * 0.8, box))
    return found


def _side(component: float) -> float:
    """Which way a box extends from its anchor: -1, 0 or 1."""
    return 0.0 if abs(component) < 0.2 else math.copysign(1.0, component)


def _cost(box: Box, frame: Box, points: Sequence[Box], others: Sequence[Box], lines: Points) -> float:
    outside = max(0.0, frame.left - box.left) + max(0.0, box.right - frame.right)
    outside += max(0.0, frame.bottom - box.bottom) + max(0.0, box.top - frame.top)
    on_labels = sum(box.overlap(other, air=2.0) for other in others)
    on_points = sum(box.overlap(point, air=1.0) for point in points)
    on_lines = box.count(lines, air=2.5)
    return 50 * outside + 5 * on_labels + 5 * on_points + 4 * on_lines
