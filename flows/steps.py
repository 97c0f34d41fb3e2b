"""What a person who registers or checks a device is told: steps with their estimate, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`kind`: step (something begins; `about_s` says how long it takes, 0: a moment), found, warning, waiting."""

    device: str
    kind: str
    text: str
    about_s: float = 0.0


Tell = Callable[[Step], None]


@dataclass(slots=True)
class Teller:
    """Tells of one device, and keeps the warnings."""

    device: str
    tell: Tell
    warnings: list[str] = field(default_factory=list[str])

    def step(self, text: str, about_s: float = 0.0) -> None:
        self.tell(Step(device=self.device, kind="step", text=text, about_s=about_s))

    def found(self, text: str) -> None:
        self.tell(Step(device=self.device, kind="found", text=text))

    def warning(self, text: str) -> None:
        self.warnings.append(text)
        self.tell(Step(device=self.device, kind="warning", text=text))

    def waiting(self, who: str) -> None:
        self.tell(Step(device=self.device, kind="waiting", text=f"{self.device} is in use by {who}; waiting for it"))
