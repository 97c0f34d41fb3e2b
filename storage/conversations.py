"""Conversations that a person had with variants, on this machine alone.

HOME/conversations/<id>.json   written whole or not at all
"""

from __future__ import annotations

import re
from pathlib import Path

from quantfarm.chat.conversation import Conversation
from quantfarm.chat.export import NoConversation, from_json, to_json
from quantfarm.errors import UsageError
from storage import atomic
from storage.home import Home

#: No name of a person's choosing becomes a file's.
ID = re.compile(r"[0-9a-f]{8,64}")


def _path(home: Home, name: str) -> Path:
    """Not made by a look. Raises UsageError for what is no id."""
    if not ID.fullmatch(name):
        raise UsageError(f"'{name[:80]}' is no id of a conversation")
    return home.root / "conversations" / f"{name}.json"


def save(home: Home, conversation: Conversation) -> Path:
    """Raises NoRoom: what was there stays."""
    path = _path(home, conversation.id)
    home.folder("conversations").chmod(0o700)
    atomic.write_atomic(path, to_json(conversation).encode("utf-8", "surrogatepass"))
    return path


def load(home: Home, name: str) -> Conversation:
    """Raises UsageError where there is none, NoConversation where it cannot be read."""
    path = _path(home, name)
    try:
        return from_json(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise UsageError(f"there is no conversation {name}") from error


def delete(home: Home, name: str) -> None:
    """One that is not there is no error."""
    _path(home, name).unlink(missing_ok=True)


def all_conversations(home: Home) -> tuple[list[Conversation], dict[str, str]]:
    """Those that can be read, the one that was touched last first; and why others cannot, by their files' names."""
    found: list[tuple[int, Conversation]] = []
    problems: dict[str, str] = {}
    for path in (home.root / "conversations").glob("*.json"):
        try:
            found.append((path.stat().st_mtime_ns, from_json(path.read_bytes(), str(path))))
        except FileNotFoundError:
            continue  # deleted meanwhile
        except (OSError, NoConversation) as error:
            problems[path.name] = str(error)
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [one for _, one in found], problems
