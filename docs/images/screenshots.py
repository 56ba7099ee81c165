"""Take the pictures of docs/report.md again, from a report of the default run: screenshots.py report.html."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent


def take(browser: Browser, report: Path, scheme: str, anchor: str, height: int) -> None:
    """Take one picture of what stands at an anchor."""
    size = {"width": 1360, "height": height}
    page = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce").new_page()
    page.goto(f"{report.resolve().as_uri()}#{anchor}")
    page.locator(f".top a[href='#{anchor}'][aria-current]").wait_for()
    page.screenshot(path=HERE / f"report-{scheme}.png")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        take(chromium, Path(sys.argv[1]), "light", "answer", 1000)
        take(chromium, Path(sys.argv[1]), "dark", "phases", 1000)
        chromium.close()
