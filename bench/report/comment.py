"""A comment on a pull request: the verdict first, details folded, and never longer than GitHub takes.

If it is too long, the longest sections lose rows from their end until it fits, and each says how many it lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.environment import Environment
from bench.core.record import Outcome, Record
from bench.core.units import counted
from bench.report.formats.markdown import escape, write_document
from bench.stats.summary import summarise
from bench.tables.advice import advice_sentences
from bench.tables.cell_values import outcome_text
from bench.tables.claims import claims_document, claims_summary
from bench.tables.figures import plain
from bench.tables.run import caption, cells_rows, machine_facts, summary_line
from bench.tables.scaling import ranks_document

LIMIT = 65_536
"""Most characters of a comment on GitHub. Bytes are counted here, which are never fewer."""

LONGEST_TEXT = 500
"""Most characters of a reason or a message from outside."""

_MOST_ROWS = 1000  # more never fit; so that 10,000 cells are not written only to be cut
_OPEN_ROWS = 20
_SMALLER = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One folded part of a comment.

    Attributes:
        title: Plain text, visible while the section is folded.
        rows: Number of rows.
        write: Makes the Markdown of the first N rows; must be short for 0.
        is_open: Unfolded from the start.
    """

    title: str
    rows: int
    write: Callable[[int], str]
    is_open: bool = False


def fold(head: str, sections: Sequence[Section], limit: int = LIMIT) -> str:
    """Join a head and sections to Markdown of at most `limit` bytes.

    Args:
        head: Comes first and is never cut; its parts from outside must have been shortened.
        sections: Sections in their order.
        limit: Bytes of UTF-8.
    """
    kept = [min(section.rows, _MOST_ROWS) for section in sections]
    texts = [_written(section, rows) for section, rows in zip(sections, kept, strict=True)]
    while _size([head, *texts]) > limit and any(kept):
        longest = max((index for index, rows in enumerate(kept) if rows), key=lambda index: _size([texts[index]]))
        over = _size([head, *texts]) - limit
        share = 1 - over / _size([texts[longest]])  # of it that can stay, if its rows are alike
        kept[longest] = int(kept[longest] * min(max(share, 0.0), _SMALLER))
        texts[longest] = _written(sections[longest], kept[longest])
    dropped = ""
    while _size([head, *texts, dropped]) > limit and texts:  # even empty sections are too many
        texts.pop()
        left = len(sections) - len(texts)
        dropped = f"{counted(left, 'more part')} would be too long for a comment."
    texts += [dropped] if dropped else []
    return "\n\n".join([head, *texts]) + "\n"


def _written(section: Section, rows: int) -> str:
    body = section.write(rows)
    if rows < section.rows:
        left = section.rows - rows
        body += f"\n\n{left:,} of {section.rows:,} rows are left out: a comment on GitHub holds {LIMIT:,} characters."
    title = escape(brief(section.title))
    state = " open" if section.is_open else ""
    return f"<details{state}>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _size(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) + 2 for text in texts)


def brief(text: str) -> str:
    """Shorten a text from outside to one line of at most `LONGEST_TEXT` characters."""
    return plain(text, LONGEST_TEXT)


def bullets(lines: Sequence[str]) -> str:
    """Write lines from outside as a list, each shortened."""
    return "\n".join(f"- {escape(brief(line))}" for line in lines)


def run_comment(
    records: Sequence[Record],
    claims: Sequence[CheckedClaim] = (),
    environment: Environment | None = None,
    limit: int = LIMIT,
    view: str = "",
) -> str:
    """Write a run: its result, then folded the cells, the doubts, failures, claims and the machine.

    Without an environment it is the first record's; `limit` is in bytes of UTF-8.
    """
    environment = environment or next((r.environment for r in records if r.environment), None)
    doubts = advice_sentences(records)
    failed = [f"{r.cell.id}: {text}" for r in records if (text := outcome_text(r))]
    sections = []
    if records:
        said = escape(caption(records, [summarise(record) for record in records[:_MOST_ROWS]], view))
        sections.append(
            Section(
                title=f"Cells: {len(records)}",
                rows=len(records),
                write=lambda rows: f"{said}\n\n{write_document([cells_rows(records[:rows], view)])}" if rows else said,
                is_open=len(records) <= _OPEN_ROWS,
            )
        )
    if together := sum(record.cell.world_size > 1 for record in records):
        write = partial(_several, records)
        sections.append(Section(title=f"Several processes: {counted(together, 'cell')}", rows=together, write=write))
    if doubts:
        lines = [f"{mark}: {sentence}" for mark, sentence in doubts]
        sections.append(Section(title=f"Doubts: {len(lines)}", rows=len(lines), write=lambda n: bullets(lines[:n])))
    if failed:
        sections.append(
            Section(title=f"Not measured: {len(failed)}", rows=len(failed), write=lambda n: bullets(failed[:n]))
        )
    if claims:
        sections.append(claims_section(claims))
    if environment:
        machine = escape(", ".join(machine_facts(environment)))
        sections.append(Section(title="Machine", rows=0, write=lambda _: machine))
    return fold(_headline(records, claims, len(doubts)), sections, limit)


def _several(records: Sequence[Record], rows: int) -> str:
    return write_document(ranks_document(records, rows)) if rows else ""


def claims_section(claims: Sequence[CheckedClaim], *, is_open: bool = False) -> Section:
    """Make the section of checked claims; those that do not match come first, so that they are not cut."""
    ordered = [
        replace(c, reason=brief(c.reason))
        for c in sorted(claims, key=lambda c: (c.verdict is not ClaimVerdict.MISMATCH, c.verdict is ClaimVerdict.MATCH))
    ]
    return Section(
        title=f"Documented values: {claims_summary(claims)}",
        rows=len(ordered),
        write=lambda rows: write_document(claims_document(ordered[:rows])[1:]) if rows else "",
        is_open=is_open,
    )


def _headline(records: Sequence[Record], claims: Sequence[CheckedClaim], doubts: int) -> str:
    """Describe the result of the run; a run judges no time, so only claims and cells can be wrong."""
    wrong = sum(claim.verdict is ClaimVerdict.MISMATCH for claim in claims)
    failed = sum(record.outcome not in (Outcome.OK, Outcome.SKIPPED) for record in records)
    if wrong:
        verdict = f"{counted(wrong, 'documented value')} wrong"
    elif failed:
        verdict = f"{counted(failed, 'cell')} failed"
    else:
        verdict = "Measured" if records else "Nothing measured"
    facts = [summary_line(records), *([claims_summary(claims)] if claims else [])]
    facts += [f"{counted(doubts, 'kind')} of doubt"] if doubts else []
    return f"### {verdict}\n\n{' · '.join(map(escape, facts))}"
