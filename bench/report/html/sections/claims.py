"""Documented values beside measured ones; those that need a decision are open, the rest folded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.report.html.contract import ReportData, Section
from bench.tables.claims import CLAIMS, STYLES, claim_styles, claims_summary, documented_value, measured_value
from bench.tables.columns import shown_columns
from bench.tables.document import Rows
from bench.tables.figures import first, name, words

_MOST = 400
_OPEN = (ClaimVerdict.MISMATCH, ClaimVerdict.INCONCLUSIVE)
"""Verdicts that need a decision: they are open, all else is folded."""
_ORDER = (*STYLES, ClaimVerdict.MATCH)


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show claims that do not match first, and explain them."""
    checked = data.claims
    if not checked:
        return None
    ordered, note = first(sorted(checked, key=lambda c: _ORDER.index(c.verdict)), _MOST, "claims")
    explained = [(c.verdict in _OPEN, _explained(c)) for c in ordered if c.verdict is not ClaimVerdict.MATCH]
    return {
        "summary": claims_summary(checked),
        "open": [one for is_open, one in explained if is_open],
        "known": [one for is_open, one in explained if not is_open],
        "count": len(checked),
        "table": Rows(
            columns=shown_columns(CLAIMS, ordered),
            caption="Documented and measured values",
            styles=claim_styles(ordered),
        ),
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="claims", title="Claims", build=build)


def _explained(checked: CheckedClaim) -> dict[str, str]:
    claim = checked.claim
    return {
        "verdict": checked.verdict.value,
        "style": STYLES[checked.verdict],
        "subject": f"{name(claim.model)} {name(claim.id)}",
        "documented": documented_value(checked),
        "measured": measured_value(checked),
        "reason": words(checked.reason or (claim.erratum.reason if claim.erratum else "")),
        "source": name(claim.source),
    }
