"""A real headless Chromium, and a page that tells what went wrong on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.store.stored import StoredRun


@dataclass
class Opened:
    """A page in the browser, and all that it should not have done.

    Attributes:
        problems: Console errors and warnings, uncaught exceptions, alerts.
        requests: Addresses other than the file itself and data in it.
    """

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


OpenPage = Callable[..., Opened]


@pytest.fixture
def open_page(chromium: Any, tmp_path: Path) -> Iterator[OpenPage]:
    """Return a function that opens HTML or runs in a new page of the browser, from a file as a person would."""
    contexts = []

    def opened(*runs: StoredRun, html: str | None = None, **options: Any) -> Opened:
        file = tmp_path / f"report-{len(contexts)}.html"
        text = render(make_data(runs)) if html is None else html
        file.write_text(text, encoding="utf-8")
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        found = Opened(context.new_page())
        page = found.page
        page.on("console", lambda m: found.problems.append(f"{m.type}: {m.text}") if m.type != "log" else None)
        page.on("pageerror", lambda error: found.problems.append(f"exception: {error}"))

        def dismissed(dialog: Any) -> None:
            found.problems.append(f"alert: {dialog.message}")
            dialog.dismiss()

        page.on("dialog", dismissed)
        page.on(
            "request",
            lambda request: found.requests.append(request.url) if not is_own(request.url, file) else None,
        )
        page.goto(file.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()


def is_own(url: str, file: Path) -> bool:
    return url.partition("#")[0] == file.as_uri() or url.startswith("data:")
