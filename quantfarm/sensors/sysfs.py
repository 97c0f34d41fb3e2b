"""Reading what `grep -H . FILES…` prints of small kernel files: `PATH:VALUE`, and its own complaints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from quantfarm.marked import whole_lines

#: Folders looked at; more are not read.
MOST = 1024


def command(*globs: str) -> str:
    """One process for all files. What cannot be read is said too: it is the reason for an unknown value."""
    return f"grep -H . {' '.join(globs)} 2>&1"


@dataclass(slots=True)
class Tree:
    """Folder -> file -> its first line; and folder -> file -> why it could not be read."""

    files: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    errors: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def folders(self) -> list[str]:
        """In the order of the numbers in their names, as the kernel counts."""
        names = self.files.keys() | self.errors.keys()
        return sorted(names, key=lambda name: [int(n) if n.isdigit() else n for n in re.split(r"([0-9]{1,18})", name)])

    def get(self, folder: str, file: str) -> str | None:
        return self.files.get(folder, {}).get(file)

    def why(self, folder: str, file: str) -> str | None:
        return self.errors.get(folder, {}).get(file)


def tree(text: str, files: str) -> Tree:
    """`files` is a regular expression for the names of the files asked for; folders go by their own names."""
    # After the file's name a value follows at once, a complaint after a space and behind the tool's name.
    value = re.compile(rf"/(?:[^\0]*?/)?(?P<folder>[^/]+)/(?P<file>{files}):(?P<value>.*)")
    error = re.compile(rf"[a-z ]{{1,20}}: /(?:[^\0]*?/)?(?P<folder>[^/*]+)/(?P<file>{files}): (?P<value>[A-Z][^\0]*)")
    found = Tree()
    for line in whole_lines(text):
        for pattern, into in ((value, found.files), (error, found.errors)):
            match = pattern.fullmatch(line)
            if match and (len(into) < MOST or match["folder"] in into):
                into.setdefault(match["folder"], {}).setdefault(match["file"], match["value"].strip())
    return found


def denied(reason: str | None) -> bool:
    return reason is not None and "denied" in reason.lower()


def globs(folder: str, names: Iterable[str]) -> list[str]:
    return [f"{folder}/{name}" for name in names]
