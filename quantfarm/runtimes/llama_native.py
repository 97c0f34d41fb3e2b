"""llama.cpp without Python: our own static program, for devices that have nothing but a shell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from quantfarm.nouns import Cell, Trace
from quantfarm.runtimes import events
from quantfarm.runtimes.llama_cpp import HZ, LlamaCpp
from quantfarm.toolchain import cross
from quantfarm.toolchain.machines import here


def platform_of(cell: Cell) -> str:
    """The platform of the cell's device; a device that names none is this machine."""
    return cell.profile.platform or here()


def sampled(native: str, *options: str) -> list[str]:
    """The start of a command that runs under the program's own sampler; the command itself follows."""
    return [native, "--hz", str(HZ), *options, "--"]


class LlamaNative:
    name = "llama_native"
    formats = frozenset({"gguf"})
    workloads = frozenset({"bench", "app", "sustained", "quality"})
    environment = ""
    runner = Path()

    def build(self) -> str:
        return cross.build_here()

    def files(self, cell: Cell) -> Mapping[str, Path]:
        """Raises UsageError where the program is not built for the device's platform."""
        return {"native": cross.program("quantfarm-native", platform_of(cell))}

    def command(self, cell: Cell, files: Mapping[str, str]) -> Sequence[str]:
        native = files.get("native") or str(self.files(cell)["native"])
        request = json.dumps(LlamaCpp().request(cell, files), ensure_ascii=True)
        return [*sampled(native), native, "--request", request]

    def parse(self, lines: Iterable[str]) -> Trace:
        return events.parse(lines)
