"""Hugging Face folder -> F16 GGUF: llama.cpp's converter as a runner in an environment of its own."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import threading
import tomllib
from pathlib import Path
from typing import Any

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, environments, source
from quantfarm.toolchain.news import Counter, Step, Tell, nobody
from quantfarm.toolchain.process import explain

RUNNER = Path(__file__).resolve().parent.parent.parent / "runners" / "convert_gguf.py"
#: From the end of its lifeline to that of the converter.
GRACE_S = 2.0
#: Set to keep the converter from the network and from printing what is no event.
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _declared(runner: Path) -> dict[str, Any]:
    """A runner's PEP 723 block."""
    lines = runner.read_text().splitlines()
    begin = lines.index("# /// script") + 1
    block = [line.removeprefix("#").removeprefix(" ") for line in lines[begin : lines.index("# ///", begin)]]
    return tomllib.loads("\n".join(block))


def requirements(runner: Path = RUNNER) -> list[str]:
    """What a runner declares that it needs (PEP 723)."""
    return list(_declared(runner)["dependencies"])


def requires_python(runner: Path) -> str:
    """The oldest Python that a runner declares that it runs under: `3.11`."""
    return str(_declared(runner)["requires-python"]).removeprefix(">=").strip()


def environment(tell: Tell = nobody) -> Path:
    """The converter's environment (CPU torch, transformers), made when absent: about 1 GB. Raises FarmError."""
    return environments.environment("convert", requirements(), tell)


def known_architectures() -> frozenset[str]:
    """The architectures that the converter has code for; empty while the sources are not unpacked."""
    table = source.home() / "source" / "conversion" / "__init__.py"
    if not table.exists():
        return frozenset()
    for node in ast.parse(table.read_text()).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "TEXT_MODEL_MAP" and node.value:
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def convert(folder: Path, out: Path, name: str, tell: Tell = nobody) -> None:
    """Writes `out` whole or not at all; the same folder and name give the same bytes.

    Fetches the sources and makes the environment when they are not there. Raises FarmError with
    the converter's own reason (unknown architecture, tokenizer that llama.cpp has no equal of, …).
    """
    llama_cpp = source.fetch_source(tell)
    python = environments.python_of(environment(tell))
    size = sum(part.stat().st_size for part in folder.glob("*.safetensors"))
    cache.need_room(out.parent, size // 2**20 + 16, f"converting {name}")
    for left in out.parent.glob(f".{out.name}.*.tmp"):  # of a converter that was killed
        left.unlink(missing_ok=True)
    for left in out.parent.glob(f".{out.name}.*.source"):
        shutil.rmtree(left, ignore_errors=True)
    request = {"source": str(folder.resolve()), "out": str(out), "name": name, "llama_cpp": str(llama_cpp)}
    tell(Step(what=f"converting {name}"))
    _run([str(python), "-P", str(RUNNER), "--request", json.dumps(request)], name, Counter("converting", tell))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes its lifeline, on which it cleans up, and kills one that does not mind."""
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _run(command: list[str], name: str, counter: Counter) -> None:
    """Follows the runner's events to its end mark; its stdin is the lifeline that it watches."""
    last: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **QUIET}
    ) as process:
        said: list[bytes] = []
        assert process.stdout and process.stderr
        drain = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        drain.start()
        try:
            for line in process.stdout:
                last = json.loads(line)
                if last["event"] == "progress":
                    counter.at(last["done"], last["of"])
            process.wait()
        except BaseException:  # a pipe that is still read cannot be closed: the program must be over before
            _end(process)
            raise
        drain.join()
    if last.get("event") != "end" or not last.get("ok"):
        log = b"".join(said).decode(errors="replace")
        raise FarmError(f"converting {name} failed: {last.get('error') or explain(log)}")
