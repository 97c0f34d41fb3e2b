"""What can be started from Prefect's UI besides sweeps and nights: devices, the report, the database."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import artifacts, checks, labels, refusals, register, reporting
from flows.progress import News, listening
from flows.register import Wanted
from flows.reporting import Document
from flows.steps import Step
from quantfarm.errors import FarmError
from quantfarm.report.figures import plural
from storage.home import Home
from storage.ingest import ingest, rebuild

#: Results are files of the farm's, never Prefect's.
PLAIN: dict[str, Any] = {"persist_result": False, "log_prints": False}


class _Log:
    """Steps and news as lines of the run's log."""

    def __init__(self) -> None:
        self._log = get_run_logger()

    def step(self, step: Step) -> None:
        about = f" (about {step.about_s:.0f} s)" if step.about_s else ""
        level = logging.WARNING if step.kind in ("warning", "waiting") else logging.INFO
        self._log.log(level, "%s: %s%s", step.device, step.text, about)

    def tell(self, news: News) -> None:
        if news.text:
            self.say(news.text)

    def say(self, text: str) -> None:
        self._log.info("%s", text)


@flow(name="register-device", flow_run_name="register {name}", **PLAIN)
def register_device(
    name: str,
    url: str,
    tags: list[str] | None = None,
    options: dict[str, str | int | float | bool] | None = None,
    host_key: str = "",
    environment: bool = False,
    idle_s: float = 60.0,
    again: bool = False,
) -> State[Any]:
    """Register a device: reach it, find out what it is, run a canary, write its profile.

    Args:
        name: what sweeps will call it: lowercase letters, digits and dashes
        url: ssh://[user@]host[:port], ray://NODE, adb://SERIAL or local
        tags: sweeps may name it by these
        options: settings of its agent, as JSON (docs/devices.md)
        host_key: SHA256:…, as `ssh-keygen -lf` prints it on the device: the key that you accept
        environment: make an environment with llama-cpp-python on it
        idle_s: how long it is watched while it does nothing
        again: register anew what is registered already; limits, targets and tags stay
    """
    home, log = Home.default(), _Log()
    labels.tag(devices=[name])
    wanted = Wanted(
        name=name,
        url=url,
        tags=tuple(tags or ()),
        options=options or {},
        host_key=host_key,
        environment=environment,
        idle_s=idle_s,
        again=again,
    )
    try:
        with listening(log):
            done = register.register(home, wanted, log.step)
    except FarmError as error:  # a message for a person, not a traceback
        return refusals.failed(error)
    finally:
        ingest(home)
    return Completed(message=f"{name}: {'; '.join([done.lines[0], *done.warnings])}")


def _given(name: str) -> Any:
    """A parameter of the run in hand."""
    return dict(flow_run.parameters or {}).get(name)


def _check_name() -> str:
    """`check desk, phone`."""
    return f"check {', '.join(_given('names') or ()) or 'all devices'}"


def _report_name() -> str:
    """`report of reference on desk`."""
    of, on = _given("model"), _given("device")
    return "report" + (f" of {of}" if of else "") + (f" on {on}" if on else "")


@flow(name="check-devices", flow_run_name=_check_name, **PLAIN)
def check_devices(names: list[str] | None = None) -> State[Any]:
    """Run canaries on devices; drift sends one away, three clean ones bring it back.

    Args:
        names: the devices; empty: all that are registered and that nobody has quarantined
    """
    home, log = Home.default(), _Log()
    try:
        with listening(log):
            asked = names or checks.registered(home, held=False)
            labels.tag(devices=asked)
            done = checks.check(home, asked, log.step)
    except FarmError as error:
        return refusals.failed(error)
    finally:
        ingest(home)
    text = "; ".join(f"{one.device} is {one.state}: {one.text}" for one in done) or "no device is registered"
    if all(one.ok for one in done):
        return Completed(message=text)
    refusals.quiet()
    return Failed(message=text)


@flow(name="report", flow_run_name=_report_name, **PLAIN)
def report(device: str = "", model: str = "", documents: list[Document] | None = None) -> State[Any]:
    """Write BENCHMARK.md, model cards, WRITEUP.md and their plots into the farm's report folder, all or nothing.

    Args:
        device: only this device; empty: all
        model: only this model; empty: all
        documents: which documents; empty: all
    """
    home = Home.default()
    try:
        written = reporting.write(home, home.report, device or None, model or None, documents or tuple(Document))
    except FarmError as error:
        return refusals.failed(error)
    for path in (one for one in written if one.parent == home.report):
        artifacts.markdown(path.stem.lower(), path.read_text("utf-8"), f"{path}")
    return Completed(message=f"wrote {written[0]} and {plural(len(written) - 1, 'more file')}")


@flow(name="rebuild-database", flow_run_name="rebuild the database", **PLAIN)
def rebuild_database() -> State[Any]:
    """Make the database anew from the landed files, which are the truth, and publish it."""
    log = _Log()
    try:
        version = rebuild(Home.default(), on_wait=lambda who: log.say(f"the database is in use by {who}; waiting"))
    except FarmError as error:
        return refusals.failed(error)
    return Completed(message=f"the database was made anew from the landed files: version {version}")
