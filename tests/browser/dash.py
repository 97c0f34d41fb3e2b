"""The dashboard as a person has it: a real server over a home of results, a real browser, light or dark."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from flows import pages
from tests.browser.farm import free_ports
from tests.browser.pages import WAIT_MS, Ui

START_S = 120.0
#: The view itself, beside the list of views (a view with a chat has no test id there).
MAIN = "#stMain"
#: What a page must not have: findings that keep somebody from using it.
GRAVE = ("serious", "critical")


@contextmanager
def dashboard(home: Path, log: Path) -> Iterator[str]:
    """Its address; it ends with the block."""
    [port] = free_ports(1)
    environment = {**os.environ, "QUANTFARM_HOME": str(home), "QUANTFARM_LEASES": str(log.parent / "leases")}
    with log.open("wb") as file:
        process = subprocess.Popen(pages.command(port), env=environment, stdout=file, stderr=file)
    try:
        _await(process, port, log)
        yield pages.url(port)
    finally:
        process.terminate()
        process.wait(30)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(pages.health(port), timeout=5):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the dashboard did not start: {log.read_text()}")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        expect.set_options(timeout=WAIT_MS)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def window(browser: Browser, url: str, shots: Path, *, theme: str = "light", width: int = 1280) -> Iterator[Dash]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    try:
        yield Dash(page, url, shots)
    finally:
        context.close()


class Dash(Ui):
    """A window on it, used by what a person sees."""

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        super().__init__(page, url, shots)

    @property
    def main(self) -> Locator:
        return self.page.locator(MAIN)

    def open(self, address: str) -> None:
        """A view by its address (`frontier?device=local`), once it has stopped running."""
        self.page.goto(f"{self.url}/{address}")
        self.settled()

    def settled(self) -> None:
        """Streamlit says that it runs; then the view is whole."""
        expect(self.page.locator("h1")).to_be_visible()
        expect(self.page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_visible()
        expect(self.page.locator('[data-testid="stSkeleton"]')).to_have_count(0)

    def go(self, view: str) -> None:
        """By the list of views."""
        self.page.get_by_test_id("stSidebar").get_by_role("link", name=view, exact=True).click()
        expect(self.page.locator("h1", has_text=view)).to_be_visible()
        self.settled()

    def follow(self, label: str | re.Pattern[str]) -> None:
        """A link of the view."""
        self.main.get_by_role("link", name=label).first.click()
        self.settled()

    def saved(self, button: Locator) -> Path:
        """What a click on it downloads."""
        with self.page.expect_download() as download:
            button.click()
        return Path(download.value.path())

    def downloaded(self, kind: str) -> Path:
        """By the first "Download" of the view that offers it."""
        self.page.get_by_test_id("stPopoverButton").filter(has_text="Download").first.click()
        file = self.saved(self.page.get_by_role("button", name=kind, exact=True))
        self.page.keyboard.press("Escape")
        return file

    def say(self, text: str) -> None:
        box = self.page.get_by_test_id("stChatInputTextArea")
        expect(box).to_be_enabled()
        box.fill(text)
        box.press("Enter")
        self.settled()

    def devices(self) -> list[str]:
        """The devices that the view Frontier offers."""
        self.open("frontier")
        self.page.get_by_role("combobox", name=re.compile("Devices")).click()
        found = self.page.get_by_role("option").all_inner_texts()
        self.page.keyboard.press("Escape")
        return found

    def faults(self) -> list[str]:
        """What a view says when it broke, and what the page's own programs threw."""
        broken = self.page.get_by_test_id("stException").all_inner_texts()
        return broken + [one for one in self.errors if "ResizeObserver" not in one]

    def sideways(self) -> int:
        """Pixels that the page is wider than the window."""
        return int(self.main.evaluate("main => main.scrollWidth - main.clientWidth"))

    def whole(self, name: str) -> None:
        """A screenshot of the whole view."""
        main = self.main
        height = main.evaluate("element => element.scrollHeight")
        size = self.page.viewport_size or {"width": 1280, "height": 900}
        self.page.set_viewport_size({"width": size["width"], "height": min(int(height) + 40, 8000)})
        self.settled()
        self.shot(name)
        self.page.set_viewport_size(size)

    def findings(self) -> list[str]:
        """What axe finds that is grave, a line each."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in GRAVE
            for node in one["nodes"]
        ]
