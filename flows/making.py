"""Make the variants that a sweep's cells need: several at once on this machine; one that fails stops no other."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

import psutil
from prefect.client.schemas.objects import State as PrefectState

from agents import Agent
from flows.prepare import Prepared
from flows.progress import tell
from flows.stopping import Stopped
from flows.tasks import quantize
from quantfarm.nouns import Artifact, Variant
from storage.atomic import NoRoom
from storage.home import Home

#: llama.cpp's quantizer works on one tensor with all cores, and reads, writes and is hashed with one: two side by
#: side fill each other's pauses, more help only where there are cores for them.
CORES_EACH = 4
LEAST, MOST = 2, 8
#: Of the source's size: its pages, the written ones, and the largest tensor in F32 (about a tenth, four times as wide).
MEMORY_EACH = 2.4


def at_once(source_size: int, cores: int, free: int) -> int:
    """How many variants to make side by side: bounded by cores, and by free memory (bytes)."""
    by_memory = int(free / max(1.0, MEMORY_EACH * source_size))
    return max(1, min(MOST, max(LEAST, cores // CORES_EACH), by_memory))


def make(
    home: Home, prepared: Prepared, missing: Sequence[Variant], stop: threading.Event, on: Agent | None = None
) -> tuple[dict[str, Artifact], dict[str, str]]:
    """Artifacts and failures by recipe id. `on`: a device that makes them, one after another, in place of this machine;
    the caller holds its lease. Raises NoRoom, Stopped."""
    made: dict[str, Artifact] = {}
    failed: dict[str, str] = {}
    free = psutil.virtual_memory().available
    workers = 1 if on else min(len(missing), at_once(prepared.source.size, os.cpu_count() or 1, free))
    host = on or prepared.host
    with ThreadPoolExecutor(workers, thread_name_prefix="quantize") as pool:
        try:
            ours = {
                pool.submit(contextvars.copy_context().run, _one, home, prepared, host, one, stop): one
                for one in missing
            }
            for number, future in enumerate(as_completed(ours), 1):
                recipe = ours[future].recipe.id
                _sort(future, recipe, made, failed)
                if number < len(missing):
                    tell("note", f"{number} of {len(missing)} quantizations are there")
        except BaseException:  # whatever it is: what runs ends, what has not begun does not begin
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return made, failed


def _one(home: Home, prepared: Prepared, host: Agent, variant: Variant, stop: threading.Event) -> PrefectState[Any]:
    if stop.is_set():
        raise Stopped("stopped before it was quantized")
    return quantize(home, host, variant, prepared.source_files, stop, return_state=True)


def _sort(future: Future[PrefectState[Any]], recipe: str, made: dict[str, Artifact], failed: dict[str, str]) -> None:
    """A failure is kept as the reason that the variant's cells will fail with."""
    found: Any = future.result().result(raise_on_failure=False)
    if isinstance(found, (NoRoom, Stopped)):
        raise found
    if isinstance(found, Artifact):
        made[recipe] = found
    else:
        failed[recipe] = str(found)
