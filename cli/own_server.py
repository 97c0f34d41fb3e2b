"""Prefect for one command: its settings, the server of `quantfarm up` or one of its own, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from flows import reaper, settings
from flows.up import state
from flows.up.api import Api
from quantfarm.errors import FarmError
from storage.home import Home


@contextmanager
def ready(home: Home) -> Iterator[None]:
    """Within this block flows may be imported and called. Raises FarmError where the server does not start."""
    _prepare(home)
    keeper = reaper.start()
    try:
        yield
    except RuntimeError as error:
        if "connect to ephemeral Prefect API server" in str(error):
            raise FarmError(f"Prefect's temporary server did not start: {error} Nothing was run.") from error
        raise
    finally:
        settings.stop_temporary_server()
        if keeper.stdin:
            keeper.stdin.close()


def _prepare(home: Home) -> None:
    """Where the farm is up and nothing names another server, its server is taken: two on one database lock each other
    out, and what is started here is then seen in its UI too."""
    url = "" if os.environ.get("PREFECT_API_URL") else state.api(home)
    if not url or not Api(url).healthy():
        return settings.prepare(home)
    os.environ["PREFECT_API_URL"] = url
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # a terminal has what it shows itself
    return settings.prepare_served(home)
