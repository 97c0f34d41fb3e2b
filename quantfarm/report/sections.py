"""The section of one device and model in BENCHMARK.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.decide import Checked, Cliff, NoCliff, Recommendation, check, cliff, recommend, wording
from quantfarm.decide.cliff import further
from quantfarm.nouns import DeviceProfile, Skip
from quantfarm.report import conditions, figures_table, five_way, targets_table
from quantfarm.report.figures import NAMES, probability
from quantfarm.report.figures_table import escape
from quantfarm.statistics.frontier import CERTAIN, Frontier, Standing, pareto

#: How a picture's file name ends -> what it shows, for who cannot see it.
PICTURES = {
    "cliff": "perplexity by bits per weight",
    "quality": "loss of quality by bits per weight in every format",
    "accuracy": "accuracy on tasks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One device and model, with everything that was decided about it. `cliff` is None without perplexities."""

    device: str
    model: str
    profile: DeviceProfile | None
    candidates: tuple[Candidate, ...]
    frontier: Frontier
    recommendation: Recommendation
    cliff: Cliff | NoCliff
    targets: tuple[Checked, ...] = ()

    @property
    def simulated(self) -> bool:
        return any(c.simulated for c in self.candidates) or bool(self.profile and self.profile.simulated)

    @property
    def subtitle(self) -> str:
        """For under a plot's title: the chip and the runtime."""
        chip = [self.profile.chip, f"{self.profile.cores} cores"] if self.profile and self.profile.chip else []
        return " · ".join([*chip, *sorted({c.build or c.runtime for c in self.candidates})])


def subject(candidates: Sequence[Candidate], profile: DeviceProfile | None, seed: int = 0) -> Subject:
    """Everything to say about candidates of one device and model (ValueError for several)."""
    ordered = tuple(sorted(candidates, key=lambda c: (-c.bits_per_weight, c.variant, c.runtime)))
    real = profile is not None and not profile.simulated and not any(c.simulated for c in ordered)
    return Subject(
        device=ordered[0].device,
        model=ordered[0].model,
        profile=profile,
        candidates=ordered,
        frontier=pareto(ordered, seed=seed),
        recommendation=recommend(ordered, seed=seed),
        cliff=cliff(ordered),
        targets=check(profile, ordered) if profile and real else (),
    )


def section(s: Subject, plots: Sequence[str], skips: Sequence[Skip], commit: str, date: str, speeds: str = "") -> str:
    """Markdown; `plots` are the paths of its pictures, `speeds` what there is of sustained load and axes."""
    parts = [
        f"## {escape(s.device)}: {escape(s.model)}" + (" (simulated)" if s.simulated else ""),
        _simulated(s),
        _default(s),
        figures_table.table(s.candidates, None if s.simulated else s.recommendation.chosen),
        f"<sub>{_legend(s)}</sub>",
        "\n\n".join(f"![{_alternative(path, s)}]({path})" for path in plots),
        f"### Five ways\n\n{ways}" if (ways := five_way.table(s.candidates)) else "",
        "### Frontier\n\n" + "\n".join(_frontier(s.frontier)),
        "### Quality cliff\n\n" + "\n\n".join(escape(one) for one in (s.cliff.sentence, *further(s.candidates))),
        speeds,
        _targets(s.targets),
        _trouble(s, skips),
        "### Conditions\n\n" + "\n".join(conditions.lines(s.profile, s.candidates, commit, date)),
    ]
    return "\n\n".join(part for part in parts if part)


def _simulated(s: Subject) -> str:
    if not s.simulated:
        return ""
    return "> **Simulated device.** Its figures are made up by a script to try the farm out: nothing was measured."


def _default(s: Subject) -> str:
    """The recommended default; a simulated device has none."""
    if s.simulated:
        return ""
    r = s.recommendation
    name = f"**Recommended default: {escape(r.chosen.name)}.** " if r.chosen else "**No recommended default.** "
    said = [name + escape(r.reason)]
    if r.runner_up:
        said.append(f"Runner-up {escape(r.runner_up.name)}: {escape(r.why_not_runner_up)}")
    said += [f"Mind: {escape(remark)}." for remark in r.remarks]
    if r.reproduce:
        said.append(f"```sh\n{r.reproduce}\n```")
    return "\n\n".join(said)


def _legend(s: Subject) -> str:
    return " ".join(
        part
        for part in (figures_table.legend(s.candidates), f"Workloads: {figures_table.workloads(s.candidates)}.")
        if part
    )


def _alternative(path: str, s: Subject) -> str:
    kind = path.removesuffix(".svg").rpartition("-")[2]
    what = PICTURES.get(kind, "speed, memory and quality")
    return f"{what} of {escape(s.model)} on {escape(s.device)}"


def _frontier(frontier: Frontier) -> list[str]:
    """Who is on it, who is not and why, who could not be compared and why."""
    if not frontier.standings:
        lines = ["Nothing can be compared."]
    else:
        lines = [
            f"Speed is {NAMES[frontier.speed]}, quality is {NAMES[frontier.quality]}. Margins: 2 % of speed, 1 % of "
            f"memory, 2 standard errors of quality; {frontier.draws} bootstrap draws, seed {frontier.seed}.",
            "",
        ]
    lines += [f"- on it: **{escape(s.candidate.name)}**, {_chance(s)}" for s in frontier.members]
    lines += [
        f"- not on it: {escape(s.candidate.name)}, {escape(wording.beaten(s, frontier))}"
        for s in frontier.standings
        if not s.on_frontier
    ]
    return lines + [f"- not compared: {escape(c.name)}, {escape(why)}" for c, why in frontier.left_out]


def _chance(standing: Standing) -> str:
    sure = "certain" if standing.certain else "not certain" if standing.probability < CERTAIN or standing.remark else ""
    remark = f" ({escape(standing.remark)})" if standing.remark else ""
    return f"P(non-dominated) {probability(standing.probability)}, {sure}{remark}"


def _targets(targets: Sequence[Checked]) -> str:
    if not targets:
        return ""
    lines = [f"- {targets_table.sentence(one)}" for one in targets]
    return "### Targets\n\n" + "\n".join(lines)


def _trouble(s: Subject, skips: Sequence[Skip]) -> str:
    """Failures, skips, fall-back types and remarks: all that a reader must know beside the figures."""
    lines = [f"- failed: {escape(c.name)}, {escape(why)}" for c in s.candidates for why in c.failures]
    lines += [f"- skipped: {escape(k.variant)}, {escape(k.workload)}: {escape(k.reason)}" for k in skips]
    for c in s.candidates:
        if c.fallbacks:
            shown = "; ".join(escape(f) for f in c.fallbacks[:3]) + (" …" if len(c.fallbacks) > 3 else "")
            lines.append(f"- {escape(c.name)}: {len(c.fallbacks)} tensors in another type than asked: {shown}")
        lines += [f"- {escape(c.name)}, {NAMES.get(m, m)}: {escape(remark)}" for m, remark in sorted(c.remarks.items())]
    return "### Failures, skips and remarks\n\n" + "\n".join(lines) if lines else ""
