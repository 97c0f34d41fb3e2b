"""Under what conditions a trace was taken, as the runner itself saw them: for reports, and to compare runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantfarm.nouns import Trace

#: Facts about the text that was measured on, where one was.
TEXT = ("text_sha256", "token_sha256", "n_tokens", "n_chunks", "n_ctx", "add_bos", "bytes")


#: What a runner says of weights that it does not keep as the format has them.
UNPACKED = "unpacked at loading"


def as_held(trace: Trace) -> str:
    """What a reader must know of a speed or a peak of 4-bit weights that a runtime unpacks for good; else empty."""
    settings: Mapping[str, Any] = trace.first("loaded").get("settings", {})
    unpacked = settings.get("weights") == UNPACKED
    return f"of weights {UNPACKED}: not what the format's own kernels do" if unpacked else ""


def conditions(trace: Trace) -> dict[str, Any]:
    """`runner`, `versions`, `python`, `system`, `backend`, `settings` in effect, `model`, and what TEXT names.

    What a trace does not say is left out.
    """
    begin, loaded, tokens = trace.first("begin"), trace.first("loaded"), trace.first("tokens")
    found: dict[str, Any] = {name: begin.get(name) for name in ("runner", "versions", "system")}
    found["python"] = begin.get("versions", {}).get("python")
    found |= {name: loaded.get(name) for name in ("backend", "settings", "model")}
    found |= {name: tokens.get(name) for name in TEXT}
    return {name: value for name, value in found.items() if value is not None}
