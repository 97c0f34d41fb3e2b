"""Who is told to end while a model is converted ends, and the converter with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import psutil
import pytest

from quantfarm.toolchain import conversion
from quantfarm.toolchain.news import Counter, nobody

#: What stands in for llama.cpp's sources and for transformers: a converter that has begun to write and hangs.
SOURCES = {
    "conversion/__init__.py": "",
    "conversion/base.py": "class TextModel:\n    get_vocab_base_pre = None\n",
    "transformers/__init__.py": "class AutoConfig:\n    from_pretrained = None\n\n\nAutoTokenizer = AutoConfig\n",
    "transformers/dynamic_module_utils.py": "",
    "convert_hf_to_gguf.py": """
import sys, time
from pathlib import Path
assert (Path(sys.argv[1]) / "model.safetensors").exists(), sys.argv
Path(sys.argv[sys.argv.index("--outfile") + 1]).write_bytes(bytes(64))
time.sleep(3600)
""",
}
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


@pytest.mark.timeout(60)
def test_a_conversion_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    for name, text in SOURCES.items():
        (tmp_path / "sources" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sources" / name).write_text(text)
    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    out.mkdir()
    (model / "model.safetensors").write_bytes(bytes(64))
    asked = {"source": str(model), "out": str(out / "m.gguf"), "name": "org/m", "llama_cpp": str(tmp_path / "sources")}
    command = [sys.executable, "-P", str(conversion.RUNNER), "--request", json.dumps(asked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        begun = [json.loads(process.stdout.readline())["event"] for _ in range(2)]
        assert begun == ["begin", "progress"], "it has begun to write"
        assert {path.suffix for path in out.iterdir()} == {".tmp", ".source"}
        process.stdin.close()
        assert process.wait(timeout=20) != 0
    assert list(out.iterdir()) == []
