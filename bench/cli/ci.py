"""Join gate, check and ab into one comment and exit code.

Run gate, check or ab, each of which keeps its answer; then join all answers by `bench ci comment`. Options of ci go
before the step. A step exits with 0, whatever it found. comment exits with the verdict, writes FOLDER/comment.md,
appends to $GITHUB_STEP_SUMMARY and prints annotations.

Examples:
    bench ci gate
    bench ci --folder X ab BASE HEAD my_net --sessions 6
    bench ci comment
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say
from bench.core.errors import ExitCode, StoreError, UsageError

PANEL = "Compare"

SUMMARY_LIMIT = 1_000_000
"""Most bytes of a job's summary; GitHub takes 1 MiB."""


def command(
    step: Annotated[str, typer.Argument(metavar="gate|check|ab|comment", help="What to do.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments of `bench gate`, `bench check` or `bench ab`.", show_default=False),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Folder of the answers.")] = Path(".bench-ci"),
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of this step, needed when a command runs twice.", show_default=False),
    ] = None,
    title: Annotated[
        str, typer.Option("--title", help="Title of the comment; each title has its own comment.")
    ] = "stepbench",
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    if step != "comment":
        from bench.cli.progress import terminated_like_interrupted
        from bench.runner.ci.steps import run_step

        with terminated_like_interrupted():
            code = run_step(step, arguments or [], folder, name)
        say(f"{name or step} ended with exit code {code}; `bench ci comment` gives the verdict", start="bench ci: ")
        answer("ci", format, str, step=step, name=name or step, exit_code=code)
        return ExitCode.FINE
    if arguments:
        raise UsageError(f"comment takes no arguments, found {arguments[0]!r}; options of ci stand before it")
    return _comment(folder, title, format)


def _comment(folder: Path, title: str, format: options.Format) -> int:  # noqa: A002 - the name of the option
    from bench.report.verdict import WORDS, ci_comment, joint_exit_code
    from bench.runner.ci.annotations import annotation_lines, find_annotations, repository_root
    from bench.runner.ci.steps import read_results
    from bench.store.atomic import write_bytes

    results = read_results(folder)
    code = joint_exit_code(results)
    found = find_annotations(results, repository_root())
    path = folder / "comment.md"
    write_bytes(path, ci_comment(results, title=title).encode())
    _summarise(ci_comment(results, title=title, limit=SUMMARY_LIMIT))
    lines = [
        *annotation_lines(found),
        *(f"bench ci: {result.name}: {WORDS[result.exit_code]}" for result in results),
        f"bench ci: {WORDS[code]}; the comment is in {path}",
    ]
    steps = [
        {"name": r.name, "command": r.command, "exit_code": int(r.exit_code), "problem": r.problem} for r in results
    ]
    kept = {"exit_code": code, "comment": str(path), "steps": steps, "annotations": found}
    answer("ci", format, lambda: "\n".join(lines), **kept)
    return code


def _summarise(text: str) -> None:
    """Append to the job's summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"cannot write the summary {path}: {error.strerror}") from error


CONTEXT_SETTINGS = {"allow_interspersed_args": False}
"""Everything after the step, options included, belongs to the step."""
