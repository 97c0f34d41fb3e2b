"""The command that serves the dashboard: a program of its own, on loopback, whose settings lie beside its page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from quantfarm.errors import FarmError

HOST = "127.0.0.1"


def app() -> Path:
    """The dashboard's page (found, not imported: nothing of ours imports the dashboard)."""
    found = importlib.util.find_spec("dashboard")
    if not found or not found.origin:
        raise FarmError("the dashboard is not in this installation: install quantfarm anew")
    return Path(found.origin).with_name("app.py")


def command(port: int) -> tuple[str, ...]:
    """Serves it on a port of loopback. Raises FarmError where it is not installed."""
    options = {"server.address": HOST, "server.port": port, "browser.gatherUsageStats": "false"}
    told = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return (sys.executable, "-P", "-m", "streamlit", "run", str(app()), *told)


def url(port: int) -> str:
    return f"http://{HOST}:{port}"


def health(port: int) -> str:
    """The address that answers once it serves."""
    return f"{url(port)}/_stcore/health"
