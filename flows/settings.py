"""Prefect's settings for a machine that talks to nobody: set before Prefect is imported.

Where PREFECT_API_URL is set, that server is used; else Prefect starts a temporary one on loopback.
"""

from __future__ import annotations

import contextlib
import os
import queue
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

#: Of a served farm's flows: their log is what its reader has; a beat tells a live one from a dead one; a server that
#: is started again is waited for (1 + 2 + … + 32 s).
SERVED = {
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "PREFECT_RUNNER_POLL_FREQUENCY": "3",
}

#: Of a server that stays. Kept in memory, a lease outlives a restart as a slot that nobody gives back.
SERVER = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # Written together rather than one by one: SQLite has one writer, and several sweeps wait for it.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


def prepare(home: Home) -> None:
    """What the user has set already stays."""
    _default(OFFLINE)
    os.environ.setdefault("PREFECT_HOME", str(home.prefect))


def prepare_served(home: Home) -> None:
    """As prepare, for a process whose flows people start and watch in Prefect's UI."""
    _default(SERVED)
    prepare(home)


def _default(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def own_pages(url: str) -> dict[str, str]:
    """A server's pages ask its own port and not the default one; pages of others may ask nothing."""
    return {"PREFECT_SERVER_UI_API_URL": url, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url.removesuffix("/api")}


def stop_temporary_server() -> None:
    """End the server that Prefect started for us, now rather than some time after the program's end."""
    if server := sys.modules.get("prefect.server.api.server"):  # it was needed only where we started one
        server.SubprocessASGIServer().stop()


def forget_unsent() -> None:
    """Events that a server which is gone was never told of: the program does not wait at its end to send them."""
    for name, service in (("prefect.events.worker", "EventsWorker"), ("prefect.logging.handlers", "APILogWorker")):
        with contextlib.suppress(Exception):  # Prefect's own business: at worst the end takes longer
            for one in list(getattr(sys.modules[name], service)._instances.values()):
                while True:
                    try:
                        one._queue.get_nowait()
                    except queue.Empty:
                        break
