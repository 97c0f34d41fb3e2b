"""The frontier in a terminal: a table and a chart. Nothing here prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quantfarm.candidates import Candidate
from quantfarm.decide import Recommendation
from quantfarm.report.chart import chart
from quantfarm.report.figures import NAMES, number, probability, share, spread
from quantfarm.report.palette import colour
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import MEMORY, key

#: Letters of a reason in a table.
LONGEST = 120


def frontier_table(frontier: Frontier, chosen: Candidate | None = None) -> Table:
    """One row per candidate, fastest first; P: that it is non-dominated. Last, what cannot be compared, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name, justify in (("", "left"), ("variant", "left"), ("decode tok/s", "right"), ("memory MiB", "right"),
                          (NAMES[frontier.quality], "right"), ("vs F16", "right"), ("P", "right"),
                          ("", "left")):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=name == "variant")  # pyright: ignore[reportArgumentType]
    everyone = _everyone(frontier)
    for standing in sorted(
        frontier.standings, key=lambda s: (-s.candidate.figures[frontier.speed].value, key(s.candidate))
    ):
        table.add_row(*_row(standing, frontier, chosen, everyone), style="" if standing.on_frontier else "dim")
    for candidate, reason in frontier.left_out:
        table.add_row("", candidate.name, *_known(candidate, frontier), "", "", Text(_short(reason)), style="dim")
    return table


def _short(reason: str) -> str:
    """A failure may quote what a program printed: whole it is in `quantfarm results`."""
    return reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 2]} …"


def _everyone(frontier: Frontier) -> list[Candidate]:
    return [s.candidate for s in frontier.standings] + [c for c, _ in frontier.left_out]


def _row(
    standing: Standing, frontier: Frontier, chosen: Candidate | None, everyone: Sequence[Candidate]
) -> tuple[str | Text, ...]:
    c = standing.candidate
    mark = "★" if chosen is not None and key(chosen) == key(c) else "●" if standing.on_frontier else "○"
    base = base_of(everyone, c.runtime)
    loss = increase(c, base) if base is not None and key(base) != key(c) else None
    return (
        Text(mark, style=colour(c.variant)),
        c.name,
        *_known(c, frontier),
        share(loss.share) if loss else "",
        probability(standing.probability),
        Text(_beaten_by(standing)),
    )


def _beaten_by(standing: Standing) -> str:
    """Short, for a column: the sentence is in the report."""
    winners = ", ".join(c.name for c in standing.dominated_by)
    return f"beaten by {winners}" if winners and not standing.on_frontier else ""


def _known(candidate: Candidate, frontier: Frontier) -> tuple[str, str, str]:
    f = candidate.figures
    return (
        spread(f[frontier.speed]) if frontier.speed in f else "–",
        number(candidate.value(MEMORY)),
        number(candidate.value(frontier.quality), 4),
    )


def decision(recommendation: Recommendation) -> Text:
    """The recommendation as a few lines of text."""
    r = recommendation
    lines = [Text("Recommended: ", style="bold").append(r.chosen.name if r.chosen else "nothing", style="bold green"
             if r.chosen else "bold yellow"), Text(r.reason)]  # fmt: skip
    if r.runner_up:
        lines.append(Text(f"Runner-up {r.runner_up.name}: {r.why_not_runner_up}"))
    lines += [Text(f"Mind: {remark}", style="yellow") for remark in r.remarks]
    if r.reproduce:
        lines.append(Text(f"Measure it again: {r.reproduce}", style="dim"))
    return Text("\n").join(lines)


def summary(
    frontier: Frontier, recommendation: Recommendation, *, width: int = 80, colours: bool = True
) -> RenderableType:
    """Chart, table and recommendation: the end of a sweep."""
    drawn = chart(frontier, width=min(width, 110), colours=colours)
    table = frontier_table(frontier, recommendation.chosen)
    return Group(*([drawn, Text("")] if drawn.plain else []), table, Text(""), decision(recommendation))
