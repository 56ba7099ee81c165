"""The command line: one file per command; each parses strings, calls one function, prints.

A file of this folder that defines `PANEL = "..."` is a command. The file's name is the command's, its docstring the
help, and it holds `command`, a function, or `app`, a group of commands; it is registered nowhere else. `bench --help`
only reads the first line and the panel of these files, and a command imports its own file alone, because every call
pays for imports: no torch, pandas, numpy or rich at import time (tests guard it). Errors become one line on stderr and
an exit code (`bench.core.errors.ExitCode`). Beside the commands: `options` (options that several commands share),
`output` (answers and help) and `progress`.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import typer

from bench.cli.output import Command, Group, say, say_error, write_section
from bench.core import __version__
from bench.core.errors import BenchError, ExitCode
from bench.core.text import one_line

PANELS = ("Measure", "Understand a model", "Compare", "Results", "This machine")
"""Headings of `bench --help`, in order."""

_FIRST = ("run", "count", "ab", "show", "machine")
"""Commands that open their panel; the others follow by name."""

OLD_NAMES = MappingProxyType(
    {
        "doctor": "machine",
        "peaks": "machine peaks",
        "calibrate": "machine noise",
        "selftest": "machine selftest",
        "status": "slurm status",
        "collect": "slurm collect",
        "cancel": "slurm cancel",
        "sample": "images",
    }
)
"""Names of commands before 2026-11-28, and now; the old ones still work and are not shown."""

TRACEBACK_VARIABLE = "STEPBENCH_TRACEBACK"
"""Set by `--traceback`, or by hand, to see where an internal error came from."""

_INTERRUPTED = 128 + 2
"""Exit code of a program that SIGINT ended."""


class Entry(NamedTuple):
    """What `bench --help` says of a command."""

    panel: str
    summary: str


@cache
def entries() -> Mapping[str, Entry]:
    """Read name, panel and summary of every command from its file, without importing it; in the order of the help."""
    found = {}
    for path in Path(__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if match := re.search(r'^PANEL = "(.+)"$', text, re.MULTILINE):
            found[path.stem] = Entry(match[1], text.removeprefix('"""').partition("\n")[0].removesuffix('"""'))

    def place(name: str) -> tuple[int, bool, str]:
        panel = found[name].panel
        return PANELS.index(panel) if panel in PANELS else len(PANELS), name not in _FIRST, name

    return {name: found[name] for name in sorted(found, key=place)}


def load(name: str) -> Any:
    """Import the file of a command and make typer's command of it."""
    module = importlib.import_module(f"bench.cli.{name}")
    words, _, examples = (module.__doc__ or "").partition("\nExamples:\n")
    app = vars(module).get("app")
    if app is None:
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(name, cls=Command, context_settings=vars(module).get("CONTEXT_SETTINGS"))(module.command)
    made = typer.main.get_command(app)
    made.name, made.help = name, words.strip()
    made.epilog = "\n".join(line.strip() for line in examples.strip().splitlines())
    return made


class _Folder(Mapping[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            if name not in entries():
                raise KeyError(name)
            self._loaded[name] = load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(entries())

    def __len__(self) -> int:
        return len(entries())


class Commands(Group):
    """All commands, in panels. Typer knows panels too, but only together with rich, which is slow to import."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Folder()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write a section per panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, entry in entries().items():
            panels.setdefault(entry.panel, []).append((name, entry.summary))
        for panel, rows in panels.items():
            write_section(formatter, panel, rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; an old name leads to the new one and says so."""
        new = OLD_NAMES.get(args[0])
        if new is not None:
            if not ctx.resilient_parsing:  # while a shell completes a command
                say(f"`bench {args[0]}` is now `bench {new}`")
            args = [*new.split(), *args[1:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="bench",
    cls=Commands,
    help="Measure what a deep-learning model costs, and know which of the numbers to believe.",
    epilog="bench run my_net -b 8,32\nbench run path/net.py:Net --input-shape 3x224x224\nbench ab main HEAD my_net",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    traceback: bool = typer.Option(False, "--traceback", help="Show the traceback of an internal error."),
) -> None:
    if traceback:
        os.environ[TRACEBACK_VARIABLE] = "1"
    if version:
        typer.echo(f"stepbench {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code; no locale is a reason to lose an answer."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it from the start
    gc.set_threshold(50_000, 20, 50)  # a tenth of a report of 10,000 cells went into looking for garbage
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command; print any error as one line on stderr; return the exit code, 70 for one that nobody foresaw."""
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        code = int(app(args=arguments, prog_name="bench", standalone_mode=False) or ExitCode.FINE)
        if code == _INTERRUPTED:  # typer turns Ctrl-C into this exit code and says nothing
            say_error("interrupted; what was measured before is on disk", code, typed)
        return code
    except BenchError as error:
        return say_error(str(error), error.exit_code, typed)
    except typer.TyperException as error:  # the command line itself could not be parsed
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command: the whole help
            print(message, file=sys.stderr)
        elif message:
            return say_error(f"{_one_line(message)}{_found(error, message)}", ExitCode.USAGE, typed)
        return int(ExitCode.USAGE)
    except typer.Abort:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) closed the pipe
        sys.stderr.close()
        return int(ExitCode.FINE)
    except Exception as error:  # noqa: BLE001 - the very top: what nobody foresaw must not end as 1, a regression
        if os.environ.get(TRACEBACK_VARIABLE):
            import traceback

            traceback.print_exc()
        words = (
            f"internal error, {one_line(error)}; this is a defect of stepbench, please report it with the output of "
            "bench --traceback"
        )
        return say_error(words, ExitCode.INTERNAL, typed)
    except SystemExit as stop:  # typer turns a broken pipe into 1, which means a regression here
        if isinstance(stop.__context__, BrokenPipeError):
            return int(ExitCode.FINE)
        raise


def _found(error: typer.TyperException, message: str) -> str:
    """Return what was typed if typer only says what it should be: it keeps that in pydantic's error behind its own."""
    cause: Any = error.__cause__ or error.__context__
    if not hasattr(cause, "errors"):
        return ""
    typed = cause.errors()[0].get("input")
    is_said = not isinstance(typed, str) or typed in message.split() or repr(typed) in message
    return "" if is_said else f", found {typed!r}"


def _one_line(message: str) -> str:
    """Join typer's lines and tabs, and leave out the class of error that it puts in front of the words."""
    return " ".join(message.split()).replace(": Value error, ", ": ")
