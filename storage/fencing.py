"""The writer's side of a lease: results measured under an older holding of a device are not taken.

A lease is a lock on the device and dies with its holder; a controller that was cut off, and has not
noticed, may still try to land what it measured while somebody else already used the device.

    devices/NAME/token.json   the greatest token seen, by lineage
"""

from __future__ import annotations

import json
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.nouns import Token
from storage import atomic, journal
from storage.devices import folder_name
from storage.home import Home

#: Lineages kept: a device begins one only when it has lost its lease file.
KEPT = 64


class Fenced(FarmError):
    """Somebody else has held the device since: this result may be of a device that two used at once."""


def admit(home: Home, device: str, token: Token) -> None:
    """Notes the token as seen. Raises Fenced for one older than the greatest of its lineage."""
    folder = home.folder("devices", folder_name(device))
    with journal.locked(folder / "token.lock"):
        seen = _seen(folder / "token.json")
        greatest = seen.pop(token.lineage, 0)
        if token.count < greatest:
            raise Fenced(
                f"{device} was measured under its lease number {token.count}, and number {greatest} has "
                "written since: the result is not taken"
            )
        if token.count > greatest:
            kept = dict([*seen.items(), (token.lineage, token.count)][-KEPT:])
            atomic.write_atomic(folder / "token.json", (json.dumps(kept) + "\n").encode())


def sharing(home: Home, lineage: str) -> list[str]:
    """The devices (by their folders' names) whose results came under this lineage: they share one lease."""
    paths = sorted((home.root / "devices").glob("*/token.json"))
    return [path.parent.name for path in paths if lineage in _seen(path)]


def _seen(path: Path) -> dict[str, int]:
    """Lineage -> greatest count, the one seen last at the end. Raises Damaged."""
    try:
        note = json.loads(path.read_bytes())
        return {str(lineage): int(count) for lineage, count in note.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise journal.Damaged(f"{path} cannot be read: {error}. Remove it when no sweep is running.") from error
