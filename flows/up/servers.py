"""The Prefect server as a process: how it is started, on which database, and whether it answers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from flows import settings
from flows.up.api import Api
from flows.up.ports import HOST
from quantfarm.errors import UsageError

PORT = 4200
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
#: Variables that may hold the database's password: for the server alone, not for what is measured.
SECRETS = ("PGPASSWORD", "PREFECT_SERVER_DATABASE_PASSWORD", DATABASE, "PREFECT_API_DATABASE_CONNECTION_URL")


@dataclass(frozen=True, slots=True)
class Server:
    """`database`: an address of PostgreSQL; empty: SQLite in the farm's folder, or what the environment says."""

    port: int = PORT
    database: str = ""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/api"

    @property
    def pages(self) -> str:
        return self.url.removesuffix("/api")

    @property
    def api(self) -> Api:
        return Api(self.url)

    @property
    def command(self) -> tuple[str, ...]:
        """No address of a database here: everybody sees command lines."""
        start = ("server", "start", "--host", HOST, "--port", str(self.port))
        return (sys.executable, "-P", "-m", "flows.prefect_server", *start)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ.get(name, value) for name, value in settings.SERVER.items()}
        database = {DATABASE: self.database} if self.database else {}
        return {**kept, **settings.own_pages(self.url), **database}


def postgres(url: str) -> str:
    """An address that the server takes. Raises UsageError for other databases, and for a password in it."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in ("postgresql", "postgres"):
        raise UsageError(f"--database is postgresql://USER@HOST/NAME (or ?host=FOLDER for a socket), not {scheme}://…")
    if parts.password:
        raise UsageError(
            "a password on the command line can be read by everybody: leave it out and use ~/.pgpass or PGPASSWORD"
        )
    return f"postgresql+asyncpg{url[len(parts.scheme) :]}"
