"""Checked claims as columns and sentences: documented, measured, verdict, and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.core.claim import CheckedClaim, ClaimValue, ClaimVerdict, Relation
from bench.tables.columns import Shown, integer, real, shown_columns, text
from bench.tables.document import Document, Notes, Rows, Text, Verdict
from bench.tables.figures import plain, tally

STYLES = {
    ClaimVerdict.MISMATCH: "red",
    ClaimVerdict.INCONCLUSIVE: "yellow",
    ClaimVerdict.ERRATUM: "yellow",
    ClaimVerdict.UNMEASURED: "dim",
}
"""Colour of all but a match, the worst first."""
_SIGNS = {Relation.EQUAL: "", Relation.BELOW: "< ", Relation.ABOVE: "> "}


def claim_value(value: ClaimValue | None) -> str:
    """Write a claim's value for people: `18,874,880`, or a shape `Bx32x48x48` in which B is the batch."""
    if value is None or isinstance(value, tuple):
        return value_text(value) or "-"
    if isinstance(value, float) and value and not value.is_integer():
        return f"{value:.6g}"
    return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"


def documented_value(checked: CheckedClaim) -> str:
    """Write the documented value, or `< 1` if only a direction is documented."""
    return _SIGNS[checked.claim.relation] + claim_value(checked.claim.value)


def measured_value(checked: CheckedClaim) -> str:
    """Write the measured value; a ratio of times with three digits, because its interval has a separate column."""
    if checked.interval is not None:
        return f"{checked.interval.point:.3f}"
    return claim_value(checked.measured)


def interval_value(checked: CheckedClaim) -> str:
    """Write the interval of a ratio of times; a count has none."""
    interval = checked.interval
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return "-"
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _verdict(checked: CheckedClaim) -> str:
    return "match" if checked.verdict is ClaimVerdict.MATCH else checked.verdict.value.upper()


def claims_document(checked: Sequence[CheckedClaim]) -> Document:
    """Make a row per documented value beside the measured one; then explain those that do not match, and count.

    On a narrow page `my_net` is the heading of all claims of `my_net@classes=10`, and `torchvision` that of all its
    models: a claim's id is unique in its file, and a file is about one family.
    """
    if not checked:
        return [Text(text="no claims")]
    families = [plain(re.split("[@:]", c.claim.model)[0]) for c in checked]
    return [
        Verdict(text=claims_summary(checked)),
        Rows(columns=shown_columns(CLAIMS, checked), styles=claim_styles(checked), heads=families),
        Notes(lines=claim_notes(checked)),
    ]


def claim_styles(checked: Sequence[CheckedClaim]) -> dict[int, str | None]:
    """Colour the rows that do not match."""
    return {row: STYLES[c.verdict] for row, c in enumerate(checked) if c.verdict in STYLES}


def claim_notes(checked: Sequence[CheckedClaim]) -> list[str]:
    """Explain every claim that is not a match, one sentence each."""
    notes = []
    for c in checked:
        reason = c.reason or (c.claim.erratum.reason if c.claim.erratum else "")
        if c.verdict is not ClaimVerdict.MATCH and reason:
            where = f"{c.claim.model} {c.claim.id}"
            notes.append(f"{c.verdict.value.upper()} {plain(where)}: {plain(reason)}")
    return notes


def claims_summary(checked: Sequence[CheckedClaim]) -> str:
    """Count the verdicts: `14 claims: 13 match, 1 erratum`."""
    return tally("claim", (c.verdict for c in checked), ClaimVerdict)


def value_text(value: ClaimValue | None) -> str | None:
    """Write a claim's value: `896`, `0.5`, or a shape `Bx32x48x48` in which B is the batch."""
    if isinstance(value, tuple):
        return "x".join("B" if size is None else str(size) for size in value)
    return None if value is None else str(value)


CLAIMS = (
    text("id", "name of the claim in its file", "claim.id", Shown(name="claim", place=2, right=False, key=True)),
    text("model", "model spec of the subject", "claim.model", Shown(name="model", place=1, right=False, key=True)),
    text("layer", "dotted path of the subject; empty is the whole model", "claim.layer"),
    text("quantity", "what is claimed, with its unit in the name", "claim.quantity"),
    text(
        "documented",
        "value as documented; B in a shape is the batch",
        lambda c: value_text(c.claim.value),
        Shown(name="documented", place=3, get=documented_value, write=str),
        unit="of the quantity",
    ),
    text(
        "measured",
        "value of the model; empty is unmeasured",
        lambda c: value_text(c.measured),
        Shown(name="measured", place=4, get=measured_value, write=str),
        unit="of the quantity",
    ),
    text("relation", "how measured must compare with documented: `equal`, `below` or `above`", "claim.relation"),
    text(
        "reference",
        "for a ratio, the model or cell that it is compared with; else empty",
        lambda c: c.claim.reference_cell.id if c.claim.reference_cell else c.claim.relative_to,
    ),
    real(
        "measured_low",
        "of the quantity",
        "for a ratio of times, lower end of its 95 % interval over sessions; empty for a count",
        "interval.low",
    ),
    real("measured_high", "of the quantity", "upper end", "interval.high"),
    integer(
        "sessions",
        "sessions",
        "fresh pairs of processes that a ratio of times comes from; empty for a count",
        "interval.n",
    ),
    text(
        "verdict",
        "`match`, `mismatch`, `erratum` (known not to agree, see reason), `unmeasured`, or of a time `inconclusive`",
        "verdict",
        Shown(name="verdict", place=6, get=_verdict, right=False),
    ),
    real("tolerance", "fraction", "relative tolerance; 0 is exact", "claim.tolerance"),
    text(
        "scope",
        "what the number includes",
        "claim.scope",
        Shown(name="scope", place=7, rank=1, right=False, always=True),
    ),
    text(
        "source", "document and place", "claim.source", Shown(name="source", place=8, rank=2, right=False, always=True)
    ),
    text("reason", "why it is not a match", lambda c: c.reason or None),
    text(
        "interval",
        "95 % interval of a ratio of times",
        interval_value,
        Shown(name="95 %", place=5, right=False, when=lambda rows: any(c.interval for c in rows)),
        stored=False,
    ),
)
