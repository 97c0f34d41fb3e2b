"""The nightly flow: what the watch list names is measured, judged, and told. docs/nightly.md says how."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import artifacts, labels
from flows.night_measuring import Measuring, alone, asked
from flows.progress import tell
from flows.stopping import Stopped
from flows.sweep import sweep
from flows.up import state
from quantfarm.errors import FarmError
from quantfarm.nightly import page
from quantfarm.nightly.verdicts import NightReport
from storage import nights
from storage.home import Home

REGRESSED, NO_DATA, BEFORE = "Regressed", "NoData", "measured already"


def _run_name() -> str:
    """`nightly 2026-11-20`; without a date where the watch list cannot be read, which the run then says."""
    given: dict[str, Any] = dict(flow_run.parameters or {})
    try:
        return f"nightly {asked(Home.default(), given.get('night'), given.get('watch_list')).night}"
    except FarmError:
        return "nightly"


@flow(name="nightly", flow_run_name=_run_name, persist_result=False, validate_parameters=False)
def nightly(night: str | None = None, watch_list: str | None = None) -> State[Any]:
    """Measure what the watch list names, and say what changed since the nights before.

    A night that was cut off goes on where it was; one that has its report is not measured again.

    Args:
        night: ISO date of the night; none: today, in the schedule's time zone
        watch_list: a watch list; none: the farm's own (QUANTFARM_NIGHTLY, nightly.yaml)
    """
    home, say = Home.default(), _teller()
    try:
        what = asked(home, night, watch_list)
        with alone(home):
            known = nights.report(home, what.night)
            report = known or Measuring(home, what, _swept, say=say).report()
            _tell(home, report, say)
    except FarmError as error:  # a message for a person, not a traceback; who calls the flow gets it raised
        return Failed(message=str(error), data=error)
    return Completed(message=f"{what.night}: {BEFORE}") if known else _state(report)


def _teller() -> Callable[[str], None]:
    """To who watches, and to the run's log; from any thread."""
    log = get_run_logger()

    def say(text: str) -> None:
        tell("note", text)
        log.info("%s", text)

    return say


def _swept(request: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """A sweep as a run of its own beneath this one."""
    state: State[Any] = sweep(**request, return_state=True)  # pyright: ignore[reportCallIssue] - Prefect's own
    found = state.result(raise_on_failure=False)
    if isinstance(found, Stopped):
        raise found
    if isinstance(found, Mapping):
        return found
    return str(found) if isinstance(found, FarmError) else f"the sweep ended as {state.name}: {state.message}"


def _state(report: NightReport) -> State[Any]:
    message = page.line(report)
    if report.regressions:
        return Failed(name=REGRESSED, message=message)
    return Failed(name=NO_DATA, message=message) if report.silent else Completed(message=message)


def _tell(home: Home, report: NightReport, say: Callable[[str], None]) -> None:
    """The page of the run, and whoever wants to hear. A night that was told is not told again."""
    from flows.alerting import Links  # noqa: PLC0415 - only where there is something to tell
    from flows.alerting import tell as alert  # noqa: PLC0415

    url = ""
    of = [one.series for one in report.verdicts]
    labels.tag((one.model for one in of), (one.device for one in of))
    with contextlib.suppress(Exception):  # where the UI is, is a convenience
        url = str(flow_run.ui_url or "")
    link = f"[This run]({url}) · " if url else ""
    text = page.markdown(report, f"{link}`quantfarm nightly history SERIES` shows the nights of a series.")
    artifacts.markdown("nightly", text, page.line(report))
    for sent in alert(home, report, Links(run=url, dashboard=state.url(home, "dashboard"))):
        say(sent.line)
