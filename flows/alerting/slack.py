"""An incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat, Discord's /slack)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flows.alerting import posting
from flows.alerting.sinks import Settings, tried
from quantfarm.nightly import slack
from quantfarm.nightly.message import Message
from storage.home import Home


class Slack(Settings):
    kind: Literal["slack"]
    url_env: str = Field(min_length=1, description="environment variable with the incoming webhook's address")

    def send(self, home: Home, message: Message, *, again: bool) -> str:  # noqa: ARG002
        url = self.secret("url_env")
        data = posting.body_of(slack.payload(message, repeated=again))
        tried(lambda: posting.post(url, data, {}))
        return ""
