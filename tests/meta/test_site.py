"""The documentation site builds without a warning, its made pages are complete, and no link leads nowhere."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer

import bench
from bench.cli import app
from bench.core.advice import AdviceKind
from tests.accessibility import violations

ROOT = Path(__file__).parents[2]


def load_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = load_hooks()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """Collects what a page links to and fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        if tag in ("script", "img", "iframe") and values.get("src"):
            self.fetched.append(str(values["src"]))
        if tag == "source" and values.get("srcset"):
            self.fetched.append(str(values["srcset"]))
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload") and values.get("href"):
            self.fetched.append(str(values["href"]))


def test_every_link_arrives_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # a server puts that one anywhere
    assert len(pages) > 10
    lost = []
    for page in pages:
        found = Links()
        found.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in found.fetched if urlsplit(url).netloc], page
        for link in (*found.links, *found.fetched):
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (page.parent / unquote(parts.path)).exists():
                lost.append(f"{page.relative_to(site)}: {link}")
    assert not lost, "\n".join(lost)


def test_every_command_and_every_doubt_has_a_home(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in typer.main.get_command(app).commands:
        assert f"bench {name}" in commands
    advice = (site / "reference" / "advice.html").read_text(encoding="utf-8")
    for kind in AdviceKind:
        assert f'id="{kind.value}"' in advice


@pytest.mark.parametrize(
    ("source", "page", "target", "link"),
    [
        ("README.md", "index.md", "docs/counting.md", "counting.md"),
        ("README.md", "index.md", "results/README.md", "reference/results.md"),
        ("results/README.md", "reference/results.md", "../docs/counting.md", "../counting.md"),
        ("docs/tutorials/first-run.md", "tutorials/first-run.md", "../verdicts.md", "../verdicts.md"),
        ("README.md", "index.md", "Makefile", None),
        ("docs/walkthrough.md", "walkthrough.md", "../tests/models/test_mlp.py", None),
    ],
)
def test_links_between_files_become_links_between_pages(source: str, page: str, target: str, link: str | None) -> None:
    assert HOOKS.site_link(source, page, target) == link


def test_a_choice_of_values_stands_in_its_table_as_it_is_typed(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "table|markdown|json" in page
    assert "\\|" not in page


@pytest.mark.slow
def test_search_finds_pages_that_are_opened_as_files(site: Path, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.goto((site / "changelog.html").as_uri())
    page.locator(".md-search__input").first.fill("accumulation")
    first = page.locator(".md-search-result__item").first
    first.wait_for()
    assert "changelog" not in str(first.locator("a").first.get_attribute("href"))  # which mentions everything
    page.close()


@pytest.mark.slow
def test_axe_finds_nothing_on_any_page(site: Path, chromium: Any) -> None:
    page, found = chromium.new_page(viewport={"width": 1280, "height": 900}), []
    to_dark = "document.body.dataset.mdColorScheme = 'slate'"
    for file in sorted(set(site.rglob("*.html")) - {site / "404.html"}):
        page.goto(file.as_uri())
        found += [f"{file.relative_to(site)}: {violation}" for violation in violations(page, to_dark)]
    page.close()
    assert not found, "\n".join(found)


def test_the_python_page_says_what_every_public_name_takes(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("bench.run", "bench.to_frame", *(f"{home}.{name}" for name, home in bench._HOMES.items())):
        assert f".{name.removeprefix('bench.')}" in page or f'id="{name}"' in page, name
    for words in ("budget_seconds", "make_batch", "examples_per_step", "bench_cell"):
        assert words in page
