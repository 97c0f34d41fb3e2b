"""What a sink is: it takes a night's message somewhere. One file each; the table is in flows/alerting/__init__.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from quantfarm.errors import FarmError
from quantfarm.nightly import words
from quantfarm.nightly.message import Message
from storage.home import Home

#: Tries of one sending, and seconds before the second; each later one waits twice as long.
TRIES = 3
WAIT_S = 1.0
#: The longest that a server may make us wait by Retry-After.
LONGEST_WAIT_S = 30.0
HIDDEN = "***"

Answer = TypeVar("Answer")


class NotSent(FarmError):
    """The sink did not take the message. The text is safe to show: no secret is in it.

    `again`: trying once more may help. `after_s`: the server's wish.
    """

    def __init__(self, reason: str, *, again: bool = False, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.after_s = after_s


class Sink(Protocol):
    """`again`: a sending of before was cut off, and may have arrived.

    `implied`: nobody asked for it in alerts.yaml. `send` gives back what a person should know although it was sent.
    Raises NotSent.
    """

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def implied(self) -> bool: ...

    def send(self, home: Home, message: Message, *, again: bool) -> str: ...


class Settings(BaseModel):
    """What all sinks of alerts.yaml share. Secrets are names of environment variables, never values."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    implied: ClassVar[bool] = False

    name: str = Field("", description="what listings call it; default: its kind", max_length=60)

    def secret(self, field: str) -> str:
        """The value behind `url_env` and the like. Raises NotSent where the variable is empty or not there."""
        variable = getattr(self, field)
        value = os.environ.get(variable, "").strip() if variable else ""
        if variable and not value:
            raise NotSent(f"the environment variable {variable} ({field}) is not set where the farm runs")
        return value


def shown(error: BaseException | str, secrets: Iterable[str] = ()) -> str:
    """An error as text without any of the secrets, on one line."""
    text = str(error) or type(error).__name__
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return words.clean(text, 200)


def tried(once: Callable[[], Answer], sleep: Callable[[float], None] = time.sleep) -> Answer:
    """Once, and again where that may help. Raises the last NotSent."""
    for number in range(TRIES):
        try:
            return once()
        except NotSent as error:
            if not error.again or number == TRIES - 1:
                raise
            sleep(min(error.after_s if error.after_s is not None else WAIT_S * 2**number, LONGEST_WAIT_S))
    raise AssertionError("the last try returns or raises")
