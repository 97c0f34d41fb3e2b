"""The static programs of runners/native: built (or found in the cache) for a test, and run as an agent does."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quantfarm import toolchain
from quantfarm.errors import FarmError
from quantfarm.toolchain import machines
from tests.running import CONTEXT

#: Static Linux programs run on Android and here: this machine tests what a phone of its architecture gets.
PHONE = "android-x86_64" if machines.here().endswith("x86_64") else "android-arm64"
CI = os.environ.get("CI") == "true"


def lacking(reason: str) -> None:
    """Skips, or fails where everything must be there."""
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def built(platform: str) -> Mapping[str, Path]:
    """The programs for a platform; minutes of compiling where the cache does not have them."""
    try:
        return toolchain.build_for([platform], niceness=10)[platform]
    except FarmError as error:
        lacking(f"the static programs cannot be built here: {error}")
        raise


def emulator(architecture: str, *options: str) -> list[str]:
    """The command that runs programs of another processor."""
    found = shutil.which(f"qemu-{architecture}-static")
    if found is None:
        lacking(f"no qemu-{architecture}-static here (Debian: apt install qemu-user-static)")
    return [str(found), *options]


def request(kind: str, model: Path | str, /, **parameters: Any) -> list[str]:
    """The options of quantfarm-native for a request."""
    return ["--request", json.dumps({**CONTEXT, "kind": kind, "model": str(model), **parameters})]
