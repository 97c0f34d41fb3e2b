"""A webhook: the night as JSON, signed where a secret is shared."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

from pydantic import Field

from flows.alerting import posting
from flows.alerting.sinks import Settings, tried
from quantfarm.nightly.message import Message
from storage.home import Home

SIGNATURE = "X-Quantfarm-Signature-256"


class Webhook(Settings):
    kind: Literal["webhook"]
    url_env: str = Field(min_length=1, description="environment variable with the address")
    secret_env: str = Field("", description="environment variable with the secret that signs the body")

    def send(self, home: Home, message: Message, *, again: bool) -> str:  # noqa: ARG002
        """The body is signed as GitHub's webhooks are: `sha256=` and the HMAC of the body, in hex."""
        url, secret = self.secret("url_env"), self.secret("secret_env")
        data = posting.body_of({**message.body, "maybe_repeated": again})
        headers = {"Idempotency-Key": message.digest}
        if secret:
            headers[SIGNATURE] = signature(secret, data)
        tried(lambda: posting.post(url, data, headers, [secret]))
        return ""


def signature(secret: str, data: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
