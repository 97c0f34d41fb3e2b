"""Server-sent events from bytes as they come: cut anywhere, also within a character or a line's end."""

from __future__ import annotations

import codecs

#: Characters; what is longer is no event of a chat.
MOST = 2**24


class Events:
    """The WHATWG's event streams, of which only `data` matters here."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._data: list[str] = []
        self._first = True

    def feed(self, part: bytes) -> list[str]:
        """The data of the events that are whole now. Raises ValueError for a line without end."""
        self._rest += self._decoder.decode(part)
        if self._first and self._rest:
            self._rest, self._first = self._rest.removeprefix("\ufeff"), False
        found: list[str] = []
        while (line := self._line()) is not None:
            if line:
                self._take(line)
            elif self._data:
                found.append("\n".join(self._data))
                self._data.clear()
        if len(self._rest) + sum(map(len, self._data)) > MOST:
            raise ValueError("an event that is too long")
        return found

    def _line(self) -> str | None:
        """The next whole line. A carriage return at the very end may be half of a line's end."""
        ends = [at for at in (self._rest.find("\r"), self._rest.find("\n")) if at >= 0]
        if not ends or (self._rest[min(ends)] == "\r" and min(ends) == len(self._rest) - 1):
            return None
        at = min(ends)
        after = at + 2 if self._rest[at : at + 2] == "\r\n" else at + 1
        line, self._rest = self._rest[:at], self._rest[after:]
        return line

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
