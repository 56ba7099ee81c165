"""Checked claims to columns and sentences: documented, measured, verdict, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bench.core.claim import CheckedClaim, ClaimValue, ClaimVerdict
from bench.report.figures import plain
from bench.report.layout import Column

_STYLES = {ClaimVerdict.MISMATCH: "red", ClaimVerdict.ERRATUM: "yellow", ClaimVerdict.UNMEASURED: "dim"}


def claim_value(value: ClaimValue | None) -> str:
    """Write a claim's value for people: `18,874,880`, or a shape `Bx32x48x48` in which B is the batch."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "x".join("B" if size is None else str(size) for size in value)
    return f"{value:,}"


def claim_columns(checked: Sequence[CheckedClaim]) -> list[Column]:
    """Make the columns of the claims table."""
    verdicts = [c.verdict.value.upper() if c.verdict is not ClaimVerdict.MATCH else "match" for c in checked]
    return [
        Column(header="model", cells=tuple(plain(c.claim.model) for c in checked), right=False, key=True),
        Column(header="claim", cells=tuple(plain(c.claim.id) for c in checked), right=False, key=True),
        Column(header="documented", cells=tuple(claim_value(c.claim.value) for c in checked)),
        Column(header="measured", cells=tuple(claim_value(c.measured) for c in checked)),
        Column(header="verdict", cells=tuple(verdicts), right=False),
        Column(header="scope", cells=tuple(plain(c.claim.scope) for c in checked), right=False, rank=1),
        Column(header="source", cells=tuple(plain(c.claim.source) for c in checked), right=False, rank=2),
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
