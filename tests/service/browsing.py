"""A page in headless Chromium, used by keyboard, and what went wrong in it meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

WATCH = "window.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
MOST_TABS = 40


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open.

    Attributes:
        errors: what the console said is wrong. A request that is refused counts, until `problem` is read.
        requested: the addresses that were asked.
        files: what is chosen where the page asks for files.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def give(self, chooser: Any) -> None:
        """To the page, which asks for files."""
        chooser.set_files(self.files)
        self.files = []

    def tab_to(self, selector: str) -> None:
        """Moves the focus there, as someone without a mouse does."""
        for _ in range(MOST_TABS):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by {MOST_TABS} tabs")

    def write(self, selector: str, text: str) -> None:
        """In place of what is written there."""
        self.tab_to(selector)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.insert_text(text)

    def choose(self, selector: str, *files: Any) -> None:
        self.tab_to(selector)
        self.files = [str(file) for file in files]
        self.page.keyboard.press("Space")
        while self.files:
            self.page.wait_for_timeout(20)

    def run(self) -> str:
        """Asks, and gives what the page says of the answer."""
        self.tab_to("#run")
        self.page.keyboard.press("Enter")
        return self.answered()

    def answered(self) -> str:
        self.page.wait_for_selector("#answer:not([aria-busy])", timeout=60_000)
        return self.page.inner_text("#status")

    def problem(self) -> str:
        """What the page says is wrong. That the console says so too is forgiven, once."""
        self.errors = [error for error in self.errors if "Failed to load resource" not in error]
        return self.page.inner_text("#problem")

    def check(self) -> None:
        """Nothing went wrong, nothing came from elsewhere, everybody can use it, in light and in dark."""
        from axe_playwright_python.sync_playwright import Axe

        assert self.errors == []
        assert self.page.evaluate("violations") == []
        origin = "/".join(self.page.url.split("/")[:3])
        assert [url for url in self.requested if not url.startswith((origin, f"blob:{origin}", "data:"))] == []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            assert Axe().run(self.page).generate_report().startswith("Found 0 accessibility violations"), scheme
        self.page.set_viewport_size({"width": 360, "height": 740})
        assert self.page.evaluate("document.documentElement.scrollWidth") <= 360, "wider than a phone"


@contextmanager
def visit(browser: Any, url: str, ready: str = "#work:not([hidden])") -> Iterator[Visit]:
    """The page at that address, once it shows what `ready` selects."""
    context = browser.new_context(viewport={"width": 1200, "height": 850}, locale="en-GB")
    page = context.new_page()
    visited = Visit(page)
    page.add_init_script(WATCH)
    page.on("console", lambda message: visited.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visited.errors.append(str(error)))
    page.on("filechooser", visited.give)  # from the start: Playwright does not wait until it would be told of one
    page.on("request", lambda request: visited.requested.append(request.url))
    page.goto(url)
    page.wait_for_selector(ready, timeout=30_000)
    yield visited
    context.close()
