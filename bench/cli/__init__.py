"""The command line: one file per command; each parses strings, calls one function, prints.

Importing this package must stay cheap, because every `bench --help` pays for it: no torch, pandas, numpy or rich at
import time (a test guards it). Errors leave as one line on stderr and an exit code (`bench.core.errors.ExitCode`).
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from bench.cli.ab import command as ab
from bench.cli.calibrate import command as calibrate
from bench.cli.cancel import command as cancel
from bench.cli.check import command as check
from bench.cli.ci import CONTEXT_SETTINGS as CI_SETTINGS
from bench.cli.ci import command as ci
from bench.cli.collect import command as collect
from bench.cli.compare import command as compare
from bench.cli.count import command as count
from bench.cli.doctor import command as doctor
from bench.cli.export import command as export
from bench.cli.fit import command as fit
from bench.cli.gate import command as gate
from bench.cli.generate import command as generate
from bench.cli.history import app as history
from bench.cli.listing import command as listing
from bench.cli.peaks import command as peaks
from bench.cli.pipeline import command as pipeline
from bench.cli.profile import command as profile
from bench.cli.report import command as report
from bench.cli.run import command as run
from bench.cli.sample import command as sample
from bench.cli.selftest import command as selftest
from bench.cli.show import command as show
from bench.cli.status import command as status
from bench.cli.train import command as train
from bench.core.errors import BenchError, ExitCode
from bench.core.version import __version__

_INTERRUPTED = 128 + 2
"""What a shell calls a program that SIGINT ended."""

app = typer.Typer(
    name="bench",
    help="Measure what a deep-learning model costs, and know which of the numbers to believe.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run)
app.command("status")(status)
app.command("collect")(collect)
app.command("cancel")(cancel)
app.command("show")(show)
app.command("export")(export)
app.command("list")(listing)
app.command("count")(count)
app.command("fit")(fit)
app.command("generate")(generate)
app.command("sample")(sample)
app.command("profile")(profile)
app.command("check")(check)
app.command("gate")(gate)
app.command("train")(train)
app.command("pipeline")(pipeline)
app.command("ab")(ab)
app.command("compare")(compare)
app.command("ci", context_settings=CI_SETTINGS)(ci)
app.add_typer(history, name="history")
app.command("report")(report)
app.command("calibrate")(calibrate)
app.command("selftest")(selftest)
app.command("doctor")(doctor)
app.command("peaks")(peaks)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"stepbench {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command; print any error as one line on stderr; return the exit code."""
    try:
        code = int(app(args=arguments, prog_name="bench", standalone_mode=False) or ExitCode.FINE)
        if code == _INTERRUPTED:  # typer turns Ctrl-C into this exit code and says nothing
            print("bench: interrupted; what was measured before is on disk", file=sys.stderr)
        return code
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return int(error.exit_code)
    except typer.TyperException as error:  # the command line itself could not be parsed
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command: the whole help
            print(message, file=sys.stderr)
        elif message:
            print(f"bench: {_one_line(message)}{_found(error, message)}", file=sys.stderr)
        return int(ExitCode.USAGE)
    except typer.Abort:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has had enough
        sys.stderr.close()
        return int(ExitCode.FINE)
    except SystemExit as stop:  # typer turns a broken pipe into 1, which means a regression here
        if isinstance(stop.__context__, BrokenPipeError):
            return int(ExitCode.FINE)
        raise


def _found(error: typer.TyperException, message: str) -> str:
    """Say what was typed where typer only says what it should be: it keeps that in pydantic's error behind its own."""
    cause: Any = error.__cause__ or error.__context__
    if not hasattr(cause, "errors"):
        return ""
    typed = cause.errors()[0].get("input")
    return f", found {typed!r}" if isinstance(typed, str) and typed not in message.split() else ""


def _one_line(message: str) -> str:
    """Join typer's lines and tabs, and leave out the class of error that it puts in front of the words."""
    return " ".join(message.split()).replace(": Value error, ", ": ")
