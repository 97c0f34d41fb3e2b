"""The Prefect server's API, asked as plain JSON over HTTP."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from quantfarm.errors import FarmError

TIMEOUT_S = 10.0
#: The most that the server gives in one answer.
PAGE = 200
#: What the server answers when its SQLite is in use: ask again, as Prefect's own clients do.
BUSY = 503
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
#: What is asked for is wrong, not there, or conflicts with what is.
REFUSALS = (400, 404, 409, 422)


class NoAnswer(FarmError):
    """The server does not answer, or with an error."""


class Busy(NoAnswer):
    """The server asks to be asked again."""


class Refused(NoAnswer):
    """The server answers that the request itself is wrong: asked again, it says the same."""


@dataclass(frozen=True, slots=True)
class Api:
    """`url` ends in /api. Every method raises NoAnswer."""

    url: str

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = TIMEOUT_S) -> Any:
        """The decoded answer; None where it has no content. A server that is busy is asked again."""
        for pause in PAUSES_S:
            try:
                return self._ask(method, path, body, timeout_s)
            except Busy:
                time.sleep(pause)
        return self._ask(method, path, body, timeout_s)

    def _ask(self, method: str, path: str, body: object, timeout_s: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - a server's address is http
            f"{self.url}{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                content = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read(400).decode(errors="replace")
            kind = Refused if error.code in REFUSALS else Busy if error.code == BUSY else NoAnswer
            raise kind(f"{method} {path}: the Prefect server answered {error.code}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{method} {path}: the Prefect server at {self.url} does not answer: {error}") from error
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise NoAnswer(f"{method} {path}: the answer is no JSON: {content[:200]!r}") from error

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: object = None) -> Any:
        return self.ask("POST", path, {} if body is None else body)

    def healthy(self, timeout_s: float = 5.0) -> bool:
        try:
            return self.ask("GET", "/health", timeout_s=timeout_s) is True
        except NoAnswer:
            return False

    def all(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Every row of a filter, page after page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.post(path, {**body, "limit": PAGE, "offset": len(found)})
            found += page
            if len(page) < PAGE:
                return found

    def deployments(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {one["name"]: one for one in self.all("/deployments/filter", {})}

    def runs(self, states: list[str], **more: Any) -> list[dict[str, Any]]:
        """Flow runs whose state is of one of these types or names, the earliest expected first."""
        kind = "type" if all(state.isupper() for state in states) else "name"
        chosen = {"state": {kind: {"any_": states}}, **more}
        return self.all("/flow_runs/filter", {"flow_runs": chosen, "sort": "EXPECTED_START_TIME_ASC"})

    def set_state(self, run_id: str, kind: str, message: str, *, force: bool = False) -> None:
        state = {"type": kind, "name": kind.capitalize(), "message": message}
        self.post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": force})
