"""The one message of a night: subject, plain text, a body for Slack and one for programs. Pure: others send it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quantfarm.nightly import bodies, words
from quantfarm.nightly.telling import LISTED, ROWS, TOLD, Item, Links, by_device
from quantfarm.nightly.verdicts import NightReport, Verdict
from quantfarm.nouns import digest
from quantfarm.report.figures import plural

#: Version of the JSON body.
SCHEMA = 1
#: Under a message whose sending was cut off before.
REPEATED = "An earlier sending was cut off: you may have this message already."


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`digest` is the same for the same news of the same night: who gets it twice can tell."""

    night: str
    subject: str
    text: str
    body: dict[str, Any]
    regressions: tuple[Item, ...] = ()
    silent: tuple[Item, ...] = ()
    improvements: tuple[Verdict, ...] = ()
    links: Links = field(default_factory=Links)
    left_out: str = ""
    digest: str
    test: bool = False


def compose(
    report: NightReport, links: Links | None = None, items: Sequence[Item] | None = None, left_out: str = ""
) -> Message | None:
    """The message of a night, or None where there is nothing to tell.

    `items`: what to tell, without what was told before; default: each regression and silence of the report.
    `left_out` says what of the report is not told, and why.
    """
    links = links or Links()
    if items is None:
        items = [Item(verdict=one) for one in (*report.regressions, *report.silent)]
    silent = tuple(one for one in items if one.verdict in report.silent or one.verdict.kind == "no data")
    regressions = tuple(one for one in items if one not in silent)
    if not items:
        return None
    subject = words.clean(f"[quantfarm] {report.night}: {_headline(regressions, silent)}", 140)
    text = _text(report, links, regressions, silent, left_out)
    known = digest(
        [report.night, sorted(f"{i.verdict.series.id} {i.verdict.kind} {i.verdict.first_bad}" for i in items)]
    )
    return Message(
        night=report.night,
        subject=subject,
        text=text,
        body=_body(report, links, regressions, silent, left_out, subject, text, known),
        regressions=regressions,
        silent=silent,
        improvements=tuple(report.improvements),
        links=links,
        left_out=left_out,
        digest=known,
    )


def _counted(regressions: Sequence[Item], silent: Sequence[Item]) -> str:
    devices = len({one.verdict.series.device for one in silent})
    parts = [plural(len(regressions), "regression")] if regressions else []
    parts += [f"no data from {plural(devices, 'device')}"] if silent else []
    every = [*regressions, *silent]
    mark = f" ({words.SIMULATED})" if every and all(one.verdict.simulated for one in every) else ""
    return ", ".join(parts) + mark


def _headline(regressions: Sequence[Item], silent: Sequence[Item]) -> str:
    """A lone regression says which; several are counted."""
    if len(regressions) != 1 or silent:
        return _counted(regressions, silent)
    verdict, key = regressions[0].verdict, regressions[0].verdict.series
    mark = f" ({words.SIMULATED})" if verdict.simulated else ""
    return f"{key.device} {key.metric} of {key.model} {key.variant} {words.percent(verdict.ratio)}".strip() + mark


def _text(report: NightReport, links: Links, regressions: Sequence[Item], silent: Sequence[Item], left_out: str) -> str:
    parts = [f"Night of {words.clean(report.night, 40)}: {_counted(regressions, silent)}.{others(report)}"]
    parts += [f"{number}. {regression(one, links)}" for number, one in enumerate(regressions[:TOLD], 1)]
    if len(regressions) > TOLD:
        parts.append(f"And {len(regressions) - TOLD} more: quantfarm nightly alerts")
    parts += silences(silent)
    if report.improvements:
        parts.append(improvements(report.improvements))
    if left_out:
        parts.append(f"Not told again: {left_out}. `quantfarm nightly alerts` lists them.")
    places = [f"{name}: {words.clean(link)}" for name, link in asdict(links).items() if link]
    return "\n\n".join([*parts, *(["\n".join(places)] if places else [])]) + "\n"


def others(report: NightReport) -> str:
    """` 38 series unchanged, 1 noise.` of what is not told one by one."""
    counts = Counter(str(one.kind) for one in report.verdicts if not one.alerts and one not in report.improvements)
    return f" Of the other series: {', '.join(f'{n} {kind}' for kind, n in sorted(counts.items()))}." if counts else ""


def regression(item: Item, links: Links) -> str:
    """What a person needs to judge a regression, and the commands to go on with."""
    verdict = item.verdict
    lines = [words.series(verdict), f"   {words.change(verdict)}"]
    seen = [("in the dashboard", words.clean(url))] if (url := links.history(verdict.series.id)) else []
    lines += [f"   {name + ':':<18}{value}" for name, value in [*facts(item), *seen]]
    return "\n".join(lines)


def facts(item: Item) -> list[tuple[str, str]]:
    """Names and values under the levels, in the order in which a person asks for them."""
    verdict = item.verdict
    known = [
        ("first bad night", words.when(verdict)),
        ("suspect", words.suspect(verdict)),
        ("confirmed", words.confirmed(verdict.confirmation)),
    ]
    if verdict.reason:
        known.append(("why", words.clean(verdict.reason)))
    if item.remark:
        known.append(("told now", words.clean(item.remark)))
    return [*known, *commands(verdict)]


def commands(verdict: Verdict) -> list[tuple[str, str]]:
    """What to type next; the one that reproduces is whole, or it would be of no use."""
    ident = verdict.series.id
    known = [("measure it again", words.clean(verdict.reproduce, 2000))] if verdict.reproduce else []
    if words.build_changed(verdict):
        known.append(("find the version", f"quantfarm nightly bisect {ident}"))
    return [
        *known,
        ("its history", f"quantfarm nightly history {ident}"),
        ("acknowledge", f"quantfarm nightly ack {ident}"),
    ]


def silences(silent: Sequence[Item]) -> list[str]:
    """A paragraph for each silent device, with each reason once."""
    devices = by_device(silent)
    told = [_silence(name, mine) for name, mine in list(devices.items())[:LISTED]]
    more = len(devices) - len(told)
    return [*told, *([f"And no data from {plural(more, 'more device', 'more devices')}."] if more else [])]


def _silence(device: str, mine: Sequence[Item]) -> str:
    reasons = Counter(words.clean(one.verdict.reason) or "no reason is known" for one in mine)
    often = "; ".join(reason + (f" ({n} series)" if len(reasons) > 1 else "") for reason, n in reasons.most_common(5))
    good = max((one.verdict.last_good for one in mine), default="")
    last = f"; last heard of in the night of {words.clean(good, 40)}" if good else ""
    told_now = f"; {words.clean(mine[0].remark)}" if mine[0].remark else ""
    mark = f" [{words.SIMULATED}]" if mine[0].verdict.simulated else ""
    return f"No data from {words.clean(device, 80)}{mark} ({len(mine)} series): {often}{last}{told_now}."


def improvements(better: Sequence[Verdict]) -> str:
    listed = "; ".join(f"{words.series(one)} {words.percent(one.ratio)}".strip() for one in better[:LISTED])
    more = f"; and {len(better) - LISTED} more" if len(better) > LISTED else ""
    return f"Better: {listed}{more}."


def _body(
    report: NightReport,
    links: Links,
    regressions: Sequence[Item],
    silent: Sequence[Item],
    left_out: str,
    subject: str,
    text: str,
    known: str,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "night",
        "night": words.clean(report.night, 40),
        "digest": known,
        "subject": subject,
        "text": text,
        "regressions": bodies.rows(regressions[:ROWS], links),
        "no_data": bodies.silences(silent),
        "improvements": bodies.rows((Item(verdict=one) for one in report.improvements[:LISTED]), links),
        "counts": dict(report.counts),
        "left_out": left_out,
        "links": {name: words.clean(link) for name, link in asdict(links).items()},
    }


def trial(sender: str, links: Links | None = None) -> Message:
    """A message that says that it is a test."""
    text = (
        f"This is a test of quantfarm's alerts, sent by {words.clean(sender, 80)}. Nothing regressed.\n"
        "Where this arrives, a night's regressions and silent devices will.\n"
    )
    subject = "[quantfarm] TEST: alerts arrive here"
    known = digest(["test", text])
    body = {"schema": SCHEMA, "kind": "test", "night": "", "digest": known, "subject": subject, "text": text}
    return Message(night="", subject=subject, text=text, body=body, links=links or Links(), digest=known, test=True)
