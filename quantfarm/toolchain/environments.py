"""Python environments of their own: one that holds the build tools, one for the converter.

The user's own package index is used: pip's configuration as it is, and handed on to uv, which
does not read it. An environment without its mark was not finished: it is made anew.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from quantfarm.errors import FarmError
from quantfarm.toolchain import cache, unresolved
from quantfarm.toolchain.news import Step, Tell, nobody
from quantfarm.toolchain.process import ProgramFailed, run

MARK = "finished"
#: Where pip's settings may stand: what stands in a later one counts.
SECTIONS = ("global", "site", "user", "install", ":env:")
#: pip's setting -> uv's variable for the same.
FOR_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def _say(tell: Tell) -> Callable[[str], None]:
    return lambda note: tell(Step(what="wait", note=note))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([sys.version, *parts]).encode()).hexdigest()[:12]


def tools(tell: Tell = nobody) -> Path:
    """The environment that has pip (and cmake, ninja, uv where the machine has none); its folder."""
    path = cache.folder("environments") / f"tools-{_digest([])}"
    with cache.locked(path.with_suffix(".lock"), _say(tell)) as held:
        if not (path / MARK).exists():
            tell(Step(what="environment for build tools"))
            shutil.rmtree(path, ignore_errors=True)
            _make(path, held)
            (path / MARK).touch()
    return path


def _make(path: Path, lock: int) -> None:
    """With pip inside: from the standard library, or from uv where the distribution left ensurepip out.

    The lock is theirs too: who was killed leaves them running, and nobody may write beside them.
    """
    what = "making a Python environment"
    try:
        run([sys.executable, "-m", "venv", str(path)], what=what, keep_fds=[lock])
    except FarmError:
        uv = shutil.which("uv")
        if not uv:
            raise
        shutil.rmtree(path, ignore_errors=True)
        run([uv, "venv", "--seed", "--python", sys.executable, str(path)], what=what, keep_fds=[lock])


def program(name: str, package: str, tell: Tell = nobody) -> Path:
    """A program from the path, else beside this Python, else from its package on the index."""
    beside = Path(sys.executable).parent
    if found := shutil.which(name) or shutil.which(name, path=str(beside)):
        return Path(found)
    environment = tools(tell)
    found = environment / "bin" / name
    if not found.exists():
        tell(Step(what=f"installing {package}"))
        install = [str(python_of(environment)), "-m", "pip", "install", "--quiet", package]
        with cache.locked(environment.with_suffix(".lock"), _say(tell)) as held:
            run(install, what=f"installing {package}", keep_fds=[held])
    return found


def pip_settings(python: Path) -> dict[str, str]:
    """pip's settings in effect, e.g. {"find-links": …}: a variable before a file, `[install]` before `[global]`."""
    said = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[tuple[str, str], str] = {}
    for line in said.splitlines():  # pip lists them by name
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in SECTIONS and value:
            found[section, key] = str(ast.literal_eval(value))
    return {key: value for (_, key), value in sorted(found.items(), key=lambda item: SECTIONS.index(item[0][0]))}


def uv_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """pip's settings for uv, where the user has not told uv something else."""
    given = {FOR_UV[key]: value for key, value in settings.items() if key in FOR_UV}
    if "UV_INDEX" in given:  # pip looks in every index for the best version; uv would stop at the first
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name in ("UV_INDEX", "UV_FIND_LINKS"):
        if name in given:
            given[name] = (" " if name == "UV_INDEX" else ",").join(given[name].split())
    return {name: value for name, value in given.items() if name not in os.environ}


def environment(
    name: str,
    requirements: Sequence[str],
    tell: Tell = nobody,
    *,
    keep_fds: Sequence[int] = (),
    stopped: Callable[[], bool] | None = None,
) -> Path:
    """An environment with these requirements, made once; its folder. Raises FarmError with what to do.

    `keep_fds`: locks that hold for as long as something is being installed, should this program be killed. Once
    `stopped()` it is given up.
    """
    path = cache.folder("environments") / f"{name}-{_digest(requirements)}"
    with cache.locked(path.with_suffix(".lock"), _say(tell)) as held:
        if not (path / MARK).exists():
            shutil.rmtree(path, ignore_errors=True)
            try:
                _install(path, name, requirements, tell, (held, *keep_fds), stopped)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
            (path / MARK).touch()
    return path


def made(name: str, requirements: Sequence[str]) -> Path | None:
    """The folder of an environment that is there; None while it is not."""
    path = cache.folder("environments") / f"{name}-{_digest(requirements)}"
    return path if (path / MARK).exists() else None


@functools.cache
def _version(environment: Path, package: str) -> str:
    """By the environment's own metadata; its packages do not change once it is made."""
    folders = [str(folder) for folder in environment.glob("lib/python3.*/site-packages")]
    found = next(iter(metadata.distributions(name=package, path=folders)), None)
    return f"{package} {found.version}" if found else ""


def version_in(name: str, requirements: Sequence[str], package: str) -> str:
    """`mlx-lm 0.32.2`: what the environment has of a package; empty while it is not made."""
    path = made(name, requirements)
    return _version(path, package) if path else ""


def _install(
    path: Path,
    name: str,
    requirements: Sequence[str],
    tell: Tell,
    keep_fds: Sequence[int],
    stopped: Callable[[], bool] | None,
) -> None:
    uv = str(program("uv", "uv>=0.9", tell))
    settings = pip_settings(python_of(tools(tell)))
    variables = uv_variables(settings)
    cache.need_room(path.parent, 2500, f"the environment for {name}")
    tell(Step(what=f"environment for {name}", note="installing " + ", ".join(requirements)))
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    python = base if Path(base).exists() else sys.executable
    run([uv, "venv", "--quiet", "--python", python, str(path)], what="making a Python environment")
    # Compiled once here: torch and transformers start five seconds sooner, each time.
    command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python_of(path))]
    command += torch_backend(settings)
    command += no_index(settings)
    what = f"installing what {name} needs"
    try:
        run([*command, *requirements], what=what, environment=variables, keep_fds=keep_fds, stopped=stopped)
    except ProgramFailed as error:
        if stopped and stopped():
            raise
        reason = unresolved.why(requirements, error.said)
        raise FarmError(f"the environment for {name} cannot be made: {reason}") from error


def no_index(settings: Mapping[str, str]) -> list[str]:
    """uv's option for those who told pip to take from local folders alone: uv has no variable for it."""
    return ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t") else []


def torch_backend(settings: Mapping[str, str]) -> list[str]:
    """uv's option for torch without CUDA: on Linux, unless it is chosen already or lies in a local folder."""
    if sys.platform != "linux" or "UV_TORCH_BACKEND" in os.environ:
        return []
    links = [*settings.get("find-links", "").split(), *os.environ.get("UV_FIND_LINKS", "").split(",")]
    if any(list(Path(place).glob("torch-*+cpu-*.whl")) for place in links if Path(place).is_dir()):
        return []
    return ["--torch-backend", "cpu"]
