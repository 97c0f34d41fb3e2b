"""Links into the dashboard: a view with its choices, as anybody can reopen it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

#: Where `quantfarm up` and `quantfarm dashboard` serve it unless they are told otherwise.
ADDRESS = "http://127.0.0.1:8501"

Choice = str | int | float | bool | Sequence[str] | None


def view(base: str, name: str, **choices: Choice) -> str:
    """The address of a view under `base`. What is None or empty is left to the view; several values repeat the name.

    >>> view("http://127.0.0.1:8501", "frontier", device="local", model="reference")
    'http://127.0.0.1:8501/frontier?device=local&model=reference'
    """
    given = {key: _text(value) for key, value in choices.items() if value not in (None, "", (), [])}
    query = urlencode(given, doseq=True)
    return f"{base.rstrip('/')}/{name}" + (f"?{query}" if query else "")


def _text(value: Choice) -> str | list[str]:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else [str(one) for one in value or ()]
