"""PRIVACY.md says nothing that the code does not keep: settings, outbound places, folders."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import quantfarm
from agents import adb
from agents.shell import ShellAgent
from flows import pages, settings
from flows.alerting.settings import read as read_sinks
from quantfarm.errors import UsageError
from storage.home import Home

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "PRIVACY.md").read_text("utf-8")
ROOMS = ("quantfarm", "runners", "agents", "flows", "storage", "dashboard", "cli")
#: Modules by which a program reaches another.
NETWORK = frozenset(
    {
        "urllib.request",
        "urllib3",
        "httpx",
        "requests",
        "aiohttp",
        "http.client",
        "http.server",
        "socket",
        "socketserver",
    }
    | {"smtplib", "ftplib", "imaplib", "poplib", "paramiko", "huggingface_hub", "datasets", "ray", "webbrowser"}
)
#: Programs that go over the network, as words of a command.
PROGRAMS = re.compile(r'"-m",\s*"pip"|"pip", "install"|create_command\("|lm_eval\.tasks')


def part(heading: str) -> str:
    return PAGE[PAGE.index(f"## {heading}") :].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def files(text: str) -> set[str]:
    """Every file of ours that a text names."""
    return {name for name in re.findall(r"`([\w./]+)`", text) if name.endswith(".py")}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def reaches_out(path: Path) -> bool:
    modules = imported(path)
    return any(name == one or name.startswith(f"{one}.") for name in modules for one in NETWORK)


# --- no telemetry


@pytest.mark.parametrize("row", rows(part("No telemetry")), ids=lambda row: row[0])
def test_a_setting_stands_where_the_page_says(row: list[str]) -> None:
    name, value = row[0].strip("`"), row[1].strip("`")
    for file in re.findall(r"`([^`]+)`", row[2]):
        text = (ROOT / file).read_text("utf-8")
        if file.endswith(".toml"):
            table, _, key = name.partition(".")
            assert tomllib.loads(text)[table][key] is {"false": False, "true": True}[value]
        else:
            assert re.search(rf'"{re.escape(name)}"' + (rf': "{value}"' if value else ""), text), f"{name} in {file}"


def test_the_settings_are_in_effect() -> None:
    assert (
        settings.OFFLINE["PREFECT_SERVER_ANALYTICS_ENABLED"]
        == "false"
        == settings.OFFLINE["PREFECT_SERVER_UI_V2_ENABLED"]
    )
    command = pages.command(8501)
    assert command[command.index("--browser.gatherUsageStats") + 1] == "false"
    assert command[command.index("--server.address") + 1] == "127.0.0.1"
    assert set(quantfarm.QUIET) <= set(os.environ)


def test_the_hubs_library_knows_before_it_is_asked_anything() -> None:
    program = (
        "import quantfarm.models.hub; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    free = {name: value for name, value in os.environ.items() if name not in quantfarm.QUIET}
    said = subprocess.run(
        [sys.executable, "-c", program], env=free, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout.strip() == "True"


# --- what goes over the network


def test_every_file_that_opens_a_connection_is_on_the_page_and_no_other() -> None:
    network = part("What goes over the network, and when")
    found = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py") if reaches_out(path)}
    missing = found - files(network)
    assert not missing, f"PRIVACY.md does not say what these reach: {sorted(missing)}"
    by_program = {
        "agents/adb.py", "agents/environments.py", "runners/lm_eval_tasks.py", "quantfarm/toolchain/environments.py",
        "quantfarm/toolchain/source.py", "quantfarm/toolchain/releases.py",
    }  # fmt: skip
    assert files(network) - found == by_program, "PRIVACY.md names a file that reaches nobody"
    assert all((ROOT / file).is_file() for file in by_program)


def test_whoever_asks_a_package_index_is_on_the_page() -> None:
    asking = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if PROGRAMS.search(path.read_text("utf-8"))
    }
    assert asking and asking <= files(part("What goes over the network, and when"))


def test_what_runs_a_model_is_offline() -> None:
    for file in ("runners/shared/session.py", "runners/quantize_folder.py", "runners/convert_gguf.py"):
        assert '"HF_HUB_OFFLINE": "1"' in (ROOT / file).read_text("utf-8")
    for path in (ROOT / "runners").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "trust_remote_code=True" not in text and "import pickle" not in text, path


def test_servers_bind_to_loopback() -> None:
    assert pages.HOST == "127.0.0.1"
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert '"0.0.0.0"' not in path.read_text("utf-8"), path


# --- where data lies


#: Folders that hold nothing of a person's: locks, what is being made, what was computed.
INTERNAL = frozenset({"locks", "up", "wanted", "fits", "reference_values", "alerts.yaml"})


def test_the_folders_of_the_home_are_those_of_the_page() -> None:
    told = {name for row in rows(part("Where data lies")) for name in re.findall(r"`([\w-]+)`", row[0])}
    texts = {path: path.read_text("utf-8") for room in ("storage", "flows") for path in (ROOT / room).rglob("*.py")}
    for path, text in texts.items():
        own = re.findall(r'(?:self|home)\.(?:folder\(|root / )"([\w.]+)"', text)
        assert set(own) <= told | INTERNAL, f"{path}: PRIVACY.md does not say what lies in {set(own) - told - INTERNAL}"
    everything = "\n".join(texts.values())
    assert not [name for name in told if f'"{name}"' not in everything], "PRIVACY.md names a folder that nobody makes"


def test_a_secret_in_the_file_of_sinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("sinks: [{kind: slack, url: 'https://hooks.example/secret'}]")
    with pytest.raises(UsageError, match="secrets are not kept in this file") as refused:
        read_sinks(Home(tmp_path))
    assert "hooks.example" not in str(refused.value)


def test_the_devices_folders_are_those_of_the_page() -> None:
    assert f"`{adb.FOLDER}`" in PAGE and f"`{ShellAgent.folder}`" in PAGE


def test_the_page_is_linked_from_the_readme() -> None:
    assert "(PRIVACY.md)" in (ROOT / "README.md").read_text("utf-8")
