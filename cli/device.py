"""quantfarm device: register devices, see how they are, and take them out of use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
import yaml
from rich.console import Console

from cli import device_view
from cli.output import print_json
from cli.steps import Steps
from flows import checks, devices, progress
from flows import discover as within_reach
from flows import register as registering
from flows.register import Wanted
from flows.steps import Tell
from flows.trust import Confirm, Shown
from quantfarm.errors import UsageError
from quantfarm.nouns import Scalar
from storage.devices import Registry
from storage.home import Home
from storage.ingest import ingest
from storage.publish import current

app = typer.Typer(help=__doc__, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The device's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the device's record.")]


@contextmanager
def _shown(as_json: bool) -> Iterator[tuple[Tell, Steps]]:
    """Steps go to stderr under --json, quietly: warnings alone are said."""
    steps = Steps(Console(stderr=as_json))
    if as_json:
        yield lambda step: steps.step(step) if step.kind == "warning" else None, steps
        return
    with progress.listening(steps), steps:
        yield steps.step, steps


def _publish(home: Home) -> None:
    """The records' rows into the database, where there is one already."""
    if current(home):
        ingest(home)


@app.command()
def add(
    name: Name,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="ssh://[user@]host[:port], ray://NODE, adb://SERIAL, local")
    ],
    tag: Annotated[list[str] | None, typer.Option(help="Sweeps may name it by this; may be given again.")] = None,
    python: Annotated[str, typer.Option(help="The Python on the device that has llama-cpp-python.")] = "",
    environment: Annotated[
        bool, typer.Option(help="Make environments for the runtimes that the device is for (minutes).")
    ] = False,
    host_key: Annotated[str, typer.Option(metavar="SHA256:…", help="The SSH host key's fingerprint.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Accept a host key that is not known yet.")] = False,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A setting of the agent.")] = None,
    idle_s: Annotated[float, typer.Option(help="Seconds to watch it at rest; 0: not at all.", min=0)] = 60.0,
    again: Annotated[bool, typer.Option("--again", help="Register anew what is registered already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register a device: reach it, find out what it is, run a canary, write its profile."""
    home = Home.default()
    options = _options(option or []) | ({"python": python} if python else {})
    wanted = Wanted(
        name=name,
        url=url,
        tags=tuple(tag or ()),
        options=options,
        host_key=host_key,
        environment=environment,
        idle_s=idle_s,
        again=again,
    )
    with _shown(as_json) as (tell, steps):
        done = registering.register(home, wanted, tell, _confirm(steps, yes))
    _publish(home)
    if as_json:
        print_json(device_view.told(done))
    else:
        device_view.registered(done, Console())


def _options(given: list[str]) -> dict[str, Scalar]:
    """`KEY=VALUE`, the value as YAML has it: numbers and truths are what they look like."""
    options: dict[str, Scalar] = {}
    for one in given:
        key, equals, text = one.partition("=")
        if not key.isidentifier() or not equals:
            raise UsageError(f"--option {one}: it is KEY=VALUE")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        options[key] = value if isinstance(value, str | int | float | bool) else text
    return options


def _confirm(steps: Steps, yes: bool) -> Confirm | None:
    if yes:
        return lambda _: True
    if not steps.console.is_terminal:
        return None

    def ask(shown: Shown) -> bool:
        steps.pause()
        try:
            steps.console.print(
                f"{shown.host} shows the host key\n    {shown.kind} {shown.fingerprint}", highlight=False
            )
            return typer.confirm("Is that the device's?")
        finally:
            steps.go_on()

    return ask


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Retired ones too.")] = False, as_json: AsJson = False
) -> None:
    """All devices with their state, and when it changed."""
    rows = device_view.rows(Home.default(), every=every)
    if as_json:
        print_json(rows)
    else:
        device_view.table(rows, Console())


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """One device: its facts, the changes of its state, its canaries."""
    about = device_view.about(Home.default(), name)
    if as_json:
        print_json(about)
    else:
        device_view.page(about, Console())


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Devices to check.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All registered devices.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run canaries: drift sends a device away, three clean ones bring it back. Exit code 1: not all are ready."""
    if bool(names) == every:
        raise UsageError("say which devices to check, or --all")
    _check(Home.default(), names or [], as_json)


def _check(home: Home, names: list[str], as_json: bool) -> None:
    with _shown(as_json) as (tell, _):
        done = checks.check(home, names, tell)
    _publish(home)
    if as_json:
        print_json([asdict(one) for one in done])
    else:
        device_view.checked(done, Console(soft_wrap=True))
    if not all(one.ok for one in done):
        raise typer.Exit(1)


@app.command()
def discover(as_json: AsJson = False) -> None:
    """Phones at the adb client and nodes of the Ray cluster that are not registered yet."""
    found = within_reach.discover(Home.default())
    if as_json:
        print_json({"devices": [asdict(one) for one in found.seen], "notes": found.notes})
    else:
        device_view.discovered(found, Console(soft_wrap=True))


@app.command()
def quarantine(name: Name, reason: Reason, as_json: AsJson = False) -> None:
    """Take a device out of use until `release`."""
    home = Home.default()
    devices.quarantine(home, name, reason)
    _moved(
        home, name, as_json, f"{name} is quarantined: no work is given to it until `quantfarm device release {name}`"
    )


@app.command()
def release(
    name: Name,
    reason: Reason = "released",
    and_check: Annotated[bool, typer.Option("--check/--no-check", help="Check it at once.")] = True,
    as_json: AsJson = False,
) -> None:
    """End a quarantine, and check the device: it is ready after a clean canary."""
    home = Home.default()
    devices.release(home, name, reason)
    if and_check:
        _check(home, [name], as_json)
    else:
        _moved(home, name, as_json, f"{name} is released; `quantfarm device check {name}` makes it ready")


@app.command()
def remove(name: Name, reason: Reason = "removed", as_json: AsJson = False) -> None:
    """Retire a device; its results stay."""
    home = Home.default()
    aside = devices.retire(home, name, reason)
    _moved(
        home, name, as_json, f"{name} is retired; its results stay{f', its profile lies in {aside}' if aside else ''}"
    )


def _moved(home: Home, name: str, as_json: bool, text: str) -> None:
    _publish(home)
    if as_json:
        print_json({"device": name, "state": Registry(home).state(name)})
    else:
        Console(soft_wrap=True).print(text, markup=False, highlight=False)
