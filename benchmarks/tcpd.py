"""The Turing Change Point Dataset: our change points against five people's, scored as its authors score.

van den Burg & Williams, An Evaluation of Change Point Detection Algorithms (arXiv:2003.06222, 2020), §4.2. Of
eleven of its series with one dimension, those that the data folder holds. Run it through `detector.py`.

- *F1*, margin M = 5: index 0 counts as a change for all. Precision: found changes that lie within M of one of any
  annotator's, none counted twice, ÷ all found. Recall: the mean over annotators of theirs that were found.
- *Covering*: each annotator's segments, each with its best Jaccard overlap among ours, by their lengths; the mean
  over annotators.
- *default*: a method's own settings. *oracle*: for each series the best score that any setting of a grid reaches,
  so it says what the method could do if somebody told it the settings.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantfarm.statistics.changes import Settings, change_points

MARGIN = 5
METHODS = ("binseg", "pelt", "bocpd", "ecp", "zero")
PUBLISHED = Path(__file__).with_name("tcpd_published.json")
#: Settings that the oracle may choose from.
GRID = {
    "window": (10, 20, 30, 50, 100),
    "p": (1e-5, 1e-4, 1e-3, 1e-2, 5e-2),
    "magnitude": (0.0, 0.01, 0.03, 0.1, 0.3),
    "min_points": (1, 3, 5, 10),
}
Annotations = Mapping[str, Sequence[int]]


def hits(wanted: Iterable[int], found: Iterable[int], margin: int = MARGIN) -> int:
    """How many of `wanted` have a change within the margin; each found one serves one of them, the nearest."""
    left, count = set(found), 0
    for one in sorted(wanted):
        near = sorted((abs(one - other), other) for other in left if abs(one - other) <= margin)
        if near:
            left.remove(near[0][1])
            count += 1
    return count


def f1(annotations: Annotations, found: Iterable[int], margin: int = MARGIN) -> tuple[float, float, float]:
    """F1, precision, recall."""
    theirs = [{0, *one} for one in annotations.values()]
    ours = {0, *found}
    precision = hits(set().union(*theirs), ours, margin) / len(ours)
    recall = sum(hits(one, ours, margin) / len(one) for one in theirs) / len(theirs)
    return 2 * precision * recall / (precision + recall), precision, recall


def segments(changes: Iterable[int], n: int) -> list[tuple[int, int]]:
    ends = sorted({0, n, *(one for one in changes if 0 < one < n)})
    return list(itertools.pairwise(ends))


def covering(annotations: Annotations, found: Iterable[int], n: int) -> float:
    ours = segments(found, n)
    each = [
        sum((b - a) * max(_jaccard((a, b), one) for one in ours) for a, b in segments(theirs, n)) / n
        for theirs in annotations.values()
    ]
    return sum(each) / len(each)


def _jaccard(a: tuple[int, int], b: tuple[int, int]) -> float:
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (a[1] - a[0] + b[1] - b[0] - both)


def series(data: Path) -> dict[str, tuple[list[float], dict[str, list[int]]]]:
    """name -> (values, change points by annotator) of the series with one dimension."""
    folder = data / "history" / "tcpd"
    annotations = json.loads((folder / "annotations.json").read_text())
    found: dict[str, tuple[list[float], dict[str, list[int]]]] = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem in annotations and len(given := json.loads(path.read_text())["series"]) == 1:
            found[path.stem] = (given[0]["raw"], annotations[path.stem])
    return found


def published() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text())


def scores(annotations: Annotations, found: Sequence[int], n: int) -> dict[str, float]:
    score, precision, recall = f1(annotations, found)
    return {"f1": score, "precision": precision, "recall": recall, "covering": covering(annotations, found, n)}


def ours(values: Sequence[float], annotations: Annotations) -> dict[str, dict[str, float]]:
    """Scores with the default settings, and the best of each score on the grid."""
    default = [c.index for c in change_points(values)]
    tried = {tuple(c.index for c in change_points(values, one)) for one in _settings()}
    return _both(default, tried, annotations, len(values))


def _settings() -> Iterable[Settings]:
    for combination in itertools.product(*GRID.values()):
        given = dict(zip(GRID, combination, strict=True))
        if 4 * given["min_points"] - 2 <= given["window"]:
            yield Settings(**given)


def _both(
    default: Sequence[int], tried: Iterable[Sequence[int]], annotations: Annotations, n: int
) -> dict[str, dict[str, float]]:
    every = [scores(annotations, one, n) for one in tried]
    best = {name: max(one[name] for one in every) for name in ("f1", "covering")}
    return {"default": scores(annotations, default, n), "oracle": best}


#: Runs in an environment of its own: series as JSON in, change points out. Default: cost l2, least size 2, the
#: penalty of BIC for a mean and a place, 3·log(n) times the noise's variance, read from successive differences.
RUPTURES = """
import json, sys
import numpy as np, ruptures as rpt
out = {}
for name, x in json.load(sys.stdin).items():
    x = np.asarray(x, float)
    noise = (np.median(np.abs(np.diff(x))) / 0.6745 / np.sqrt(2)) ** 2 or x.var()
    bic = 3 * np.log(len(x)) * noise
    for method, kind in (("pelt", rpt.Pelt), ("binseg", rpt.Binseg)):
        fitted = kind(model="l2", min_size=2, jump=1).fit(x)
        tried = {str(k): fitted.predict(pen=k * bic)[:-1] for k in np.geomspace(0.1, 1000, 41)}
        out.setdefault(name, {})[method] = {"default": fitted.predict(pen=bic)[:-1], "tried": list(tried.values())}
json.dump({"version": getattr(rpt, "__version__", ""), "found": out}, sys.stdout, default=int)
"""


def ruptures(given: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Change points by `ruptures`, installed from the package index into an environment that goes again."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "ruptures"], check=True, stdout=sys.stderr)
        done = subprocess.run(
            [python, "-c", RUPTURES], input=json.dumps(given), text=True, check=True, stdout=subprocess.PIPE
        )
    return json.loads(done.stdout)


def compare(data: Path, *, with_ruptures: bool) -> dict[str, Any]:
    """series -> method -> default and oracle scores; ours, the published ones, and ruptures' where asked for."""
    given, paper = series(data), published()
    table: dict[str, dict[str, Any]] = {}
    for name, (values, people) in given.items():
        table[name] = {"quantfarm": ours(values, people)}
        for method in METHODS:
            table[name][method] = {
                kind: {score: paper[score][kind][name][method] for score in ("f1", "covering")}
                for kind in ("default", "oracle")
            }
    told: dict[str, Any] = {"source": paper["source"], "series": table}
    if with_ruptures:
        there = ruptures({name: values for name, (values, _) in given.items()})
        told["ruptures_version"] = there["version"]
        for name, methods in there["found"].items():
            values, people = given[name]
            for method, found in methods.items():
                both = _both(found["default"], found["tried"], people, len(values))
                table[name][f"ruptures {method}"] = both
    return told | {"mean": _means(table)}


def _means(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    methods = next(iter(table.values()))
    return {
        method: {
            f"{score} {kind}": round(sum(row[method][kind][score] for row in table.values()) / len(table), 3)
            for score in ("f1", "covering")
            for kind in ("default", "oracle")
        }
        for method in methods
    }
