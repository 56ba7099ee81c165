"""`bench gate`: deterministic counters of a suite against those on record."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.output import look, print_json
from bench.core.errors import ExitCode
from bench.core.gate import GateRow, GateVerdict


class Format(StrEnum):
    """How the gate answers."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def command(
    suite: Annotated[
        str, typer.Argument(help="A suite file (*.toml) or the name of a built-in suite.", show_default=True)
    ] = "gate",
    update: Annotated[
        bool, typer.Option("--update", help="Put what is counted on record, instead of judging.")
    ] = False,
    expected: Annotated[Path, typer.Option(help="Folder of counters.csv and dispatches.csv.")] = Path(
        "results/expected"
    ),
    format: Annotated[  # noqa: A002 - the name of the option
        Format, typer.Option("--format", help="Text for people, JSON for machines, Markdown for pull requests.")
    ] = Format.TABLE,
) -> int:
    """Count a suite's cells and compare exactly with the counters on record; nothing is timed.

    A count that grew, a missing or an extra row fails (exit code 1); a count that fell passes and prints the row to
    commit. Rows of other versions of torch and kinds of device are left alone; without any row for this torch the exit
    code is 5.
    """
    from bench.runner.ci.gate import check_gate, update_command, update_gate
    from bench.store.expected import counters_line

    gate = (update_gate if update else check_gate)(suite, folder=expected)
    accept = update_command(suite, expected)
    lines = [counters_line(row.found) if _is_to_commit(row, update) and row.found else None for row in gate.rows]
    exit_code = ExitCode.FINE if update or gate.is_open else ExitCode.REGRESSION
    if format is Format.JSON:
        print_json(
            "gate",
            suite=gate.suite,
            torch=gate.torch,
            is_open=gate.is_open,
            is_updated=update,
            rows=[
                {"cell_id": row.cell.id, "cell": row.cell, "verdict": row.verdict, "counters": row.counters}
                | {"operations": row.operations, "reason": row.reason, "row": line}
                for row, line in zip(gate.rows, lines, strict=True)
            ],
            update_command=accept,
        )
        return exit_code
    from bench.report.formats.markdown_subjects import gate_markdown
    from bench.tables.gate import gate_summary, gate_text

    if format is Format.MARKDOWN:
        print(gate_markdown(gate.suite, gate.torch, gate.rows, lines))
        return exit_code
    if blocks := gate_text(gate.rows, lines, **look()):
        print(f"{blocks}\n")
    summary = gate_summary(gate.suite, gate.torch, gate.rows)
    if update:
        print(f"{summary}; put on record in {gate.folder}")
    elif blocks:
        print(f"{summary}\nAll rows at once: {accept}")
    else:
        print(summary)
    return exit_code


def _is_to_commit(row: GateRow, is_written: bool) -> bool:
    return not is_written and row.verdict in (GateVerdict.LESS, GateVerdict.MORE, GateVerdict.MISSING)
