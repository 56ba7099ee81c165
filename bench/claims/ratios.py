"""Ratios between two cells, judged: counts are exact; times come with an interval.

"The GRU is computationally more efficient than the LSTM" is such a claim: parameters and FLOPs of the recurrent layer
are exactly 3/4, and the time of a step is below 1, on a given machine or not.

    relation    documented              holds where
    EQUAL       documented = "3/4"      the counts have that ratio, within `tolerance`
    BELOW       below = 1               subject / reference is less than that
    ABOVE       above = 1               subject / reference is more

A time (`is_timed`) is judged by the interval of its ratio over sessions and the p-values of both directions, which the
caller brings (`judge_time`): MATCH and MISMATCH need one of them shown, else the claim is INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from bench.claims.check import agree, describe
from bench.claims.quantities import Reading, read
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict, Relation
from bench.core.estimate import Estimate
from bench.core.record import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioQuantity:
    """Something of which two cells can have a ratio.

    Attributes:
        meaning: Meaning in words, with the unit.
        get: Reads it off the counters of a step; None for a time.
        needs_steps: It takes whole steps on fake tensors to count.
        of_layers: It can be of one layer.
    """

    meaning: str
    get: Callable[[Counters], int | None] | None = None
    needs_steps: bool = False
    of_layers: bool = False


def _flops(name: str) -> Callable[[Counters], int | None]:
    return lambda c: getattr(c.flops, name) if c.flops and not c.flops.is_lower_bound else None


def _peak(name: str) -> Callable[[Counters], int | None]:
    return lambda counters: getattr(counters.predicted_peak, name) if counters.predicted_peak else None


RATIO_QUANTITIES: dict[str, RatioQuantity] = {
    "parameters": RatioQuantity(meaning="elements of all parameters", get=lambda c: c.parameters, of_layers=True),
    "flops_forward": RatioQuantity(
        meaning="FLOPs of the forward pass; 1 MAC = 2", get=_flops("forward"), of_layers=True
    ),
    "flops_total": RatioQuantity(meaning="FLOPs of the whole step: with backward in train mode", get=_flops("total")),
    "saved_bytes": RatioQuantity(
        meaning="bytes of the activations that autograd saves for backward",
        get=lambda c: c.saved_bytes,
        needs_steps=True,
    ),
    "weights_bytes": RatioQuantity(meaning="bytes of the weights", get=_peak("weights_bytes"), needs_steps=True),
    "optimizer_state_bytes": RatioQuantity(
        meaning="bytes that the optimizer keeps between steps", get=_peak("optimizer_state_bytes"), needs_steps=True
    ),
    "step_seconds": RatioQuantity(meaning="time of a step; measured with interleaved processes, never exact"),
}
"""Every quantity of which a claim file may state a ratio between two cells."""


def is_timed(claim: Claim) -> bool:
    """Whether the claim is about time, which is measured and not counted."""
    quantity = RATIO_QUANTITIES.get(claim.quantity)
    return claim.cell is not None and quantity is not None and quantity.get is None


def needed_cells(ratios: Iterable[Claim]) -> dict[Cell, bool]:
    """List the cells to count, in order, and whether each needs whole steps; those of times are left out."""
    wanted: dict[Cell, bool] = {}
    for ratio in ratios:
        if is_timed(ratio):
            continue
        names = (ratio.quantity, ratio.reference_quantity or ratio.quantity)
        for cell, name in zip((ratio.cell, ratio.reference_cell), names, strict=True):
            assert cell is not None
            wanted[cell] = wanted.get(cell, False) or RATIO_QUANTITIES[name].needs_steps
    return wanted


def check_ratio(claim: Claim, subject: Counters, reference: Counters) -> CheckedClaim:
    """Judge a ratio of counts, as fractions of whole numbers: nothing is rounded before it is compared."""
    mine = _read(subject, claim.layer, claim.quantity)
    other = _read(reference, claim.relative_layer, claim.reference_quantity or claim.quantity)
    failed = next(((side, one) for side, one in (("subject", mine), ("reference", other)) if one.value is None), None)
    if failed is not None:
        return unmeasured(claim, f"{failed[0]}: {failed[1].reason}")
    assert isinstance(mine.value, int) and isinstance(other.value, int)
    if other.value == 0:
        return unmeasured(claim, f"reference: {claim.reference_quantity or claim.quantity} is 0, which has no ratio")
    exact = Fraction(mine.value, other.value)
    measured = mine.value / other.value
    if _holds(claim, exact, measured):
        return CheckedClaim(claim=claim, measured=measured, verdict=ClaimVerdict.MATCH)
    said = f"documented {documented_text(claim)}, measured {mine.value:,} / {other.value:,} = {measured:.6g}"
    return CheckedClaim(claim=claim, measured=measured, verdict=ClaimVerdict.MISMATCH, reason=said)


def judge_time(
    claim: Claim, interval: Estimate, *, p_below: float, p_above: float, alpha: float = 0.025
) -> CheckedClaim:
    """Judge a ratio of times.

    Args:
        claim: With `step_seconds`.
        interval: Interval of the ratio subject / reference.
        p_below: Of the test that the ratio is below the documented value, adjusted for all that are judged together.
        p_above: The same for above.
        alpha: A direction is shown where its p is at most this: half of 5 %, because both are looked at.
    """
    verdict, reason = _judge_time(claim, interval, p_below, p_above, alpha)
    return CheckedClaim(claim=claim, measured=interval.point, verdict=verdict, reason=reason, interval=interval)


def unmeasured(claim: Claim, reason: str) -> CheckedClaim:
    """Report that a ratio has no value, and why."""
    return CheckedClaim(claim=claim, measured=None, verdict=ClaimVerdict.UNMEASURED, reason=reason)


def documented_text(claim: Claim) -> str:
    """Write what is documented: `0.75`, `< 1`, `> 1`."""
    sign = {Relation.EQUAL: "", Relation.BELOW: "< ", Relation.ABOVE: "> "}[claim.relation]
    return f"{sign}{describe(claim.value)}"


def _holds(claim: Claim, exact: Fraction, measured: float) -> bool:
    assert not isinstance(claim.value, tuple)
    if claim.relation is Relation.EQUAL:
        # Both sides are quotients rounded once, so equal fractions are equal floats.
        return agree(claim.value, measured, claim.tolerance)
    documented = Fraction(claim.value)
    return exact < documented if claim.relation is Relation.BELOW else exact > documented


def _judge_time(
    claim: Claim, interval: Estimate, p_below: float, p_above: float, alpha: float
) -> tuple[ClaimVerdict, str]:
    assert not isinstance(claim.value, tuple)
    low, high = interval.low, interval.high
    if low is None or high is None:
        return ClaimVerdict.INCONCLUSIVE, f"{interval.n} sessions are too few for an interval"
    found = f"{interval.point:.3g} ({low:.3g} to {high:.3g}) over {interval.n} sessions"
    if claim.relation is Relation.EQUAL:
        least, most = claim.value * (1 - claim.tolerance), claim.value * (1 + claim.tolerance)
        if least <= low and high <= most:
            return ClaimVerdict.MATCH, ""
        if high < least or low > most:
            return ClaimVerdict.MISMATCH, f"false on this machine: {found}"
        return ClaimVerdict.INCONCLUSIVE, f"the interval is wider than what is documented: {found}"
    p_holds, p_opposite = (p_below, p_above) if claim.relation is Relation.BELOW else (p_above, p_below)
    if p_holds <= alpha:
        return ClaimVerdict.MATCH, ""
    if p_opposite <= alpha:
        return ClaimVerdict.MISMATCH, f"false on this machine: {found}, p = {p_opposite:.2g}"
    return ClaimVerdict.INCONCLUSIVE, f"neither shown nor refuted: {found}, p = {p_holds:.2g} and {p_opposite:.2g}"


def _read(counters: Counters, layer: str | None, quantity: str) -> Reading:
    if layer is not None:
        return read(counters, 1, layer, quantity)
    get = RATIO_QUANTITIES[quantity].get
    assert get is not None
    value = get(counters)
    return Reading(value=value, reason="" if value is not None else f"{quantity} was not counted")
