"""What the runners of Hugging Face folders share: events, lifeline, memory, the model's folder, the way to the end.

Loaded by path by runners/mlx.py and runners/transformers_hf.py; standard library only. The events are those of
docs/events.md.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter_ns as now  # on Linux and macOS the same clock as time.monotonic_ns
from typing import Any

SCHEMA = 1
MIB = 2**20
#: Nobody is asked on the network, nothing of a model's is run, no progress bars.
OFFLINE = {
    **{"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"},
    **{"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"},
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
#: Files and folders to take away when the process is told to stop.
unfinished: set[Path] = set()


class Failure(Exception):
    """The cell fails: at which stage, and why in one line."""

    def __init__(self, stage: str, error: str, retryable: bool = False) -> None:
        super().__init__(error)
        self.stage, self.error, self.retryable = stage, " ".join(error.split())[:2000], retryable


class Events:
    """JSON lines on what was stdout; whatever else writes to stdout lands on stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="ascii")
        os.dup2(2, 1)

    def emit(self, event: str, arrays: Mapping[str, Any] | None = None, **fields: Any) -> None:
        head = json.dumps({"event": event, "t": now(), **fields}, allow_nan=False)
        # Nine digits hold a float32 exactly; a nll rounded so moves a perplexity by less than 1e-9.
        lists = (f', "{name}": [{",".join(map("%.9g".__mod__, a.tolist()))}]' for name, a in (arrays or {}).items())
        self._out.write(f"{head[:-1]}{''.join(lists)}}}\n")
        self._out.flush()


#: Set once stdin has closed: the watcher alone ends the process then, after it has cleaned up.
cut = threading.Event()


def hold() -> None:
    """Keeps a main thread that lost its files from ending the process in the middle of the cleaning up."""
    if cut.is_set():
        threading.Event().wait()


def take_away() -> None:
    """Removes what is unfinished, once the process ends. The main thread may be writing into it meanwhile."""
    for path in list(unfinished):
        for _ in range(40):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
            if not os.path.lexists(path):
                break
            time.sleep(0.01)


def watch_stdin() -> None:
    """The lifeline: whoever started us holds our stdin open; when it closes, nobody listens any more."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        cut.set()
        take_away()
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


# ------------------------------------------------------------------ memory


def _linux_memory() -> dict[str, Any]:
    names = {"VmHWM": "hwm_mib", "VmRSS": "rss_mib", "RssAnon": "rss_anon_mib", "RssFile": "rss_file_mib"}
    pairs = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    figures: dict[str, Any] = {names[k]: int(v.split()[0]) / 1024 for k, _, v in pairs if k in names}
    # Fields after the command's name, which may itself hold spaces; majflt is field 12 of proc(5).
    figures["majflt"] = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[9])
    return figures | {"estimated": False}


def _mac_memory() -> dict[str, Any]:
    """`rusage_info_v4` of <sys/resource.h>: a 16-byte uuid, then 64-bit counters. A footprint holds what MLX
    allocated, on Metal too; mapped files are not in it, and MLX reads its weights rather than mapping them."""
    counters = (ctypes.c_uint64 * 64)()
    if ctypes.CDLL(None).proc_pid_rusage(os.getpid(), 4, ctypes.byref(counters)):
        return {}
    pageins, resident, footprint, peak = (counters[2 + i] for i in (4, 6, 7, 28))
    figures = {"hwm_mib": peak / MIB, "rss_mib": resident / MIB, "rss_anon_mib": footprint / MIB}
    return figures | {"majflt": pageins, "estimated": True}


def memory() -> dict[str, Any]:
    """Our own memory now, in MiB, and its peak since this program was exec'd."""
    if sys.platform == "darwin":
        return _mac_memory()
    return _linux_memory() if Path("/proc/self/status").exists() else {}


# ------------------------------------------------------------------ the request


def load_by_path(name: str, path: str) -> Any:
    """A Python file by its path: on a device files are called by their content."""
    loader = SourceFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def need(request: Mapping[str, Any], name: str) -> Any:
    if request.get(name) is None:
        raise Failure("request", f"the request has no {name}")
    return request[name]


def number(request: Mapping[str, Any], name: str, least: int = 1) -> int:
    value = need(request, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Failure("request", f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def chosen(request: Mapping[str, Any], name: str, among: Mapping[str, Any]) -> Any:
    """What a word of the request stands for."""
    word = need(request, name)
    if word not in among:
        raise Failure("request", f"{name} is {' or '.join(map(repr, among))}, not {word!r}")
    return among[word]


def refuse_unknown(request: Mapping[str, Any], known: frozenset[str]) -> None:
    """A parameter that is not known would silently not be in effect."""
    for name in sorted(request.keys() - known):
        raise Failure("request", f"a {request['kind']} has no parameter {name!r} here ({', '.join(sorted(known))})")


@contextlib.contextmanager
def model_folder(model: object) -> Iterator[Path]:
    """The model's folder: as given, or for {name: path} one of links with those names, removed afterwards.

    Files on a device are called by their content; what loads a model wants them by their names. Nothing that could
    be run is let in: weights are safetensors, the rest is text.
    """
    names = model if isinstance(model, Mapping) else {p.name: str(p) for p in Path(str(model)).glob("*")}
    if not names:
        raise Failure("load", f"there is no model folder {model}")
    if "config.json" not in names or not any(str(name).endswith(".safetensors") for name in names):
        raise Failure("load", "a model folder holds config.json and *.safetensors: this one does not")
    folder = Path(tempfile.mkdtemp(prefix="quantfarm-model-"))
    unfinished.add(folder)
    try:
        for name, path in names.items():
            if Path(name).name != name or name.startswith("."):
                raise Failure("request", f"{name!r} is no name of a file in a model's folder")
            if not Path(path).is_file():
                raise Failure("load", f"there is no model file {path} ({name})")
            if not name.endswith((".py", ".bin", ".pt", ".pth", ".pkl")):
                (folder / name).symlink_to(Path(path).resolve())
        yield folder
    finally:
        hold()
        shutil.rmtree(folder, ignore_errors=True)
        hold()  # what closed meanwhile has another to clean up after it, and cleans itself
        unfinished.discard(folder)


def config_of(folder: Path) -> dict[str, Any]:
    """A model folder's config.json."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Failure("load", f"its config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise Failure("load", "its config.json holds no object")
    return config


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """No garbage collection inside a timed section."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ------------------------------------------------------------------ main


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """By package, that of Python first; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def clocks() -> dict[str, int]:
    """This moment on the machine's other clocks: what its sensors stamp their looks with."""
    found = {"wall_ns": time.time_ns()}
    if hasattr(time, "CLOCK_BOOTTIME"):
        found["boottime_ns"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return found


def _request(text: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        request = json.loads(text)
        kinds[request["kind"]]
    except (ValueError, TypeError, KeyError) as error:
        raise Failure("request", f"no request of a known kind ({', '.join(kinds)}): {error}") from error
    return request


def _answer(events: Events, request: str, kinds: Mapping[str, Any], answer: Callable[[dict[str, Any], Events], None]):
    try:
        answer(_request(request, kinds), events)
    except Failure as failure:
        return failure
    except BrokenPipeError:
        raise
    except MemoryError:
        return Failure("run", "memory ran out")
    except Exception as error:
        return Failure("run", f"{type(error).__name__}: {error}")
    return None


def main(
    runner: str,
    packages: tuple[str, ...],
    kinds: Mapping[str, Any],
    answer: Callable[[dict[str, Any], Events], None],
) -> int:
    """From `begin` to `end`. `answer` raises Failure; whatever else it raises is a failure of the run."""
    parser = argparse.ArgumentParser(description=f"the {runner} runner; see docs/events.md")
    parser.add_argument("--request", required=True, help="the request as JSON")
    request = parser.parse_args().request
    events = Events()
    watch_stdin()
    os.environ.update(OFFLINE)
    found, about = versions(packages), {"system": platform.platform(), "pid": os.getpid(), "clocks": clocks()}
    events.emit("begin", schema=SCHEMA, clock="monotonic_ns", runner=runner, versions=found, **about)
    try:
        failure = _answer(events, request, kinds, answer)
    except BrokenPipeError:
        return 1
    if failure:
        said = {"stage": failure.stage, "error": failure.error, "retryable": failure.retryable}
        events.emit("end", ok=False, **said)
        return 1
    events.emit("end", ok=True)
    return 0


def load_shared(paths: Mapping[str, str]) -> dict[str, Any]:
    """The other files of runners/shared by name ("scoring" …), each given those that it has a place for (None)."""
    modules = {name: load_by_path(f"quantfarm_{name}", path) for name, path in paths.items() if name != "session"}
    modules["session"] = sys.modules[__name__]
    for module in modules.values():
        for name, other in modules.items():
            if vars(module).get(name, ...) is None:
                setattr(module, name, other)
    if "scoring" in modules:
        modules["scoring"].unfinished = unfinished  # the lifeline takes away what is half written
    return modules
