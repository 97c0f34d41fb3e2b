"""Which versions of a package were released, by the user's own package index.

pip is asked, from the environment of the build tools: it knows the user's indexes, folders, certificates, proxies and
passwords. Source packages count, since a device may need to compile; withdrawn ("yanked") ones and pre-releases do not.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from quantfarm.errors import FarmError, UsageError
from quantfarm.toolchain import environments
from quantfarm.toolchain.news import Step, Tell, nobody
from quantfarm.toolchain.process import explain, run

#: For a Python that has pip: `MARK JSON`, the source packages of NAME that an installation would choose from.
#: pip's own `index versions` says neither which are withdrawn nor when one was released.
ASK = """
import json, logging, sys
from pip._internal.commands import create_command
logging.basicConfig(level=logging.WARNING)
logging.getLogger("pip._internal.index.collector").setLevel(logging.DEBUG)  # says why a page was not read
mark, name, *options = sys.argv[1:]
command = create_command("install")
options, _ = command.parse_args([*options, name])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options=options, session=session)
    found = [(str(one.version), one.link) for one in finder.find_all_candidates(name) if not one.link.is_wheel]
    dates = {}
    for page in {str(link.comes_from) for _, link in found}:
        if not page.startswith("http"):
            continue
        try:
            page = session.get(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
            dates.update({file["filename"]: file.get("upload-time") for file in page.json()["files"]})
        except Exception:
            pass  # an index may say no dates
rows = [[version, bool(link.is_yanked), dates.get(link.filename) or ""] for version, link in found]
print(mark, json.dumps(rows))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """`date`: ISO, when it was put on the index; empty where the index does not say."""

    version: str
    date: str = ""


def released(package: str, tell: Tell = nobody) -> tuple[Release, ...]:
    """All of them, oldest first. Raises FarmError: no network, or the index does not have it."""
    python = environments.python_of(environments.tools(tell))
    tell(Step(what=f"looking up the versions of {package}"))
    options = [] if "retries" in environments.pip_settings(python) else ["--retries", "1"]
    mark = secrets.token_hex(8)
    what = f"looking up the versions of {package}"
    said = run([str(python), "-c", ASK, mark, package, *options], what=what)
    rows = _rows(said, mark)
    found = {release.version: release for row in rows for release in _usable(row)}
    if not found:
        raise FarmError(f"no released version of {package} is known: {_why(said, withdrawn=bool(rows))}")
    return tuple(sorted(found.values(), key=lambda release: Version(release.version)))


def _why(said: str, withdrawn: bool) -> str:
    """Nothing was found: what an index answered, or that none did."""
    failures = re.findall(r"Could not fetch URL \S+: (.+) - skipping", said)
    if withdrawn or not failures or all(why.startswith("404 ") for why in failures):
        what = "withdrawn ones and pre-releases only" if withdrawn else "no source package of it"
        return f"the package index in use has {what}"
    return explain(said)


def _rows(said: str, mark: str) -> list[list[Any]]:
    lines = [line.removeprefix(mark) for line in said.splitlines() if line.startswith(mark)]
    return json.loads(lines[-1]) if lines else []


def _usable(row: Sequence[Any]) -> Iterable[Release]:
    version, yanked, date = row
    try:
        parsed = Version(str(version))
    except InvalidVersion:
        return
    if not yanked and not parsed.is_prerelease:
        yield Release(version=str(version), date=str(date)[:10])


def between(known: Sequence[Release], good: str, bad: str, package: str) -> tuple[Release, ...]:
    """From good to bad, both in it whether the index (still) has them or not; a bad one may be older than the good.

    Raises UsageError where they are the same or no versions.
    """
    try:
        first, last = Version(good), Version(bad)
    except InvalidVersion as error:
        raise UsageError(f"{error}: versions of {package} are such as {_example(known)}") from error
    if first == last:
        raise UsageError(f"good and bad are the same version of {package}, {good}: there is nothing between them")
    low, high = min(first, last), max(first, last)
    inner = [one for one in known if low < Version(one.version) < high]
    ends = {Version(one.version): one for one in known}
    path = [ends.get(first, Release(version=good)), *(inner if first < last else inner[::-1])]
    return (*path, ends.get(last, Release(version=bad)))


def _example(known: Sequence[Release]) -> str:
    return ", ".join(one.version for one in known[-3:]) or "1.2.3"
