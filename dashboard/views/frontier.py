"""Quality by speed and memory: which variants are worth considering, and which of them a device should run."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import asked, cards, deciding, parts
from dashboard.charts import frontier as chart
from dashboard.charts.frontier import Axes
from quantfarm.candidates import Candidate
from quantfarm.decide.wishes import MIN_QUALITY
from quantfarm.report import conditions, names
from quantfarm.report.figures import number, probability, spread
from quantfarm.statistics.frontier import Frontier, Standing
from quantfarm.statistics.resample import MEMORY, SPEED, key
from storage.measured import Measured

SIZE, ACROSS = "size", "axis"
MEMORY_AS = {SIZE: "size", ACROSS: "axis"}
SWEEP = "quantfarm sweep --model {} --suite quick"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the sliders say; None: not limited."""

    max_ram: float | None
    min_speed: float
    min_quality: float


NO_BUDGET = Budget(None, 0.0, MIN_QUALITY)


def main() -> None:
    known = deciding.known()
    with st.container(border=True):
        devices, model, everyone = _whose(known)
        drawn = _axes(everyone) if everyone else None
    if not devices:
        parts.empty("No device is chosen.", why="Choose at least one above.")
        return
    if drawn is None:
        missing = "decode speed, memory and a quality (perplexity, KL divergence or a task)"
        parts.empty(
            f"No variant of {model} has been measured on {', '.join(devices)} with {missing}.", SWEEP.format(model)
        )
        _failures(everyone)
        return
    mode, speed, quality, memory_as = drawn
    frontiers = {device: deciding.frontier(device, model, mode, quality, speed) for device in devices}
    filled = [one for one in frontiers.values() if one.standings]
    budget = _budget(everyone) if filled else NO_BUDGET
    shared = chart.axes(filled, memory_as == ACROSS) if filled else None
    chips = {one.device: one.chip for one in known}
    for place, (device, found) in zip(_places(len(devices)), frontiers.items(), strict=True):
        with place:
            _device(device, chips.get(device, ""), found, shared, budget, mode, narrow=len(devices) > 1)


def _places(n: int) -> list[DeltaGenerator]:
    """Two beside each other; a phone shows them below each other."""
    if n == 1:
        return [st.container()]
    return [place for _ in range(0, n, 2) for place in st.columns(2)][:n]


def _whose(known: list[Measured]) -> tuple[list[str], str, list[Candidate]]:
    names_of = list(dict.fromkeys(one.device for one in known))
    simulated = {one.device for one in known if one.simulated}
    left, right = st.columns([3, 2])
    with right:
        model = asked.one("Model", "model", sorted({one.model for one in known}), known[0].model)
    usual = [one.device for one in known if one.model == model][:1]
    with left:
        devices = asked.several(
            "Devices", "device", names_of, usual, lambda d: f"{d} (simulated)" if d in simulated else d
        )
    there = {(one.device, one.model) for one in known}
    return devices, model, [c for d in devices if (d, model) in there for c in deciding.of_device(d, model)]


def _axes(everyone: list[Candidate]) -> tuple[str, str, str, str] | None:
    """Power mode, speed, quality, and what memory is shown as; None where there is nothing to choose from."""
    speeds, qualities, modes = deciding.speeds(everyone), deciding.qualities(everyone), deciding.modes(everyone)
    if not speeds or not qualities:
        return None
    places = st.columns(4)
    with places[0]:
        speed = asked.one("Speed", "speed", speeds, words=names.called)
    with places[1]:
        quality = asked.one("Quality", "quality", qualities, words=names.called)
    with places[2]:
        mode = asked.one("Power mode", "mode", modes)
    with places[3]:
        memory_as = asked.among("Memory as", "memory", list(MEMORY_AS), MEMORY_AS.__getitem__)
    return mode, speed, quality, memory_as


def _budget(everyone: list[Candidate]) -> Budget:
    """Sliders over what was measured; at their ends they limit nothing."""
    memories = [c.figures[MEMORY].value for c in everyone if MEMORY in c.figures]
    speeds = [c.figures[SPEED].value for c in everyone if SPEED in c.figures]
    most_ram, most_speed = _rounded(max(memories, default=1.0)), _rounded(max(speeds, default=1.0))
    places = st.columns(3)
    with places[0]:
        ram = asked.number(
            "At most so much memory (MiB)", "max_ram", 0.0, most_ram, most_ram, step=most_ram / 100, format="%.0f"
        )
    with places[1]:
        fast = asked.number(
            "At least so fast (decode, tok/s)", "min_speed", 0.0, most_speed, 0.0, step=most_speed / 100
        )
    with places[2]:
        good = asked.number(
            "At least so good (PPL unquantized ÷ PPL)", "min_quality", 0.0, 1.0, MIN_QUALITY, step=0.01,
            help="0.95 is within about 5 % of the unquantized model's perplexity. 0: whatever it is.",
        )  # fmt: skip
    return Budget(ram if ram < most_ram else None, fast, good)


def _rounded(most: float) -> float:
    """Up to two digits, so that the slider's end is a plain number."""
    scale = 10.0 ** max(0, len(str(int(most))) - 2)
    return scale * (int(most / scale) + 1)


def _device(
    device: str, chip: str, found: Frontier, shared: Axes | None, budget: Budget, mode: str, *, narrow: bool
) -> None:
    everyone = [s.candidate for s in found.standings] + [c for c, _ in found.left_out]
    simulated = any(c.simulated for c in everyone)
    st.subheader(parts.escape(device), anchor=False)
    if simulated:
        parts.simulated()
    if not found.standings or shared is None:
        missing = "No variant here has all three of speed, memory and quality."
        parts.empty(missing, SWEEP.format(everyone[0].model) if everyone else "", why=f"Chosen: {_chosen(found)}.")
        _left_out(found, opened=True)
        return
    model = everyone[0].model
    made = None
    if not simulated:
        made = deciding.default(device, model, mode, budget.max_ram, budget.min_quality, budget.min_speed)
    chosen = made.chosen if made else None
    on = ", ".join(s.candidate.name for s in found.members[:12])
    what = f"{names.called(found.quality)} by {names.called(shared.across)} of {model} on {device}"
    clicked = parts.plot(
        chart.figure(found, shared, chosen, narrow=narrow),
        f"frontier {model} {device}",
        f"{what}. On the frontier: {on}.",
        chart.rows(found),
        selectable=True,
    )
    _clicked(clicked, found)
    st.caption(parts.escape(chart.legend(found, shared, chosen=chosen is not None)))
    parts.conditions([*conditions.in_short(everyone, chip), *_workloads(found)])
    if made:
        _default(made, found)
    _table(found)
    _left_out(found)


def _workloads(found: Frontier) -> list[str]:
    first = found.standings[0].candidate
    labels = {names.called(m): first.workloads.get(m, "") for m in (found.speed, MEMORY, found.quality)}
    said = [f"{name} of {label}" for name, label in labels.items() if label]
    return [*said, f"text {first.text_sha256[:12]}"] if first.text_sha256 else said


def _clicked(keys: list[object], found: Frontier) -> None:
    wanted = {str(one[0] if isinstance(one, list) else one) for one in keys}
    for standing in found.standings:
        if key(standing.candidate) in wanted:
            _links(standing.candidate, found, f"{standing.candidate.name}: its measurement")


def _links(candidate: Candidate, found: Frontier, label: str) -> None:
    if cell := deciding.measurement(candidate, found.speed, MEMORY, found.quality):
        parts.to("cell", label, cell=cell.cell, attempt=str(cell.attempt))


def _default(made: deciding.Recommendation, found: Frontier) -> None:
    with st.container(border=True):
        if made.chosen is None:
            st.markdown(f"**Nothing to recommend.** {parts.escape(made.reason)}")
            return
        st.markdown(f"**★ {parts.escape(made.chosen.name)}**  \n{parts.escape(made.reason)}")
        for remark in made.remarks:
            st.caption(parts.escape(remark))
        if made.runner_up:
            said = f"Runner-up {made.runner_up.name}: {made.why_not_runner_up}"
            st.markdown(parts.escape(said))
        st.caption("A default rests on decode speed, resident memory and perplexity, whatever the plot shows. Again:")
        st.code(made.reproduce, language="sh", wrap_lines=True)
        _links(made.chosen, found, f"Follow {made.chosen.name} to its measurement")
        chosen = {"device": made.chosen.device, "model": made.chosen.model, "variant": made.chosen.variant}
        parts.to("playground", f"Talk to {made.chosen.name}", **chosen)
        cards.download(made.chosen)
        if made.runner_up:
            _compare(made.chosen, made.runner_up)


def _compare(a: Candidate, b: Candidate) -> None:
    parts.to(
        "compare", f"Compare {b.name} with {a.name}", what="variants", model=a.model, device=a.device,
        a=f"{a.variant} ({a.runtime})", b=f"{b.variant} ({b.runtime})",
    )  # fmt: skip


def _table(found: Frontier) -> None:
    with st.expander("As a table", expanded=True):
        rows = [_row(s, found) for s in sorted(found.standings, key=lambda s: -s.probability)]
        st.dataframe(
            rows, hide_index=True, column_config={"measurement": st.column_config.LinkColumn(display_text="open")}
        )


def _row(standing: Standing, found: Frontier) -> dict[str, str]:
    c = standing.candidate
    figures = {
        f"{names.called(m)} {c.units.get(m, '')}".strip(): spread(c.figures[m])
        for m in (found.speed, MEMORY, found.quality)
    }
    cell = deciding.measurement(c, found.speed, MEMORY, found.quality)
    link = asked.elsewhere("frontier", "cell", cell=cell.cell, attempt=cell.attempt) if cell else ""
    return {
        "variant": c.name,
        "runtime": c.runtime,
        "P(non-dominated)": probability(standing.probability),
        **figures,
        "bits per weight": number(c.bits_per_weight or None),
        "dominated by": ", ".join(w.name for w in standing.dominated_by),
        "remark": standing.remark,
        "measurement": link,
    }


def _chosen(found: Frontier) -> str:
    return f"{names.called(found.speed)} and {names.called(found.quality)}"


def _left_out(found: Frontier, *, opened: bool = False) -> None:
    if found.left_out:
        with st.expander(f"Not compared ({len(found.left_out)})", expanded=opened):
            for c, why in found.left_out[:50]:
                st.markdown(f"- {parts.escape(c.name)} ({parts.escape(c.runtime)}): {parts.escape(why)}")


def _failures(everyone: list[Candidate]) -> None:
    for c in everyone[:20]:
        for why in c.failures[:3]:
            st.caption(parts.escape(f"{c.device}, {c.name}: {why}"))


main()
