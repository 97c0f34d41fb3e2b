"""Telling a night's regressions and silences, once each, wherever a person wants to hear of them."""

from flows.alerting.telling import Sent, tell
from quantfarm.nightly.telling import Links

__all__ = ["Links", "Sent", "tell"]
