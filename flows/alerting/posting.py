"""A JSON body to a web address, once. The address itself is a secret: who knows it can write there."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flows.alerting.sinks import NotSent, shown

TIMEOUT_S = 10.0
#: Of an answer, so much is read: what a person needs of a refusal.
ANSWER = 300
BUSY = 429


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without a body: the message would be lost, and look as if it were sent."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def body_of(thing: object) -> bytes:
    return json.dumps(thing, ensure_ascii=False, allow_nan=False).encode()


def post(url: str, data: bytes, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
    """Raises NotSent, which names the host alone."""
    host, hidden = _host(url), [url, _path(url), *secrets]
    request = urllib.request.Request(  # noqa: S310 - _host took http and https alone
        url, data=data, headers={"Content-Type": "application/json", "User-Agent": "quantfarm", **headers}
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        raise _refused(host, error, hidden) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotSent(f"{host} cannot be reached: {shown(reason, hidden)}", again=True) from None
    except ValueError:
        raise NotSent(f"the address of {host} cannot be used") from None


def _refused(host: str, error: urllib.error.HTTPError, hidden: Iterable[str]) -> NotSent:
    answer = ""
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = shown(error.read(ANSWER).decode("utf-8", "replace"), hidden)
    error.close()
    again = error.code >= 500 or error.code == BUSY
    return NotSent(f"{host} answered {error.code}{f': {answer}' if answer else ''}", again=again, after_s=_wish(error))


def _wish(error: urllib.error.HTTPError) -> float | None:
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _host(url: str) -> str:
    """Raises NotSent for what is no web address, without showing it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        host, port, parts = "", None, None
    if not host or parts is None or parts.scheme not in ("http", "https"):
        raise NotSent("the address is no http:// or https:// address")
    return f"{host}:{port}" if port else host


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}".strip("?/")
