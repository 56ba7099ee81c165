"""Judge documented values by measured ones; what has to be counted for it, and how it is read from `Counters`.

The verdict of one claim:

    nothing measured                        UNMEASURED
    measured = documented, no erratum       MATCH
    measured = documented, erratum          MISMATCH: the erratum is stale
    measured = the erratum's value          ERRATUM
    anything else                           MISMATCH

The tolerance is for what a document rounded; the measured value of an erratum is our own count and must recur exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.claims.quantities import Reading, read
from bench.core.claim import CheckedClaim, Claim, ClaimValue, ClaimVerdict
from bench.core.record import Counters

BATCH_SIZE = 1
"""What to count claims with: documents mean one example, and some networks do work once per batch.

The position bias of swin_v2 is computed once whatever the batch, so that a larger batch, divided, reads too low."""

_FLOAT_SLACK = 1e-12  # of the tolerance's own arithmetic, so that a value on the border of its rounding is inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What has to be built and counted for a claim: a model, on examples of a shape (None: the model's own)."""

    model: str
    input_shape: tuple[int, ...] | None = None


def subject(claim: Claim) -> Subject:
    """Return what the claim is about."""
    return Subject(model=claim.model, input_shape=claim.input_shape)


def reference(claim: Claim) -> Subject | None:
    """Return what a relative claim compares with; None for an absolute one."""
    if claim.relative_to is None:
        return None
    return Subject(model=claim.relative_to, input_shape=claim.input_shape)


def needed(claims: Iterable[Claim]) -> dict[Subject, frozenset[tuple[str | None, str]]]:
    """List what has to be counted for the claims, in their order: subject to its (layer, quantity) pairs.

    Count in infer mode, with `BATCH_SIZE`; a layer of None is the whole model.
    """
    wanted: dict[Subject, frozenset[tuple[str | None, str]]] = {}
    for claim in claims:
        wanted[subject(claim)] = wanted.get(subject(claim), frozenset()) | {(claim.layer, claim.quantity)}
        other = reference(claim)
        if other is not None:
            wanted[other] = wanted.get(other, frozenset()) | {(_reference_layer(claim), claim.quantity)}
    return wanted


def check_counters(
    claim: Claim, counters: Counters, batch_size: int, relative_to: Counters | None = None
) -> CheckedClaim:
    """Judge a claim by what was counted of its subject, and of its reference for a relative one, at one batch size."""
    reading = _reading(counters, batch_size, claim, relative_to)
    return check(claim, reading.value, reading.reason or "it was not counted")


def check(claim: Claim, measured: ClaimValue | None, unmeasured_reason: str = "it was not counted") -> CheckedClaim:
    """Judge a claim by its measured value; None is unmeasured, for this reason.

    It is in the claim's terms: operations per example, None where a shape holds the batch, a ratio if it is relative.
    """
    verdict, reason = _judge(claim, measured, unmeasured_reason)
    return CheckedClaim(claim=claim, measured=measured, verdict=verdict, reason=reason)


def agree(documented: ClaimValue, measured: ClaimValue, tolerance: float) -> bool:
    """Return whether a measured value is what was documented: shapes exactly, numbers within a relative tolerance."""
    if isinstance(documented, tuple) or isinstance(measured, tuple):
        return documented == measured
    if documented == measured:  # integers above 2**53 are compared as they are
        return True
    return abs(measured - documented) <= tolerance * abs(documented) * (1 + _FLOAT_SLACK)


def _judge(claim: Claim, measured: ClaimValue | None, unmeasured_reason: str) -> tuple[ClaimVerdict, str]:
    if measured is None:
        return ClaimVerdict.UNMEASURED, unmeasured_reason
    documented_holds = agree(claim.value, measured, claim.tolerance)
    if claim.erratum is None:
        if documented_holds:
            return ClaimVerdict.MATCH, ""
        return ClaimVerdict.MISMATCH, f"documented {describe(claim.value)}, measured {describe(measured)}"
    if agree(claim.erratum.measured, measured, 0.0):
        return ClaimVerdict.ERRATUM, claim.erratum.reason
    if documented_holds:
        return (
            ClaimVerdict.MISMATCH,
            f"the erratum is stale: measured {describe(measured)}, as documented; remove the erratum",
        )
    on_record = describe(claim.erratum.measured)
    return (
        ClaimVerdict.MISMATCH,
        f"documented {describe(claim.value)}, erratum says {on_record}, measured {describe(measured)}",
    )


def describe(value: ClaimValue) -> str:
    """Print a value for people: `18,874,880`, `0.75`, `(B, 32, 48, 48)`."""
    if isinstance(value, tuple):
        return "(" + ", ".join("B" if size is None else str(size) for size in value) + ")"
    return f"{value:,}"


def _reading(counters: Counters, batch_size: int, claim: Claim, relative_to: Counters | None) -> Reading:
    if claim.relative_to is not None:
        return _ratio(counters, claim, relative_to)
    reading = read(counters, batch_size, claim.layer, claim.quantity)
    if isinstance(reading.value, tuple):
        return Reading(value=_with_batch_unnamed(reading.value, batch_size, claim.value))
    return reading


def _ratio(counters: Counters, claim: Claim, relative_to: Counters | None) -> Reading:
    """Divide whole batches, not examples: the batch cancels out, and integers divide without a rounding before."""
    mine = read(counters, 1, claim.layer, claim.quantity)
    if relative_to is None:
        return Reading(value=None, reason=f"{claim.relative_to} was not counted")
    other = read(relative_to, 1, _reference_layer(claim), claim.quantity)
    if mine.value is None:
        return mine
    if other.value is None:
        return Reading(value=None, reason=f"{claim.relative_to}: {other.reason}")
    if isinstance(mine.value, tuple) or isinstance(other.value, tuple):
        return Reading(value=None, reason=f"{claim.quantity} is a shape and has no ratio")
    if other.value == 0:
        return Reading(value=None, reason=f"{claim.relative_to}: {claim.quantity} is 0")
    return Reading(value=mine.value / other.value)


def _with_batch_unnamed(shape: tuple[int | None, ...], batch_size: int, documented: ClaimValue) -> ClaimValue:
    """Put None where the document says batch and the measured size is the batch; elsewhere sizes stay."""
    if not isinstance(documented, tuple) or len(documented) != len(shape):
        return shape
    return tuple(
        None if said is None and size == batch_size else size for said, size in zip(documented, shape, strict=True)
    )


def _reference_layer(claim: Claim) -> str | None:
    return claim.layer if claim.relative_layer is None else claim.relative_layer
