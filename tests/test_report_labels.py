"""Labels beside points: none covers another, or a point, while there is room."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantfarm.report.labels import Box, Label, place

FRAME = Box(0, 0, 800, 500)


def test_a_lone_label_sits_above_its_point() -> None:
    (box,) = place([Label(400, 250, 6, 60, 24)], FRAME)
    assert box.bottom > 256 and abs((box.left + box.right) / 2 - 400) < 1


def test_a_label_near_the_edge_stays_inside() -> None:
    (box,) = place([Label(2, 498, 6, 60, 24)], FRAME)
    assert box.left >= 0 and box.top <= 500


def test_a_label_keeps_off_a_line() -> None:
    line = [(x, 270.0) for x in range(300, 500, 2)]
    (box,) = place([Label(400, 250, 6, 60, 24)], FRAME, [(float(x), y) for x, y in line])
    assert box.count(np.array(line)) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(2, 8), st.integers(2, 8)), min_size=1, max_size=8, unique=True))
def test_labels_of_points_apart_from_each_other_never_overlap(grid: list[tuple[int, int]]) -> None:
    labels = [Label(x * 80.0, y * 50.0, 8, 62, 24) for x, y in grid]
    boxes = place(labels, FRAME)
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[:i])
    assert place(labels, FRAME) == boxes
