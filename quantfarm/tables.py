"""Tables of plug-ins: plain dicts of name -> "module:attribute", imported when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from quantfarm.errors import unknown


def load(table: Mapping[str, str], name: str, what: str) -> Any:
    """The entry of a table by name. Raises UsageError with suggestions for an unknown name."""
    if name not in table:
        raise unknown(what, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
