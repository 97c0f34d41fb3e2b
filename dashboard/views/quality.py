"""What each quantization costs in quality: by bits per weight with the cliff, and task by task."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import asked, deciding, parts
from dashboard.charts import quality as chart
from quantfarm.candidates import Candidate
from quantfarm.decide.cliff import cliff, further
from quantfarm.report import columns, conditions, names
from quantfarm.report.columns import QUALITY, TASKS
from quantfarm.report.figures import NONE, number, plural, share, spread
from quantfarm.report.figures_table import points
from quantfarm.statistics.increase import base_of, increase
from quantfarm.statistics.resample import key
from quantfarm.statistics.tasks import Difference

SWEEP = "quantfarm sweep --model {} --suite lab"
FEW = "⚠ asked of a part of its documents: not the benchmark's score."


def main() -> None:
    known = deciding.known()
    with st.container(border=True):
        places = st.columns(3)
        with places[0]:
            model = asked.one("Model", "model", sorted({one.model for one in known}), known[0].model)
        there = [one for one in known if one.model == model]
        simulated = {one.device for one in there if one.simulated}
        with places[1]:
            device = asked.one(
                "Device", "device", [one.device for one in there],
                words=lambda d: f"{d} (simulated)" if d in simulated else d,
            )  # fmt: skip
        everyone = deciding.of_device(device, model)
        metrics = deciding.qualities(everyone)
        with places[2]:
            metric = asked.one("Quality", "quality", metrics, words=names.called) if metrics else ""
    if not metric:
        parts.empty(f"No quality of {model} has been measured on {device}.", SWEEP.format(model))
        return
    if device in simulated:
        parts.simulated()
    chip = next(one.chip for one in there if one.device == device)
    _by_bits(everyone, metric, chip)
    _tasks(everyone)
    _table(everyone)


def _by_bits(everyone: Sequence[Candidate], metric: str, chip: str) -> None:
    model, device = everyone[0].model, everyone[0].device
    found = cliff(everyone)
    st.subheader(f"{parts.escape(_capital(names.called(metric)))} by size", anchor=False)
    if not chart.shown_by(everyone, metric):
        parts.empty("No variant with this figure has a known size.")
        return
    st.markdown(f"**{parts.escape(found.sentence)}**")
    for sentence in further(everyone):
        st.markdown(parts.escape(sentence))
    above = metric == "ppl" and base_of(everyone) is not None
    as_increase = above and asked.whether("As the increase over the unquantized model, log scale", "increase")
    parts.plot(
        chart.by_bits(everyone, metric, found, as_increase=as_increase),
        f"quality {metric} {model} {device}",
        f"{names.called(metric)} of {model} by bits per weight. {found.sentence}",
        chart.rows(everyone, metric),
        key="by bits",
    )
    st.caption(parts.escape(_legend(everyone, metric)))
    having = [c for c in everyone if metric in c.figures]
    parts.conditions([*conditions.in_short(having, chip), *_measured_on(having, metric)])


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _legend(everyone: Sequence[Candidate], metric: str) -> str:
    base = base_of(everyone, has=lambda c: metric in c.figures)
    paired = ""
    if metric == "ppl" and base is not None:
        paired = "95 % interval of the difference to the unquantized model on the same chunks"
    said = [f"bars: {paired or '95 % interval'}", "lines join what is made in one way"]
    if base is not None and metric != "kld_mean":
        said.append(f"dashed: {base.variant}" + (", dotted: 2 % above it" if metric == "ppl" else ""))
    if any("+imatrix" in c.variant for c in everyone):
        said.append("thick dots join a type with itself made with an importance matrix")
    if "⚠" in names.called(metric):
        said.append(FEW)
    return " · ".join(said)


def _measured_on(having: Sequence[Candidate], metric: str) -> list[str]:
    """Which text and how many chunks, or which documents; and where, when that is elsewhere."""
    labels = sorted({c.workloads.get(metric, "") for c in having} - {""})
    texts = sorted({(c.text_sha256[:12], len(c.chunk_nll), sum(c.chunk_tokens)) for c in having if c.text_sha256})
    said = [" / ".join(labels)]
    if not columns.task(metric):
        said += [f"text {sha}, {plural(n, 'chunk')}, {tokens:,} tokens scored" for sha, n, tokens in texts]
    elsewhere = sorted({r for c in having if (r := c.remarks.get(metric, "")) and "measured" in r})
    return [*said, *elsewhere]


def _tasks(everyone: Sequence[Candidate]) -> None:
    tasks = [column.metric for column in columns.columns(everyone) if column.table == TASKS]
    st.subheader("Tasks against the unquantized model", anchor=False)
    if not tasks:
        parts.empty("No task has been asked.", SWEEP.format(everyone[0].model))
        return
    found = deciding.task_differences(everyone[0].device, everyone[0].model)
    for task in tasks:
        _task(task, [one for one in found if one.metric == task], everyone)
    st.caption(
        "Paired by document. Interval: paired bootstrap, 95 %. p: McNemar, exact and two-sided, of one comparison: "
        "of twenty, one is below 0.05 by chance."
    )


def _task(task: str, found: Sequence[Difference], everyone: Sequence[Candidate]) -> None:
    st.markdown(f"**{parts.escape(names.called(task))}**")
    if "⚠" in names.called(task):
        st.warning(FEW)
    if not found:
        having = ", ".join(c.name for c in everyone if task in c.figures)
        parts.empty("There is no unquantized model's answers to pair with.", why=f"Asked of: {having}.")
        return
    bases = {one.base.name: one.base for one in found}
    for name, base in bases.items():
        said = f"{spread(base.figures[task])} %, {plural(len(base.items[task].right), 'document')}"
        st.caption(parts.escape(f"{name} ({base.runtime}): {said}, {base.workloads.get(task, '')}"))
    parts.plot(
        chart.difference_plot(found),
        f"{task} against {' '.join(bases)}",
        f"{names.called(task)}: difference of each variant to {', '.join(bases)}, in percentage points.",
        rows := [_difference(one) for one in found],
        key=f"task {task}",
    )
    shown = [{name: value for name, value in row.items() if name != "metric"} for row in rows]
    st.dataframe(shown, hide_index=True)


def _difference(one: Difference) -> dict[str, object]:
    p = one.paired
    return {
        "metric": one.metric,
        "variant": one.candidate.name,
        "accuracy %": spread(one.candidate.figures[one.metric]),
        "difference (95 %)": points(p),
        "against": one.base.name,
        "McNemar p": chart.p_value(p.p),
        "documents": p.n,
        "only that right": p.only_a,
        "only it right": p.only_b,
    }


def _table(everyone: Sequence[Candidate]) -> None:
    """Every quality figure, one row for each variant."""
    st.subheader("All figures of quality", anchor=False)
    found = [column for column in columns.columns(everyone) if column.table in (QUALITY, TASKS)]
    rows = [_row(c, found, everyone) for c in everyone if any(column.metric in c.figures for column in found)]
    st.dataframe(rows, hide_index=True)
    parts.downloads(f"quality {everyone[0].model} {everyone[0].device}", rows)
    failed = [f"{c.name} ({c.runtime}): {why}" for c in everyone for why in c.failures]
    if failed:
        with st.expander(f"What failed ({len(failed)})"):
            for why in failed[:50]:
                st.markdown(f"- {parts.escape(why)}")


def _row(c: Candidate, found: Sequence[columns.Column], everyone: Sequence[Candidate]) -> dict[str, str]:
    base = base_of(everyone, c.runtime)
    loss = increase(c, base) if base is not None and key(base) != key(c) else None
    row = {"variant": c.name, "runtime": c.runtime, "bits per weight": number(c.bits_per_weight or None)}
    for column in found:
        row[column.heading] = spread(s, column.digits) if (s := c.figures.get(column.metric)) else NONE
        if column.metric == "ppl":
            row["against unquantized"] = share(loss.share) if loss else NONE
    return row


main()
