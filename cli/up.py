"""quantfarm up: the whole farm on this machine, kept running."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json
from flows.up import parts, servers
from flows.up import run as running
from flows.up.status import status as status_of
from quantfarm.errors import UsageError
from storage.home import Home

MINUTE = 60.0


def up(
    port: Annotated[int, typer.Option(help="Of Prefect's server and UI, on loopback.", min=1, max=65535)] = (
        servers.PORT
    ),
    dashboard_port: Annotated[int, typer.Option(help="Of the dashboard, on loopback.", min=1, max=65535)] = (
        parts.DASHBOARD_PORT
    ),
    ray: Annotated[bool, typer.Option("--ray", help="Also a Ray head, for devices that are Ray nodes.")] = False,
    ray_port: Annotated[int, typer.Option(help="Of the Ray head, on loopback.", min=1024, max=65535)] = parts.RAY_PORT,
    nightly: Annotated[bool, typer.Option("--nightly/--no-nightly", help="Measure the watch list by night.")] = True,
    check_every: Annotated[
        float, typer.Option(help="Minutes between checks of all devices; 0: only when asked.", min=0)
    ] = 60,
    database: Annotated[
        str, typer.Option(help="postgresql://USER@HOST/NAME for the server; its password: ~/.pgpass or PGPASSWORD.")
    ] = "",
    go_on: Annotated[
        bool | None, typer.Option("--go-on/--no-go-on", help="Go on with unfinished sweeps. Default: asks.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Tell how it is. Exit code 0: all is well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --status: print JSON.")] = False,
) -> None:
    """Start everything on this machine, keep it running, and stop it all on Ctrl-C.

    That is Prefect's server (SQLite in the farm's folder), the process that serves the deployments, the dashboard,
    and a Ray head with --ray. All of it listens on loopback alone.
    """
    home, console = Home.default(), Console(soft_wrap=True)
    if status:
        return _tell_status(status_of(home), as_json, console)
    if as_json:
        raise UsageError("--json goes with --status")
    wish = parts.Wish(
        server=servers.Server(port, servers.postgres(database) if database else ""),
        dashboard_port=dashboard_port,
        ray=ray,
        ray_port=ray_port,
        nightly=nightly,
        check_every_s=check_every * MINUTE,
        go_on=go_on,
    )
    return running.run(
        home,
        wish,
        lambda text: console.print(text, markup=False, highlight=False),
        (lambda text: typer.confirm(text, default=True)) if sys.stdin.isatty() else None,
    )


def _tell_status(found: dict[str, Any], as_json: bool, console: Console) -> None:
    if as_json:
        print_json(found)
    else:
        for line in _lines(found):
            console.print(line, markup=False, highlight=False)
    if not found["well"]:
        raise typer.Exit(1)


def _lines(found: dict[str, Any]) -> list[str]:
    if found["running"]:
        lines = [f"quantfarm up runs for {found['home']}: process {found['pid']}, since {found['since']}"]
    else:
        lines = [f"quantfarm up does not run for {found['home']}"]
    lines += [_part(one) for one in found["parts"]]
    lines += [f"{'ok   ' if one['ok'] else 'WRONG'} {one['name']}: {one['text']}" for one in found["checks"]]
    if found["running"] and not found["checks"]:
        lines.append("not looked at yet")
    lines += [_sweep(one) for one in found["sweeps"]]
    return lines


def _part(one: dict[str, Any]) -> str:
    process = f", process {one['pid']}" if one["pid"] else ""
    again = f", started again {one['restarts']} times" if one["restarts"] else ""
    line = f"{one['name']}: {one['state']}{process}, since {one['since']}{again} {one['url']}".rstrip()
    problem = f"\n  {one['problem']}" if one["problem"] else ""
    last = f"\n  last line: {one['last_line']} ({one['log']})" if one["last_line"] else ""
    return line + problem + last


def _sweep(one: dict[str, Any]) -> str:
    how = "is being carried out" if one["alive"] else "unfinished"
    again = f", gone on with {one['went_on']} times" if one.get("went_on") else ""
    return f"sweep {one['sweep']} of {one['model']}: {one['finished']} of {one['cells']} cells, {how}{again}"
