"""A real headless Chromium, driven by selenium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """A page in Chromium: opened from a file, asked, and what it logged."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1400, *, dark: bool = False) -> None:
        """Open a page at a width; see that it was drawn, in silence and without a request."""
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # a click needs a page at rest
        ]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.requests()  # forget those of the page before, and what a test's own questions caused
        self.log()
        self.driver.get(path.as_uri())
        assert self.ask("document.documentElement.dataset.drawn") == "true", self.log()
        assert self.log() == []
        assert self.requests() == [path.as_uri()]

    def ask(self, expression: str, *arguments: Any) -> Any:
        """Return the value of an expression in the page; its arguments are a and b."""
        script = f"const [a, b] = arguments; return ({expression});"
        return self.driver.execute_script(script, *arguments)

    def log(self) -> list[str]:
        """Return what the console said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return what was requested since the last question."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """Chromium and its driver as Debian has them (packages chromium, chromium-driver)."""
    browser, program = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or program is None:
        pytest.skip("chromium or chromium-driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: Any) -> Browser:
    """Return the browser, at the mercy of one test."""
    return Browser(driver)
