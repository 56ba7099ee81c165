"""Comparisons, gates and trainings as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.comparison import Comparison, Heading
from bench.core.gate import GateRow
from bench.core.training import Training
from bench.report.formats.markdown import escape, table
from bench.tables.advice import loose_advice_sentences
from bench.tables.comparison import _columns as comparison_columns
from bench.tables.comparison import _notes, headline, short_names, strip_range
from bench.tables.figures import plain
from bench.tables.gate import _WORDS, _value, change_text, gate_summary, operations_text
from bench.tables.table import Column, Page
from bench.tables.training import confusion_columns, epoch_columns, part_columns, recipe, score_columns, sentences


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


def training_markdown(training: Training) -> str:
    """Write the same as Markdown, for `tables/summary.md`."""
    parts = [f"# Training {escape(training.plan.model)}", escape(recipe(training))]
    run = training.run
    if run is not None and run.epochs:
        parts += ["## Epochs", table(epoch_columns(run.epochs))]
        parts += ["## Where the time went, percent", table(part_columns(run.epochs))]
    if run is not None and run.classification is not None:
        parts += ["## By class", table(score_columns(run.classification))]
        parts += ["## Confusion", "Rows are true classes.", table(confusion_columns(run.classification))]
    parts += ["## In words", "\n".join(f"- {escape(sentence)}" for sentence in sentences(training))]
    if run is not None and (doubts := loose_advice_sentences(run.advice)):
        parts += ["## Doubts", "\n".join(f"- **{mark}** {escape(sentence)}" for mark, sentence in doubts)]
    return "\n\n".join(parts) + "\n"
