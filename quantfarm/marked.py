"""Several commands' output in one text, each under a mark: one connection, one shell, many answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WORD = "@quantfarm"
#: What came before the mark on its line is the end of an output that was cut off, or that ended without a newline.
MARK = re.compile(rf"^(?P<rest>.*?){WORD} (?P<name>[\w.-]{{1,64}})(?: (?P<stamp>[^\r\n]{{1,64}}))?\s*$")
#: Characters kept of one output; what a device prints beyond is dropped.
LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One mark and the output under it; `stamp` is what else the mark said."""

    name: str
    stamp: str
    text: str


def section(name: str, command: str, limit: int = LIMIT) -> str:
    """Shell text that prints a mark and at most `limit` bytes of a command's output under it."""
    return f"echo '{WORD} {name}'\n{{ {command}\n}} </dev/null 2>&1 | head -c {limit}\n"


def end() -> str:
    """Shell text that closes the last section: without it nobody knows whether its last line is whole."""
    return f"echo '{WORD} .'\n"


class _Open:
    """The part that is being read; bounded, however much comes."""

    def __init__(self, name: str, stamp: str) -> None:
        self.name, self.stamp = name, stamp
        self._lines: list[str] = []
        self._room = LIMIT

    def add(self, line: str) -> None:
        if self._room > 0:
            self._lines.append(line[: self._room])
            self._room -= len(line)

    def close(self) -> Part:
        return Part(self.name, self.stamp, "".join(self._lines))


def parts(lines: Iterable[str]) -> Iterator[Part]:
    """The parts as they end, from lines with or without their newline. What precedes the first mark, and
    what follows the last one, is nobody's; a line that a mark interrupts is left without its newline."""
    now: _Open | None = None
    for line in lines:
        found = MARK.match(line) if WORD in line else None
        if not found:
            if now:
                now.add(line.rstrip("\r\n") + "\n")
            continue
        if now:
            now.add(found["rest"])
            yield now.close()
        now = None if found["name"] == "." else _Open(found["name"], found["stamp"] or "")


def sections(lines: Iterable[str]) -> dict[str, str]:
    """Section -> its text; of two of one name the first."""
    found: dict[str, str] = {}
    for part in parts([*lines, f"{WORD} ."]):
        found.setdefault(part.name, part.text)
    return found


def whole_lines(text: str) -> list[str]:
    """The lines of a text; a last one without its newline was cut off and may read as another number."""
    return [line.rstrip("\r") for line in text.split("\n")[:-1]]
