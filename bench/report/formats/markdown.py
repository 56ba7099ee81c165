"""The same tables as Markdown, for pull requests and `tables/summary.md`; everything from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison, Heading
from bench.core.environment import Environment
from bench.core.gate import GateRow
from bench.core.record import Outcome, Record
from bench.core.units import format_bytes
from bench.report.formats import Asked, Format
from bench.report.formats.table import caption, summary_line
from bench.stats.scaling import scalings
from bench.stats.summary import summarise
from bench.store.stored import StoredRun
from bench.tables.advice import advice_sentences, loose_advice_sentences
from bench.tables.cell_values import key_columns, outcome_text
from bench.tables.cells import count_columns, figure_columns
from bench.tables.claims import claim_columns, claim_notes, claims_summary
from bench.tables.comparison import _columns as comparison_columns
from bench.tables.comparison import _notes, headline, short_names, strip_range
from bench.tables.document import Block, Document, Doubts, Notes, Rows, Text
from bench.tables.figures import plain, significant
from bench.tables.gate import _WORDS, _value, change_text, gate_summary, operations_text
from bench.tables.parts import count_notes, layer_columns
from bench.tables.scaling import ranks_document, scaling_document
from bench.tables.table import Column, Page

_SPECIAL = re.compile(r"([\\`*\[\]|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")  # my_net needs no backslash
_MENTION_OR_MAIL = re.compile(r"(?<![A-Za-z0-9_])@(?=[A-Za-z0-9])|@(?=[A-Za-z0-9_-]+\.[A-Za-z0-9])")
_REFERENCE = re.compile(r"(#|\bGH-)(?=[0-9])", re.IGNORECASE)
_COMMIT = re.compile(r"\b(?=[0-9]*[a-f])[0-9a-f]{7,40}\b")
_GAP = "\u200b"
"""Zero-width space. An entity or a backslash is gone when GitHub looks for mentions and references; this stays."""


def escape(text: str) -> str:
    """Make a text stand in Markdown as it is: no markup, no HTML, no mention, no new line, no end of a table cell."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _REFERENCE.sub(rf"\1{_GAP}", _MENTION_OR_MAIL.sub(f"@{_GAP}", text))
    text = re.sub(r"\bwww\.", f"www{_GAP}.", text, flags=re.IGNORECASE)
    text = _COMMIT.sub(r"`\g<0>`", _SPECIAL.sub(r"\\\1", text))
    return text.replace("@", "&#64;").replace("://", "&#58;//")


def table(columns: Sequence[Column]) -> str:
    """Write columns as a Markdown table; noise stands behind its figure."""
    lines = [
        "| " + " | ".join(escape(column.heading) for column in columns) + " |",
        "|" + "|".join("---:" if column.right else "---" for column in columns) + "|",
    ]
    rows = zip(*(column.texts for column in columns), strict=True)
    return "\n".join([*lines, *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows)])


def cells_table(records: Sequence[Record]) -> str:
    """Write one row per cell, with all columns; the outcome stands where it is not ok."""
    if not records:
        return "no cells"
    columns = [*key_columns(records), *figure_columns(records, [summarise(record) for record in records])]
    if any(record.outcome is not Outcome.OK for record in records):
        columns.append(Column(name="outcome", cells=tuple(r.outcome.value for r in records), right=False))
    return table(columns)


def layers_table(record: Record) -> str:
    """Write one row per layer, and their sum."""
    return table(layer_columns(record)) if record.counters.layers else "no layers were counted"


def counts_table(records: Sequence[Record]) -> str:
    """Write exact counts, and below them why counters differ."""
    if not records:
        return "no cells"
    body = table([*key_columns(records, ("model", "batch_size")), *count_columns(records)])
    return _with_list(body, count_notes(records))


def claims_table(checked: Sequence[CheckedClaim]) -> str:
    """Write documented values beside measured ones, and below them why some are no match."""
    return _with_list(table(claim_columns(checked)), claim_notes(checked)) if checked else "no claims"


def summary(
    records: Sequence[Record], claims: Sequence[CheckedClaim] = (), environment: Environment | None = None
) -> str:
    """Write a whole run on one page: machine, outcomes, cells, throughput, doubts, failures, claims.

    Args:
        records: In the order of the rows.
        claims: Checked; the section is left out where there are none.
        environment: Of the run; the first record's own where it is None.
    """
    environment = environment or next((r.environment for r in records if r.environment), None)
    parts = ["# Benchmark run", *([machine_line(environment)] if environment else []), f"**{summary_line(records)}**"]
    if records:
        parts += ["## Cells", escape(caption(records, [summarise(r) for r in records])), cells_table(records)]
    if pivot := throughput_table(records):
        parts += ["## Throughput, examples/s", pivot]
    if scaling := write_document(scaling_document(scalings(records))):
        parts += ["## Scaling", scaling]
    if several := write_document(ranks_document(records)):
        parts += ["## Several processes", several]
    if doubts := advice_sentences(records):
        parts += ["## Doubts", "\n".join(f"- **{mark}** {escape(sentence)}" for mark, sentence in doubts)]
    if failed := [(record.cell.id, text) for record in records if (text := outcome_text(record))]:
        parts += ["## Not measured", "\n".join(f"- {escape(name)}: {escape(text)}" for name, text in failed)]
    if claims:
        parts += ["## Claims", f"**{claims_summary(claims)}**", claims_table(claims)]
    return "\n\n".join(parts) + "\n"


def throughput_table(records: Sequence[Record]) -> str | None:
    """Write examples/s as models x (batch size, precision) by pandas; None where that is no real grid.

    A grid needs at least two columns, and one record per place: further axes must not vary.
    """
    import pandas as pd  # heavy: only when a summary is written

    rows = [
        {
            "model": record.cell.model,
            "batch_size": record.cell.batch_size,
            "precision": record.cell.precision.value,
            "examples_per_second": summarise(record).examples_per_second,
        }
        for record in records
    ]
    frame = pd.DataFrame(rows, columns=["model", "batch_size", "precision", "examples_per_second"])
    axes = ["model", "batch_size", "precision"]
    if frame.duplicated(axes).any() or len(frame[axes[1:]].drop_duplicates()) < 2:
        return None
    grid = frame.pivot(index="model", columns=axes[1:], values="examples_per_second")
    grid = grid.loc[list(dict.fromkeys(frame["model"]))].sort_index(axis="columns")
    columns = [Column(name="model", cells=tuple(grid.index), right=False)]
    for (batch_size, precision), values in grid.items():
        cells = tuple("-" if pd.isna(value) else significant(value) for value in values)
        columns.append(Column(name=f"b{batch_size} {precision}", cells=cells))
    return table(columns)


def machine_line(environment: Environment) -> str:
    """Say on what was measured, in one line of Markdown."""
    return escape(", ".join(machine_facts(environment)))


def machine_facts(environment: Environment) -> list[str]:
    """List what was measured on, as plain text."""
    facts = [
        environment.cpu,
        f"{environment.cores} cores",
        format_bytes(environment.memory_bytes),
        *([environment.gpu] if environment.gpu else []),
        f"torch {environment.torch}",
        f"Python {environment.python}",
        f"stepbench {environment.stepbench}",
        f"fingerprint {environment.fingerprint}",
    ]
    if environment.git_commit:
        facts.append(f"commit {environment.git_commit[:12]}{' (modified)' if environment.git_dirty else ''}")
    return facts


def _with_list(body: str, notes: Sequence[str]) -> str:
    return "\n\n".join([body, *(["\n".join(f"- {escape(note)}" for note in notes)] if notes else [])])


def comparison_markdown(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """Write a comparison as Markdown, for a comment at a pull request: the verdict first."""
    return f"### {escape(headline(comparisons, heading))}\n\n{comparison_details(comparisons, heading)}"


def comparison_details(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """Write a comparison as Markdown without its headline: the sides, the table, a reason per verdict."""
    names, common = short_names([c.cell_id for c in comparisons])
    columns = comparison_columns(comparisons, names, strip_range(comparisons), unicode=True)
    page = Page(width=10_000)
    lines = [
        f"base {escape(heading.base)}, head {escape(heading.head)}. {escape(heading.method)}",
        "",
        table(columns) if comparisons else "no cells",
        "",
        *(f"- {escape(line.strip())}" for line in _notes(comparisons, names, page, with_strips=False)),
        *([f"- UNFIT: {escape(heading.unfit)}"] if heading.unfit else []),
        *(f"- {escape(note)}" for note in heading.notes),
    ]
    if common:
        lines += ["", f"All: {escape(common)}."]
    return "\n".join(lines) + "\n"


def gate_markdown(suite: str, torch: str, rows: Sequence[GateRow], lines: Sequence[str | None]) -> str:
    """Write the gate for a pull request: a line, a table of what changed, the rows to commit."""
    is_open = all(row.is_passing for row in rows)
    head = f"**bench gate: {'pass' if is_open else 'FAIL'}** · {escape(gate_summary(suite, torch, rows))}"
    return "\n\n".join(filter(None, [head, gate_details(rows, lines)]))


def gate_details(rows: Sequence[GateRow], lines: Sequence[str | None]) -> str:
    """Write what changed as Markdown: a table, the operations and reasons, the rows to commit; empty if nothing did."""
    parts = []
    changed = [row for row in rows if row.verdict in _WORDS]
    entries = [(row, change) for row in changed for change in (row.counters or (None,))]
    if entries:
        parts.append(
            table(
                [
                    Column(name="verdict", cells=tuple(row.verdict.value for row, _ in entries), right=False),
                    Column(name="cell", cells=tuple(row.cell.id for row, _ in entries), right=False),
                    Column(name="counter", cells=tuple(c.name if c else "" for _, c in entries), right=False),
                    Column(name="recorded", cells=tuple(_value(c.expected) if c else "" for _, c in entries)),
                    Column(name="found", cells=tuple(_value(c.found) if c else "" for _, c in entries)),
                    Column(name="change", cells=tuple(change_text(c) if c else "" for _, c in entries)),
                ]
            )
        )
    notes = [_gate_note(row) for row in changed if row.operations or row.reason]
    parts += ["\n".join(notes)] if notes else []
    commit = [plain(line) for line in lines if line is not None]
    parts += ["\n".join(["```csv", *commit, "```"])] if commit else []
    return "\n\n".join(parts)


def _gate_note(row: GateRow) -> str:
    text = row.reason or f"operations {operations_text(row.operations)}"
    return f"- {escape(row.cell.id)}: {escape(text)}"


def write_document(document: Document) -> str:
    """Write any document: paragraphs, tables, lists."""
    return "\n\n".join(text for block in document if (text := _block(block)))


def _block(block: Block) -> str:
    match block:
        case Text():
            return escape(block.text)
        case Rows():
            heading = f"## {escape(block.caption)}\n\n" if block.caption else ""
            return heading + table(block.columns)
        case Notes():
            return "\n".join(f"- {escape(line)}" for line in block.lines)
        case Doubts():
            found = loose_advice_sentences(block.advice)
            return "\n".join(f"- **{mark}** {escape(sentence)}" for mark, sentence in found)


def _write(run: StoredRun, asked: Asked) -> str:  # noqa: ARG001 - the signature of all formats
    from bench.report.ci.comment import run_comment

    return run_comment(run.records, run.claims, run.environment)


FORMAT = Format(
    write=_write,
    compare=lambda found, asked: comparison_markdown(found.comparisons, found.heading),  # noqa: ARG005
    holds_failures=True,
    holds_claims=True,
)
