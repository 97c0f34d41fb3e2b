"""Prefect's settings for a machine that talks to nobody: set before Prefect is imported.

Where PREFECT_API_URL is set, that server is used; else Prefect starts a temporary one on loopback.
"""

from __future__ import annotations

import os
import sys

from storage.home import Home

OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # calls an analytics host whatever is set
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",  # landed files are the results
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the sweep itself tells what happens; a failed cell is a row
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
}


def prepare(home: Home) -> None:
    """What the user has set already stays."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home.prefect))


def stop_temporary_server() -> None:
    """End the server that Prefect started for us, now rather than some time after the program's end."""
    if server := sys.modules.get("prefect.server.api.server"):  # it was needed only where we started one
        server.SubprocessASGIServer().stop()
