"""Who is told to end while a model is converted ends, and the converter with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import psutil
import pytest

from quantfarm.toolchain import conversion
from quantfarm.toolchain.news import Counter, nobody

#: Converters that say nothing: one ends with its lifeline, the other does not.
SILENT = {"minds its lifeline": "import sys; sys.stdin.read()", "hangs": "import time; time.sleep(3600)"}


class Told(BaseException):
    """As Prefect's signal is: no Exception."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("program", SILENT.values(), ids=SILENT)
def test_a_signal_ends_a_silent_converter(program: str, tmp_path: Path) -> None:
    def told(number: int, frame: FrameType | None) -> None:
        raise Told

    mark = str(tmp_path)
    before = signal.signal(signal.SIGUSR1, told)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Told):
            conversion._run([sys.executable, "-c", program, mark], "tiny", Counter("converting", nobody))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert not [child for child in psutil.Process().children() if mark in child.cmdline()]
