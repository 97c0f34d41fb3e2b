"""How long a person waits for the dashboard: from the click to the view at rest, in a real browser.

    python benchmarks/big_store.py HOME
    python benchmarks/dashboard_pages.py HOME --rounds 10

Goals: the first view in a browser that has seen nothing < 2 s, an interaction < 500 ms (the median; all are shown).
A view is at rest when Streamlit's script has ended and no placeholder is left.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from dashboard import views
from flows import pages

FIRST_S, INTERACTION_S = 2.0, 0.5
REST = """() => document.querySelector('h1')
  && document.querySelector('[data-testid="stApp"]')?.getAttribute('data-test-script-state') === 'notRunning'
  && !document.querySelector('[data-testid="stSkeleton"]')"""
RUNS = """() => document.querySelector('[data-testid="stApp"]')?.getAttribute('data-test-script-state') === 'running'"""


@contextmanager
def served(home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "QUANTFARM_HOME": str(home)}
    process = subprocess.Popen(pages.command(port), env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                sys.exit("the dashboard did not start")
            try:
                with urllib.request.urlopen(pages.health(port), timeout=5):  # noqa: S310 - our own
                    break
            except OSError:
                time.sleep(0.05)
        yield pages.url(port)
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, address: str) -> float:
    """Seconds until a view is at rest in a browser that has nothing of it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_function(REST, timeout=60_000)
    took = time.perf_counter() - began
    context.close()
    return took


def interaction(page: Page, act: Callable[[], None]) -> float:
    """Seconds from an action to the view at rest again."""
    began = time.perf_counter()
    act()
    page.wait_for_function(RUNS, timeout=5_000, polling="raf")
    page.wait_for_function(REST, timeout=60_000, polling="raf")
    return time.perf_counter() - began


def moved(page: Page) -> Iterator[Callable[[], None]]:
    """One step of the first slider after the other."""
    handle = page.get_by_role("slider").first
    while True:
        yield lambda: handle.press("ArrowLeft")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    told: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with served(given.home) as url:
            told["first view of all"] = [opened(browser, url)]
            for name in views.TABLE:
                told[f"{name}, first"] = [opened(browser, f"{url}/{name}")]
                told[f"{name}, again"] = [opened(browser, f"{url}/{name}") for _ in range(given.rounds)]
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{url}/frontier")
            page.wait_for_function(REST, timeout=60_000)
            steps = moved(page)
            told["frontier, a step of the budget"] = [interaction(page, next(steps)) for _ in range(given.rounds)]
        browser.close()
    for what, took in told.items():
        goal = INTERACTION_S if "step" in what else FIRST_S
        middle = statistics.median(took)
        print(f"{what:32} {middle:6.2f} s  (max {max(took):.2f}, n = {len(took)})  {'' if middle < goal else 'MISSED'}")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
