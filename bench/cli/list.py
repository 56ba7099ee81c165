"""List models, suites or stored runs.

Lists reference models (with their options), those of torchvision, transformers or timm, built-in suites, or runs.

Examples:
    bench list models --options
    bench list runs
"""

from __future__ import annotations

import textwrap
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say, terminal_width
from bench.core.errors import ExitCode, StoreError
from bench.core.text import plain
from bench.core.units import counted

PANEL = "Results"


class What(StrEnum):
    """What to list."""

    MODELS = "models"
    TORCHVISION = "torchvision"
    TRANSFORMERS = "transformers"
    TIMM = "timm"
    SUITES = "suites"
    RUNS = "runs"


def command(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.MODELS,
    with_options: Annotated[bool, typer.Option("--options", help="Show the options of each model.")] = False,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    if what is What.MODELS and with_options:
        return _print_options(format)
    from bench.cli.progress import waiting

    with waiting("reading"):
        listed, problems = _runs(results) if what is What.RUNS else (_listed(what), [])
    for problem in problems:
        say(problem)
    items = [{"name": name, "about": about} for name, about in listed]
    answer("list", format, lambda: _text(listed) + (MORE_MODELS if what is What.MODELS else ""), what=what, items=items)
    return ExitCode.USAGE if problems else ExitCode.FINE


MORE_MODELS = """

Also torchvision:NAME (`bench list torchvision`), transformers:TYPE (`bench list
transformers`), timm:NAME (`bench list timm`), your package.module:callable and
path/file.py:callable.
`bench list models --options` shows what can be set.
Set options after an @: mlp@activation=tanh,width=512."""


def _text(rows: list[tuple[str, str]]) -> str:
    """Write names and what they are, wrapped beside the names."""
    width = max((len(name) for name, _ in rows), default=0)
    indent = " " * (width + 2)
    return "\n".join(
        textwrap.fill(f"{name:{width}}  {about}".rstrip(), terminal_width(), subsequent_indent=indent)
        for name, about in rows
    )


def _listed(what: What) -> list[tuple[str, str]]:
    from bench import registry

    match what:
        case What.TORCHVISION:
            return [(f"torchvision:{name}", "") for name in registry.torchvision_names()]
        case What.TRANSFORMERS:
            tasks = registry.transformers_tasks().items()
            return [(f"transformers:{name}", ", ".join(of_model)) for name, of_model in tasks]
        case What.TIMM:
            return [(f"timm:{name}", "") for name in registry.timm_sources()]
        case What.SUITES:
            from bench.runner.session import builtin_suites
            from bench.suite.file import read_suite

            return [(name, read_suite(path).title) for name, path in builtin_suites().items()]
    return [(info.name, info.about) for info in map(registry.describe, registry.names())]


def _print_options(format: options.Format) -> int:  # noqa: A002
    from bench import registry

    models = [registry.describe(name) for name in registry.names()]
    lines = []
    for model in models:
        lines.append(model.name)
        for option in model.options:
            words = f"  {option.name}={option.default}  {option.comment}".rstrip()
            lines.append(textwrap.fill(words, terminal_width(), subsequent_indent="    "))
    answer("list", format, lambda: "\n".join(lines), what=What.MODELS, items=models)
    return ExitCode.FINE


def _runs(results: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """List the runs, and one problem for each whose `run.json` cannot be read."""
    from bench.store.runs import RunFolder, run_paths

    found, problems = [], []
    for path in run_paths(results):
        try:
            run = RunFolder.open(path).run
        except StoreError as error:
            problems.append(str(error))
        else:
            typed = plain(" ".join(run.command[1:]))
            started = run.started_at[:16].replace("T", " ")
            found.append((path.name, f"{started} UTC  {_holds(path, len(run.cells))}  {typed}"))
    return found, problems


def _holds(run: Path, cells: int) -> str:
    """Count what a run has measured, or was to measure."""
    for folder, what in (("generation", "case"), ("sampling", "case"), ("training", "training")):
        if not cells and (run / folder).is_dir():
            return counted(len(list((run / folder).glob("*.json"))), what)
    return counted(cells, "cell")
