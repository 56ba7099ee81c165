"""Print answers, for people and programs, and the help of commands."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from bench.core.jsonio import to_json
from bench.core.text import plain

if TYPE_CHECKING:
    import typer

    from bench.store.kept import KeptCounts
    from bench.tables.document import Document, Place

JSON_SCHEMA = 2
"""Version of the output of `--format json`, described in docs/json.md. History: 1 (2026-11-23) first; 2 (2026-11-28)
`command` holds the new names of commands (`machine peaks`, `images`), and `images` its answer as `images`."""


def named(title: str, names: Iterable[str]) -> type[StrEnum]:
    """Make the choices of an option from a list that is known only when the program runs."""
    return StrEnum(title, {name.replace("-", "_").upper(): name for name in names})  # type: ignore[return-value]


def say(message: object, *, start: str = "bench: ") -> None:
    """Print one line on stderr, with text from models and files made harmless."""
    print(f"{start}{plain(str(message))}", file=sys.stderr, flush=True)


def print_file(text: str) -> None:
    """Print the content of a file, in UTF-8 whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    print(text, end="")


def answer(command: str, format: str, made: Callable[[], str | Document], /, **payload: Any) -> None:  # noqa: A002 - the option's name
    """Print the answer of a command in the format that was typed.

    Args:
        command: Name of the command, as in `bench NAME`.
        format: Value of `--format`.
        made: Makes the text or the document; called only if it is printed. An empty one prints nothing.
        payload: Fields of the JSON object.
    """
    if format == "json":
        print_json(command, **payload)
    elif found := made():
        words = found if isinstance(found, str) else written(found, format)
        print(words) if format == "table" else print_file(f"{words}\n")


def written(document: Document, format: str) -> str:  # noqa: A002 - the option's name
    """Write a document as Markdown, or for this terminal."""
    if format == "markdown":
        from bench.report.formats.markdown import write_document

        return write_document(document)
    from bench.tables.document import page_text
    from bench.tables.table import Page

    return page_text(document, Page(**look()))


def results_place(folder: object) -> Place:
    """Make the last line of a command that measures: where its run is."""
    from bench.tables.document import Place

    return Place(text=f"Results: {folder}", close=True)


def say_kept(kept: KeptCounts | None, cells: int) -> None:
    """Report on stderr how many cells were not counted, because an earlier command counted the same code."""
    if kept is not None and kept.found:
        which = "nothing was counted" if kept.found == cells else f"{kept.found} of {cells} cells were not counted"
        say(f"{which}: the code is unchanged since the last count (--recount counts again)")


def print_json(command: str, **payload: Any) -> None:
    """Print one JSON object: `schema`, `command` and the payload, whose values are written by their fields.

    Output is ASCII, so that every locale and every reader can handle it, lone surrogates included.
    """
    document = {"schema": JSON_SCHEMA, "command": command, **to_json(payload)}
    print(json.dumps(document, indent=2, allow_nan=False))


def say_error(message: str, exit_code: int, arguments: Sequence[str]) -> int:
    """Print an error as one line on stderr, and as JSON on stdout if that was asked for; return its exit code.

    Args:
        message: One line.
        exit_code: Exit code of the command.
        arguments: The command line: an error may come before it is parsed.
    """
    say(message)
    pairs = itertools.pairwise(arguments)
    if "--format=json" in arguments or ("--format", "json") in pairs:
        command = next((word for word in arguments if not word.startswith("-")), "")
        print_json(command, error=message, exit_code=int(exit_code))
    return int(exit_code)


_WIDTH = "--width"
_typed_width: int | None = None
"""Value of `--width` while a command runs."""


def terminal_width() -> int:
    """Return the columns to print for: those of `--width`, the terminal's, `COLUMNS`, or 80 in a pipe."""
    return _typed_width or shutil.get_terminal_size(fallback=(80, 24)).columns


def look() -> dict[str, Any]:
    """Return how tables should look on this terminal, as arguments of `Page`."""
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return {
        "width": terminal_width(),
        "color": sys.stdout.isatty() and not is_plain,
        "unicode": (sys.stdout.encoding or "").lower().startswith("utf"),
        "widened_by": _WIDTH,
    }


class _Widened(TyperCommand if TYPE_CHECKING else object):  # type: ignore[misc]  # beside TyperCommand or TyperGroup
    """A command that also gets `--width` if it has `--format`: it prints tables."""

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        """Add the option of all commands that print tables."""
        super().__init__(name=name, **settings)
        if any(one.name == "format" for one in self.params):
            self.params.append(_width_option())

    def invoke(self, ctx: Any) -> Any:
        """Run the command for the width that was typed, here or before the name of a command below a command."""
        global _typed_width
        before = _typed_width
        _typed_width = ctx.params.pop("width", None) or before
        try:
            return super().invoke(ctx)
        finally:
            _typed_width = before


class Command(_Widened, TyperCommand):
    """A command whose help names values in words, shows every default and ends with examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return what follows the name in the usage line."""
        parameters: list[Any] = self.params
        shown = [one for one in parameters if one.param_type_name == "argument" and not one.hidden]
        return ["[OPTIONS]", *(parameter_name(one) if one.required else f"[{parameter_name(one)}]" for one in shown)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        _write_parameters(self.get_params(ctx), formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write the examples."""
        _write_examples(self.epilog, formatter)


def _width_option() -> Any:
    """Make `--width` as typer makes options."""
    import typer

    option = typer.Option(None, _WIDTH, min=20, help="Columns of tables.", show_default="the terminal's")

    def takes(width: int | None = option) -> None: ...

    maker = typer.Typer(add_completion=False)
    maker.command()(takes)
    return typer.main.get_command(maker).params[0]


class Group(_Widened, TyperGroup):
    """Commands below a command, with the same help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and commands."""
        _write_parameters(self.get_params(ctx), formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write each command with the whole first sentence of its help."""
        rows = [(name, (one.help or "").strip().partition("\n")[0]) for name, one in self.commands.items()]
        write_section(formatter, "Commands", rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write the examples."""
        _write_examples(self.epilog, formatter)


def make_group(*, acts: bool = False) -> typer.Typer:
    """Make the `app` of a command that has commands below it.

    Args:
        acts: The command also does something by itself; else it prints its help.
    """
    import typer

    class App(typer.Typer):
        def command(self, name: str | None = None, **settings: Any) -> Any:
            return super().command(name, **{"cls": Command} | settings)

    return App(cls=Group, rich_markup_mode=None, add_completion=False, no_args_is_help=not acts)


def write_section(formatter: Any, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write a heading and two columns, if there is a row."""
    if rows := list(rows):
        with formatter.section(title):
            formatter.write_dl(rows)


def _write_parameters(parameters: Iterable[Any], formatter: Any) -> None:
    shown = [parameter for parameter in parameters if not parameter.hidden]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        rows = [(parameter_name(one), _meaning(one)) for one in shown if one.param_type_name == kind]
        write_section(formatter, title, rows)


def parameter_name(parameter: Any) -> str:
    """Return an option or an argument as it is typed: `-b, --batch-size N,...`."""
    if parameter.param_type_name == "argument":
        return f"{value_name(parameter)}{'...' if parameter.nargs != 1 else ''}"
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        names += f" / {', '.join(parameter.secondary_opts)}"
    return names if parameter.is_flag else f"{names} {value_name(parameter)}"


def value_name(parameter: Any) -> str:
    """Return the word for a value in help: the metavar, the choices if they are short, or the kind of value."""
    if parameter.metavar:
        return str(parameter.metavar)
    choices = _choices(parameter)
    if choices and sum(map(len, choices)) <= 20:
        return "|".join(choices)
    annotation = parameter.type_descriptor.annotation
    return {int: "N", float: "NUMBER"}.get(annotation) or str(parameter.name).upper()


def _choices(parameter: Any) -> list[str]:
    return [str(getattr(choice, "value", choice)) for choice in parameter.type_descriptor.choices or ()]


def _meaning(parameter: Any) -> str:
    """Return the help with the choices that the name has no room for, the variable that sets it, and the default."""
    words = " ".join((parameter.help or "").split())
    choices = _choices(parameter)
    if choices and not value_name(parameter).count("|"):
        words = f"{words.removesuffix('.')}: {', '.join(choices[:-1])} or {choices[-1]}."
    extra = [f"env: {parameter.envvar}"] if parameter.envvar else []
    if (default := default_words(parameter)) is not None:
        extra.append(f"default: {default}")
    elif parameter.required:
        extra.append("required")
    return f"{words}  [{'; '.join(extra)}]" if extra else words


def default_words(parameter: Any) -> str | None:
    """Return the default in words; None for a flag that is off and a value that must be typed."""
    if isinstance(parameter.show_default, str):
        return str(parameter.show_default)
    value = parameter.default
    if value in (None, (), []) or callable(value):
        return None
    if value is True or value is False:
        names = parameter.opts if value else getattr(parameter, "secondary_opts", ())
        return names[0] if names and getattr(parameter, "secondary_opts", ()) else None
    return str(getattr(value, "value", value))


def _write_examples(text: str | None, formatter: Any) -> None:
    if text:
        formatter.write_paragraph()
        formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
