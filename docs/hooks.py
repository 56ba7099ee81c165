"""Pages of the documentation site that are made, not written: README as its front page, commands, columns and doubts.

MkDocs calls `on_files` before it builds and `on_page_markdown` for each page (mkdocs.yml names this file as a hook).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "reference/results.md",
}
"""Files outside of docs/ and the page that each becomes."""

HISTORIES = ("changelog.md", "LOG.md")
"""Pages that mention everything; a search finds the page that explains it before them."""

_LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
_PICTURE = re.compile(r'\b(src|srcset)="(?!https?:|data:)([^"\s]+)"')
"""A picture in HTML, which Markdown has no word for: one for light and one for dark."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    pages = {page: (ROOT / source).read_text(encoding="utf-8") for source, page in COPIES.items()}
    pages["reference/commands.md"] = commands_page()
    pages["reference/advice.md"] = advice_page()
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links between files of the repository to pages of the site; a file that is no page is only named."""
    if page.file.src_uri in HISTORIES:
        page.meta.setdefault("search", {"boost": 0.01})
    source = next((name for name, made in COPIES.items() if made == page.file.src_uri), f"docs/{page.file.src_uri}")

    def translate(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        link = site_link(source, page.file.src_uri, target)
        return text if link is None else f"[{text}]({link}{anchor})"

    def show(match: re.Match[str]) -> str:
        link = site_link(source, page.file.src_uri, match[2])
        if link is None:
            raise ValueError(f"{source}: the picture {match[2]} is no file of docs/")
        return f'{match[1]}="{link}"'

    return _PICTURE.sub(show, _LINK.sub(translate, markdown))


def site_link(source: str, page: str, target: str) -> str | None:
    """Translate a link of one file of the repository to one between pages; None for files that are no page.

    Args:
        source: The file that holds the link, from the root: `results/README.md`.
        page: The page it becomes: `reference/results.md`.
        target: As written: `../docs/counting.md`.
    """
    path = _normal(Path(source).parent / target)
    if path in COPIES:
        goal = COPIES[path]
    elif path.startswith("docs/"):
        goal = path.removeprefix("docs/")
    else:
        return None
    up = "../" * page.count("/")
    return f"{up}{goal}"


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def commands_page() -> str:
    """Write every command with every option, from the command line itself."""
    import typer

    from bench.cli import app

    lines = ["# Commands", "", "Made from the command line itself, as is `bench COMMAND --help`.", ""]
    for name, command in _commands(typer.main.get_command(app)):
        lines += [f"## bench {name}", "", *(command.help or "").strip().splitlines(), ""]
        if command.epilog:
            lines += ["```console", *(f"$ {example}" for example in command.epilog.splitlines()), "```", ""]
        rows = [_option_row(parameter) for parameter in command.params]
        if rows:
            lines += ["| option | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """List all commands, those of groups by their full name."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        full = f"{prefix}{name}"
        found += (
            [(full, command), *_commands(command, f"{full} ")] if hasattr(command, "commands") else [(full, command)]
        )
    return found


def _option_row(parameter: Any) -> str:
    from bench.cli.output import default_words, parameter_name

    default = default_words(parameter)
    shown = "" if default is None else f"`{default}`"  # in code a | is no border
    help_text = " ".join((getattr(parameter, "help", None) or "").split())
    return f"| `{parameter_name(parameter)}` | {_cell(help_text)} | {shown} |"


def advice_page() -> str:
    """Write every doubt and hint with its letter, what it means and what to do."""
    from bench.tables.advice import WORDS

    lines = [
        "# Doubts and advice",
        "",
        "A doubt about a figure is a letter in the column `see` of the tables, a sentence below them, and `advice`",
        "with its facts in the records.",
        "",
    ]
    for words in dict.fromkeys(WORDS.values()):
        kinds = [kind.value for kind, other in WORDS.items() if other is words]
        lines += ["".join(f'<a id="{kind}"></a>' for kind in kinds), "", f"## {words.title}", ""]
        lines += [f"Letter **{words.mark}**, in records {', '.join(f'`{kind}`' for kind in kinds)}.", ""]
        lines += [f"{words.meaning[0].upper()}{words.meaning[1:]}.", "", words.remedy, ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
