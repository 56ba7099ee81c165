"""The walk-through of the seed page with measured numbers: makes docs/walkthrough.md; nobody types it.

    python -m benchmarks.seed_page.page                       # the page again, from the evidence that is kept
    python -m benchmarks.seed_page.page latest --claims checked.json    # with a run, and with checked claims

Measure first, with every suite of `walkthrough_topics` (`--suites` prints their names):

    bench run $(python -m benchmarks.seed_page.page --suites)
    bench check --time --format json > checked.json

Suites that a run holds cells of replace what was kept of them in docs/evidence/walkthrough.json; what was never
measured stands as "not measured yet".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.claim import CheckedClaim
from bench.core.errors import BenchError
from bench.core.units import format_bytes, format_count, format_seconds
from bench.report.formats.markdown import escape, table, write_document
from bench.store.atomic import write_bytes
from bench.store.runs import RunFolder
from bench.tables.claims import CLAIMS, claim_notes
from bench.tables.columns import shown_columns
from bench.tables.document import Rows
from bench.tables.scaling import scaling_document
from bench.tables.table import Column
from benchmarks.seed_page.evidence import (
    Evidence,
    MeasuredCell,
    Measurement,
    read_evidence,
    with_claims,
    with_runs,
    write_evidence,
)
from benchmarks.seed_page.topics import TOPICS, Topic

EVIDENCE = Path("docs/evidence/walkthrough.json")
PAGE = Path("docs/walkthrough.md")
NOT_YET = "*Not measured yet.*"
MISSING = "-"

_INTRODUCTION = (
    "The project grew from one page, the 'Deep Learning' primer of HackTricks (AI section). This page follows it "
    "from top to bottom and puts measurements beside its statements. Counts are exact and the same on every machine; "
    "times are those of the machine named below each table. A step is a median ± half its 95 % interval; without ±, "
    "the steps were too few or too uneven for an interval. An ERRATUM is a number of the page that its own formula "
    "contradicts, a MISMATCH a statement that is false on this machine. A claim that compares two models, modes or "
    "settings is the ratio of their figures: 1 says that they are equal, 0.25 a quarter. `bench run SUITE` measures a "
    "table again."
)
_TRAINING = (
    "MNIST, resized to 48 x 48 in three channels: batch 64, 5 epochs, Adam with lr 1e-3 and weight decay 1e-4, cross "
    "entropy. `bench train my_net --data synthetic` measures that recipe on drawn digits, `--data mnist` on the real "
    "ones: time per epoch by phase, loss and accuracy, classification report and confusion matrix."
)

Figure = tuple[str, Callable[[MeasuredCell], str | None]]


def _phase(name: str) -> Callable[[MeasuredCell], str | None]:
    def read(cell: MeasuredCell) -> str | None:
        seconds = dict(cell.phase_seconds).get(name)
        return None if seconds is None else format_seconds(seconds)

    return read


def _examples(cell: MeasuredCell) -> str | None:
    return format_count(cell.cell.batch_size / cell.step.point) if cell.step and cell.step.point else None


FIGURES: dict[str, Figure] = {
    "forward": ("forward", _phase("forward")),
    "loss": ("loss", _phase("loss")),
    "backward": ("backward", _phase("backward")),
    "optimizer": ("optimizer", _phase("optimizer")),
    "flops": ("FLOPs", lambda c: None if c.flops is None else format_count(c.flops)),
    "parameters": ("parameters", lambda c: None if c.parameters is None else f"{c.parameters:,}"),
    "examples": ("examples/s", _examples),
    "tokens": ("tokens/s", lambda c: None if c.tokens_per_second is None else format_count(c.tokens_per_second)),
    "saved": ("kept for backward", lambda c: None if c.saved_bytes is None else format_bytes(c.saved_bytes)),
    "state": (
        "kept by the optimizer",
        lambda c: None if c.optimizer_state_bytes is None else format_bytes(c.optimizer_state_bytes),
    ),
}
"""Columns beside the step time: header, and how it is read."""


def page(evidence: Evidence) -> str:
    """Write the whole page."""
    parts = [
        "# The seed page, measured",
        "<!-- made by `python -m benchmarks.seed_page.page` from docs/evidence/walkthrough.json; do not edit -->",
        _INTRODUCTION,
        "## The convolutional network, step by step",
        _claims(evidence, lambda one: one.claim.cell is None and one.claim.model.startswith("walkthrough_cnn")),
        "## MY_NET",
        _claims(evidence, lambda one: one.claim.cell is None and one.claim.model.startswith("my_net")),
        "## The training example",
        _TRAINING,
        "## What else it names",
    ]
    shown: set[str] = set()
    for topic in TOPICS:
        parts += _topic(topic, evidence, shown)
    return "\n\n".join(parts) + "\n"


def _topic(topic: Topic, evidence: Evidence, shown: set[str]) -> list[str]:
    """Write one section; a suite that another section has shown already is only named."""
    ways = [f"`bench run {suite}`" for suite in topic.suites] + [f"`{command}`" for command in topic.commands]
    tests = ", ".join(_test(test) for test in topic.tests)
    parts = [
        f"### {topic.name}",
        f"The page says: {escape(topic.says)} Measured by {', '.join(ways)}; checked by {tests}.",
    ]
    for suite in topic.suites:
        if suite in shown:
            parts.append(f"**{suite}**: see the table above.")
            continue
        shown.add(suite)
        found = evidence.of(suite)
        parts += [f"**{suite}**", *(_measured(found, topic) if found else [NOT_YET])]
    if topic.claims:
        parts.append(_claims(evidence, lambda one: one.claim.id.startswith(topic.claims)))
    return parts


def _test(test: str) -> str:
    file, _, name = test.partition("::")
    return f"`{name}` in `{file}`"


def _measured(found: Measurement, topic: Topic) -> list[str]:
    parts = [_cells_table(found.cells, topic.figures)]
    parts += _scaling(found)
    machine = f"{found.machine}; {found.measured_at[:10]}"
    if found.busy:
        machine += f"; **other work ran beside {found.busy} of {len(found.cells)} cells, so their times say little**"
    return [*parts, f"Measured on {machine}."]


def _scaling(found: Measurement) -> list[str]:
    """Write how times grow: below a heading of its own level what the table shows, then the table and its doubts."""
    parts = []
    for block in scaling_document(found.scalings):
        if isinstance(block, Rows):
            parts.insert(len(parts) - 1, f"#### {block.caption}")
            block = replace(block, caption="")
        parts.append(write_document([block]))
    return [part for part in parts if part]


def _cells_table(cells: Sequence[MeasuredCell], figures: Sequence[str]) -> str:
    """Write one row per cell: the axes that vary, the step with half its interval, and the figures asked for."""
    columns = [Column(name="model", cells=tuple(one.cell.model for one in cells), right=False)]
    for header, name in (("mode", "mode"), ("batch", "batch_size"), ("optimizer", "optimizer")):
        values = tuple(getattr(one.cell, name) for one in cells)
        if len(set(values)) > 1:
            columns.append(Column(name=header, cells=tuple("own" if v is None else str(v) for v in values)))
    columns.append(Column(name="step", cells=tuple(_step(one) for one in cells)))
    for name in figures:
        header, get = FIGURES[name]
        texts = tuple(get(one) or MISSING for one in cells)
        if set(texts) != {MISSING}:
            columns.append(Column(name=header, cells=texts))
    return table(columns)


def _step(one: MeasuredCell) -> str:
    if one.step is None:
        return one.outcome.value.replace("_", " ")
    half = one.step.relative_half_width
    return format_seconds(one.step.point) + (f" ± {100 * half:.1f} %" if half is not None else "")


def _claims(evidence: Evidence, wanted: Callable[[CheckedClaim], bool]) -> str:
    chosen = [one for one in evidence.claims if wanted(one)]
    if not chosen:
        return NOT_YET
    shown = [column for column in shown_columns(CLAIMS, chosen) if column.name not in ("model", "source")]
    notes = [f"- {escape(note)}" for note in claim_notes(chosen)]
    return "\n\n".join([table(shown), *(["\n".join(notes)] if notes else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed_page.page", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="id, a beginning of it, folder, or latest")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where runs are looked for")
    parser.add_argument("--claims", type=Path, help="what `bench check --time --format json` printed")
    parser.add_argument("--evidence", type=Path, default=EVIDENCE, help=f"what is kept ({EVIDENCE})")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"what is made ({PAGE})")
    parser.add_argument("--suites", action="store_true", help="print the names of the suites and stop")
    options = parser.parse_args(arguments)
    if options.suites:
        print(" ".join(dict.fromkeys(suite for topic in TOPICS for suite in topic.suites)))
        return 0
    try:
        evidence = read_evidence(options.evidence)
        evidence = with_runs(evidence, [RunFolder.open(run, options.results) for run in options.runs])
        if options.claims:
            evidence = with_claims(evidence, options.claims)
        if options.runs or options.claims:
            write_evidence(options.evidence, evidence)
        write_bytes(options.page, page(evidence).encode())
    except BenchError as error:
        print(f"walkthrough: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{options.page}: {len(evidence.measurements)} suites, {len(evidence.claims)} claims")
    return 0


if __name__ == "__main__":
    sys.exit(main())
