"""The errors a user can mend, each one clear message: what, where, what is known, what to do.

FarmError               exit code 1: something went wrong that was not the question's fault
└── UsageError          exit code 2: the question was wrong; nothing was started or written
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FarmError(Exception):
    """Something went wrong; the message says what, where and what to do."""

    exit_code = 1


class UsageError(FarmError):
    """The request cannot be carried out as given."""

    exit_code = 2


def unknown(what: str, given: str, known: Iterable[str], where: str = "") -> UsageError:
    """`unknown quant 'Q4_KM' in sweep.yaml: did you mean Q4_K_M? Known: …`"""
    names = sorted(known)
    near = difflib.get_close_matches(given.upper(), [n.upper() for n in names], n=1, cutoff=0.5)
    meant = next((n for n in names if near and n.upper() == near[0]), None)
    hint = f"did you mean {meant}? " if meant else ""
    place = f" in {where}" if where else ""
    return UsageError(f"unknown {what} '{given}'{place}: {hint}Known: {', '.join(names)}")
