"""How the next token is chosen, and how long an answer may be."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from quantfarm.errors import UsageError

#: name -> (least, most), as runners/chat/request.py has them.
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 5.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 2**31 - 1),
    "repeat_penalty": (0.01, 10.0),
    "max_tokens": (1, 2**31 - 1),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Temperature 0 is greedy; `top_k` 0 and `top_p` 1 leave all tokens in; `repeat_penalty` 1 is none.

    `max_tokens` None: until the context is full; `seed` None: another one each time. Raises UsageError.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    repeat_penalty: float = 1.0
    max_tokens: int | None = 512
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.asked().items():
            least, most = RANGES[name]
            if not least <= value <= most:
                raise UsageError(f"{name} is from {least:g} to {most:g}, not {value:g}")

    def asked(self) -> dict[str, Any]:
        """As a request has them."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
