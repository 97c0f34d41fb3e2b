"""What a sweep's run shows beside its cells: the plan at its beginning; plots, recommendations and links at its end."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence

from flows import measured
from flows.artifacts import Shelf
from flows.labels import count
from flows.prepare import Prepared
from flows.up import state
from quantfarm import decide, links, sweeps
from quantfarm.candidates import Candidate
from quantfarm.nouns import Plan
from quantfarm.report.plots import accuracy_svg, pareto_svg, quality_svg, several_ways
from quantfarm.statistics.frontier import pareto
from storage.home import Home

log = logging.getLogger("quantfarm.flows")

#: Lines of a plan, and devices with plots of their own, that a page shows.
LINES, DEVICES = 200, 12
#: Views of the dashboard that a device's line leads to, what they are asked for, and what their links are called.
VIEWS: dict[str, tuple[tuple[str, ...], str]] = {
    "frontier": (("device", "model"), "frontier"),
    "quality": (("device", "model"), "quality"),
    "history": (("device",), "nights"),
}
SIMULATED = "**Simulated: these are not measurements.**\n\n"


def plan(shelf: Shelf, prepared: Prepared) -> None:
    made = prepared.plan
    text = "\n\n".join([_cells(made), _skips(made), _again(prepared)])
    shelf.markdown("sweep-plan", text, f"{count(len(made.cells), 'cell')}, {len(made.skips)} skipped")


def _cells(made: Plan) -> str:
    launches = Counter((c.profile.name, c.variant.name, c.runtime, c.asked) for c in made.cells)
    lines = ["| device | variant | runtime | workload | launches |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(key)} | {count} |" for key, count in list(launches.items())[:LINES]]
    if len(launches) > LINES:
        lines += ["", f"*{len(launches) - LINES:,} more lines are left out.*"]
    return "\n".join(lines)


def _skips(made: Plan) -> str:
    lines = [f"- {s.device} · {s.variant} · {s.workload}: {s.reason}" for s in made.skips[:LINES]]
    if len(made.skips) > LINES:
        lines.append(f"- *{len(made.skips) - LINES:,} more are left out.*")
    return "\n".join(["### Skipped", "", *(lines or ["Nothing."])])


def _again(prepared: Prepared) -> str:
    unsaid = sweeps.unsaid(prepared.sweep)
    more = f" (what no option says is left out: {', '.join(unsaid)})" if unsaid else ""
    return f"The same in a shell{more}:\n\n```\n{sweeps.same(prepared.sweep)}\n```"


def end(home: Home, shelf: Shelf, prepared: Prepared) -> None:
    """Nothing that goes wrong here is the sweep's fault, and nothing of it is kept."""
    names = list(dict.fromkeys(cell.profile.name for cell in prepared.plan.cells))
    for name in names[:DEVICES]:
        try:
            _device(shelf, measured.of(home, name, prepared.source.name))
        except Exception as error:
            log.info("nothing to show of %s: %s", name, error)
    parts = [_links(home, prepared.source.name, names)]
    parts += [f"*{len(names) - DEVICES} more devices.*"] if len(names) > DEVICES else []
    text = "\n\n".join(part for part in (*parts, _again(prepared)) if part)
    shelf.markdown("sweep-again", text, "where to look, and the command that asks the same")


def _device(shelf: Shelf, found: Sequence[Candidate]) -> None:
    first, frontier = found[0], pareto(found)
    made = decide.recommend(found)
    simulated = first.simulated
    where = f"{first.model} on {first.device}{' (simulated)' if simulated else ''}"
    second = f"Runner-up {made.runner_up.name}: {made.why_not_runner_up}" if made.runner_up else ""
    lines = [f"## {where}", made.reason, second, *made.remarks]
    lines += [f"- not {candidate.name}: {why}" for candidate, why in made.excluded]
    if made.reproduce:
        lines.append(f"Measure it again:\n\n```\n{made.reproduce}\n```")
    text = (SIMULATED if simulated else "") + "\n\n".join(line for line in lines if line)
    shelf.markdown(f"recommendation-{first.device}-{first.model}", text, where)
    if frontier.standings:
        shelf.svg(f"pareto-{first.device}-{first.model}", pareto_svg(frontier, made.chosen), where)
    for kind, draw in {"quality": quality_svg, "accuracy": accuracy_svg}.items():
        with contextlib.suppress(ValueError):  # nothing to draw
            if kind != "quality" or several_ways(found):
                shelf.svg(f"{kind}-{first.device}-{first.model}", draw(found), where)


def _links(home: Home, model: str, devices: Sequence[str]) -> str:
    """Into the dashboard, where `quantfarm up` runs one: a line for each device, each view as anybody can reopen it."""
    if not (base := state.url(home, "dashboard")):
        return ""
    lines = [f"- {name}: {_views(base, model, name)}" for name in devices[:DEVICES]]
    return "\n".join([f"### In the [dashboard]({links.view(base, 'overview')})", "", *lines])


def _views(base: str, model: str, device: str) -> str:
    known = {"device": device, "model": model}
    told = [(title, links.view(base, view, **{one: known[one] for one in of})) for view, (of, title) in VIEWS.items()]
    return " · ".join(f"[{title}]({url})" for title, url in told)
