"""Checked claims to columns and sentences: documented, measured, verdict, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bench.core.claim import CheckedClaim, ClaimValue, ClaimVerdict, Relation
from bench.tables.figures import plain
from bench.tables.table import Column

_STYLES = {
    ClaimVerdict.MISMATCH: "red",
    ClaimVerdict.ERRATUM: "yellow",
    ClaimVerdict.UNMEASURED: "dim",
    ClaimVerdict.INCONCLUSIVE: "yellow",
}
_SIGNS = {Relation.EQUAL: "", Relation.BELOW: "< ", Relation.ABOVE: "> "}


def claim_value(value: ClaimValue | None) -> str:
    """Write a claim's value for people: `18,874,880`, or a shape `Bx32x48x48` in which B is the batch."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "x".join("B" if size is None else str(size) for size in value)
    if isinstance(value, float) and value and not value.is_integer():
        return f"{value:.6g}"
    return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"


def documented_value(checked: CheckedClaim) -> str:
    """Write what is documented: a value, or `< 1` where only the direction is."""
    return _SIGNS[checked.claim.relation] + claim_value(checked.claim.value)


def measured_value(checked: CheckedClaim) -> str:
    """Write what was measured; of a ratio of times in three digits, its interval stands in a column of its own."""
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


def claim_columns(checked: Sequence[CheckedClaim]) -> list[Column]:
    """Make the columns of the claims table."""
    verdicts = [c.verdict.value.upper() if c.verdict is not ClaimVerdict.MATCH else "match" for c in checked]
    return [
        Column(name="model", cells=tuple(plain(c.claim.model) for c in checked), right=False, key=True),
        Column(name="claim", cells=tuple(plain(c.claim.id) for c in checked), right=False, key=True),
        Column(name="documented", cells=tuple(documented_value(c) for c in checked)),
        Column(name="measured", cells=tuple(measured_value(c) for c in checked)),
        *_interval_columns(checked),
        Column(name="verdict", cells=tuple(verdicts), right=False),
        Column(name="scope", cells=tuple(plain(c.claim.scope) for c in checked), right=False, rank=1),
        Column(name="source", cells=tuple(plain(c.claim.source) for c in checked), right=False, rank=2),
    ]


def claim_families(checked: Sequence[CheckedClaim]) -> dict[int, str]:
    """Return heading lines for a narrow page, by row: `my_net` for `my_net@classes=10`, `torchvision` for all of it.

    A claim's id is unique in its file, and a file is about one family.
    """
    families = [plain(re.split("[@:]", c.claim.model)[0]) for c in checked]
    return {row: name for row, name in enumerate(families) if row == 0 or name != families[row - 1]}


def claim_styles(checked: Sequence[CheckedClaim]) -> dict[int, str]:
    """Colour the rows that are no match."""
    return {row: _STYLES[c.verdict] for row, c in enumerate(checked) if c.verdict in _STYLES}


def claim_notes(checked: Sequence[CheckedClaim]) -> list[str]:
    """Say for every claim that is no match why, one sentence each."""
    notes = []
    for c in checked:
        reason = c.reason or (c.claim.erratum.reason if c.claim.erratum else "")
        if c.verdict is not ClaimVerdict.MATCH and reason:
            where = f"{c.claim.model} {c.claim.id}"
            notes.append(f"{c.verdict.value.upper()} {plain(where)}: {plain(reason)}")
    return notes


def claims_summary(checked: Sequence[CheckedClaim]) -> str:
    """Count the verdicts: `14 claims: 13 match, 1 erratum`."""
    counts = Counter(c.verdict for c in checked)
    found = [f"{counts[verdict]} {verdict.value}" for verdict in ClaimVerdict if counts[verdict]]
    return f"{len(checked)} claim{'' if len(checked) == 1 else 's'}: {', '.join(found) or 'none'}"


def _interval_columns(checked: Sequence[CheckedClaim]) -> list[Column]:
    """Make the column of the intervals; none where no time was measured."""
    if all(c.interval is None for c in checked):
        return []
    return [Column(name="95 %", cells=tuple(interval_value(c) for c in checked), right=False)]
