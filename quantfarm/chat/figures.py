"""How an answer in a chat felt: what a person who waits for it sees, over HTTP, of one run. No measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.metrics.speed import decode_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`ttft_s` from sending to the first text (None: there was none); `tps` tokens a second from then to the end
    (None below two tokens); `n` and `n_prompt` tokens as the server counted them, None where it did not.

    `ended`: "stop", or "length" where it was cut; `form`: how the conversation was given to the model; `seed`: that
    of chance, None where the server did not say.
    """

    ttft_s: float | None
    tps: float | None
    n: int | None
    n_prompt: int | None
    ended: str
    form: str = ""
    seed: int | None = None


def rate(times: Sequence[int], ended_at: int | None, n: int | None) -> float | None:
    """Tokens a second: of `n` tokens between the first piece of text and the end, else one token a piece.

    `times` of the pieces and `ended_at`, when the end was told, in nanoseconds.
    """
    if n is None or ended_at is None:
        return decode_rate(times)
    if n < 2 or not times or ended_at <= times[0]:
        return None
    return (n - 1) / ((ended_at - times[0]) / 1e9)
