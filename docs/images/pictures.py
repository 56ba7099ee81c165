"""Take the pictures of README and docs again: a real command in a terminal of 80 columns, and the report of the run.

python docs/images/pictures.py RUN_FOLDER    # of a default run: its report, and the terminal in both schemes
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
COLUMNS = 80
NET = """from torch import nn


def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
"""
WITHOUT_FONTS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they would be downloaded
COMMAND = "bench run net.py:small --input-shape 3x32x32 -b 8,32 --mode train,infer"


def take_terminal() -> None:
    """Run the README's command in a terminal of its own, and draw what it left there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.py").write_text(NET, encoding="utf-8")
        said = in_terminal([str(Path(sys.executable).with_name("bench")), *COMMAND.split()[1:]], folder)
    said = re.sub(r"^.*\r", "", said.replace("\r\n", "\n"), flags=re.MULTILINE)  # what a bar drew over
    for scheme, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", DIMMED_MONOKAI)):
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
            console.print(f"[bold]$ {COMMAND}[/bold]", highlight=False)
            console.print(Text.from_ansi(said.strip("\n")))
            console.save_svg(
                str(HERE / f"terminal-{scheme}.svg"), title="stepbench", theme=theme, code_format=WITHOUT_FONTS
            )


def in_terminal(command: list[str], folder: Path) -> str:
    """Return what a command writes to a terminal; its progress goes elsewhere."""
    ours, its = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **size}, stdout=its, stderr=subprocess.DEVNULL
    ) as process:
        os.close(its)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return b"".join(parts).decode()


def take_report(browser: Browser, report: Path, scheme: str, anchor: str, height: int) -> None:
    """Take one picture of what stands at an anchor."""
    size = {"width": 1360, "height": height}
    page = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce").new_page()
    page.goto(f"{report.resolve().as_uri()}#{anchor}")
    page.locator(f".top a[href='#{anchor}'][aria-current]").wait_for()
    if anchor == "answer":
        page.evaluate("scrollTo(0, 0)")  # with the page's own heading
    page.screenshot(path=HERE / f"report-{scheme}.png")


if __name__ == "__main__":
    take_terminal()
    report = Path(sys.argv[1]) / "report.html"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        take_report(chromium, report, "light", "answer", 1000)
        take_report(chromium, report, "dark", "phases", 1000)
        chromium.close()
