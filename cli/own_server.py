"""Prefect for one command: its settings, a server of its own where none is set, and nothing of it left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows import reaper, settings
from quantfarm.errors import FarmError
from storage.home import Home


@contextmanager
def ready(home: Home) -> Iterator[None]:
    """Within this block flows may be imported and called. Raises FarmError where the server does not start."""
    settings.prepare(home)
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
