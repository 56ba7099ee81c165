"""Compare exact counts of a suite with those on record.

Nothing is timed. A count that grew, a missing or an extra row fails (exit code 1); a count that fell passes and prints
the row to commit. Rows of other versions of torch and kinds of device are ignored; without any row for this torch
the exit code is 5.

Examples:
    bench gate
    bench gate my_suite.toml --expected expected --update
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer
from bench.core.errors import ExitCode
from bench.core.gate import GateVerdict

if TYPE_CHECKING:
    from bench.runner.ci.gate import Gate
    from bench.tables.document import Document

PANEL = "Compare"


def command(
    suite: Annotated[
        str, typer.Argument(help="A suite file (*.toml) or the name of a built-in suite.", show_default=True)
    ] = "gate",
    update: Annotated[bool, typer.Option("--update", help="Record the counts instead of judging.")] = False,
    expected: Annotated[Path, typer.Option(help="Folder of counters.csv and dispatches.csv.")] = Path(
        "results/expected"
    ),
    timeout: options.LimitOption = None,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.ci.gate import check_gate, update_command, update_gate
    from bench.store.expected import counters_line

    limit = options.parse_duration(timeout, "--timeout")
    with waiting(is_quiet=quiet):
        gate = (update_gate if update else check_gate)(suite, folder=expected, timeout_seconds=limit)
    accept = update_command(suite, expected)
    to_commit = () if update else (GateVerdict.LESS, GateVerdict.MORE, GateVerdict.MISSING)
    lines = [counters_line(row.found) if row.verdict in to_commit and row.found else None for row in gate.rows]
    exit_code = ExitCode.FINE if update or gate.is_open else ExitCode.REGRESSION
    answer(
        "gate",
        format,
        lambda: _document(gate, lines, accept=accept, is_updated=update),
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


def _document(gate: Gate, lines: list[str | None], *, accept: str, is_updated: bool) -> Document:
    from bench.tables.document import Place, Verdict
    from bench.tables.gate import gate_document, gate_summary, gate_verdict

    rows = (gate.suite, gate.torch, gate.rows)
    verdict = gate_verdict(*rows)
    if is_updated:  # it judges nothing: what differed is what was asked to be put on record
        verdict = f"bench gate: put on record in {gate.folder} · {gate_summary(*rows)}"
    blocks = gate_document(gate.rows, lines)
    places = [Place(text=f"All rows at once: {accept}", close=True)] if blocks and not is_updated else []
    return [Verdict(text=verdict), *blocks, *places]
