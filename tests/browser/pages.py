"""Prefect's UI, page by page, as a person uses it: forms by their labels, buttons by their words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect, sync_playwright

#: Everything may be slow on a busy machine.
WAIT_MS = 60_000
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]", "")


class Ui:
    """One page of one browser; `asked`: every address that it asked for."""

    def __init__(self, page: Page, url: str, shots: Path) -> None:
        self.page, self.url, self.shots = page, url, shots
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.shots / f"{name}.png")

    def elsewhere(self) -> list[str]:
        """Addresses outside of this machine that the browser asked for."""
        plain = [one for one in self.asked if not one.startswith(("data:", "blob:", "about:"))]
        return [one for one in plain if urlsplit(one).hostname not in LOOPBACK]

    # -- places

    def deployments(self) -> None:
        self.page.goto(f"{self.url}/deployments")
        expect(self._deployment("sweep")).to_be_visible()

    def _deployment(self, name: str) -> Locator:
        return self.page.locator('a[href*="/deployments/deployment/"]').get_by_text(name, exact=True)

    def form(self, deployment: str) -> None:
        """The form of a deployment, the way a person gets there: the list, Run, Custom run."""
        self.deployments()
        self._deployment(deployment).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        expect(self.page.get_by_text("Validate parameters")).to_be_visible()

    def run(self, run: str, tab: str = "Logs") -> None:
        self.page.goto(f"{self.url}/runs/flow-run/{run}")
        self.page.get_by_role("tablist").get_by_text(tab, exact=True).click()

    # -- forms

    def field(self, label: str) -> Locator:
        name = re.compile(rf"^{re.escape(label)}( \(Optional\))?$")
        own = self.page.locator(".schema-form-property__label", has_text=name)
        return self.page.locator(".schema-form-property", has=own)

    def _open(self, label: str) -> Locator:
        """By its arrows: a click on the words opens and closes it at once (Prefect 3.8.8's UI)."""
        self.field(label).locator(".p-select-button__icon").click()
        options = self.page.locator(".p-select-option")
        expect(options.first).to_be_visible()
        return options

    def _close(self) -> None:
        self.page.get_by_text("Parameters", exact=True).first.click()  # anywhere else
        expect(self.page.locator(".p-select-option")).to_have_count(0)

    def choices(self, label: str) -> list[str]:
        """What a multi-select offers."""
        found = [one.strip() for one in self._open(label).all_inner_texts()]
        self._close()
        return found

    def choose(self, label: str, *names: str) -> None:
        options = self._open(label)
        for name in names:
            options.get_by_text(name, exact=True).click()
        self._close()
        for name in names:
            expect(self.field(label).locator(".p-select-button__value")).to_contain_text(name)

    def fill(self, label: str, value: str) -> None:
        box = self.field(label).locator("textarea, input").first
        box.fill(value)
        expect(box).to_have_value(value)

    def submit(self) -> None:
        self.page.get_by_role("button", name="Submit", exact=True).click()
        self.page.wait_for_url(re.compile(r"/(deployments/deployment|runs/flow-run)/[^/]+$|\?tab"), timeout=WAIT_MS)

    # -- runs

    def cancel(self) -> None:
        """The button of the run's page, and yes to the question."""
        self.page.get_by_role("button", name="Cancel", exact=True).click()
        self.page.get_by_role("button", name="Confirm", exact=True).click()


@contextmanager
def browser() -> Iterator[Page]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            page = chromium.new_page(viewport={"width": 1400, "height": 1700})
            page.set_default_timeout(WAIT_MS)
            expect.set_options(timeout=WAIT_MS)
            yield page
        finally:
            chromium.close()


def screenshots(otherwise: Path) -> Path:
    """Where QUANTFARM_SCREENSHOTS says."""
    folder = Path(os.environ.get("QUANTFARM_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
