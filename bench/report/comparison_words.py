"""The words for every verdict: why it is what it is, with the numbers behind it, in one line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.core.comparison import Comparison, ComparisonReason
from bench.stats.power import fewest_sessions

_COUNTS = ("parameters", "trainable_parameters", "flops", "dispatches", "bytes_touched")
_FACT_WORDS = {
    "parameters": "parameters",
    "trainable_parameters": "trainable parameters",
    "flops": "FLOPs per step",
    "dispatches": "operations per step",
    "bytes_touched": "bytes touched per step",
}


def change(shift: float | None) -> str:
    """Write a log-ratio as a change in percent with its sign: `+5.1`."""
    if shift is None:
        return "-"
    percent = math.expm1(shift) * 100
    return f"{percent:+.1f}" if abs(percent) < 99.95 else f"{percent:+.0f}"


def sessions_in_words(stages: Sequence[str]) -> str:
    """Count sessions by stage: `6 sessions + 8 to confirm + 6 to extend`."""
    further = "".join(f" + {stages.count(stage)} to {stage}" for stage in ("confirm", "extend") if stage in stages)
    return f"{stages.count('screen')} sessions{further}"


def percent_of(shift: float | None) -> str:
    """Write a log-ratio as percent without a sign; `-` for None."""
    return change(shift).removeprefix("+")


def reason_text(comparison: Comparison) -> str:
    """Say in one line why the verdict is what it is."""
    facts = dict(comparison.facts)
    tolerated = f"+{float(facts.get('tolerate', 0.05)) * 100:.3g} %"
    fail_at = f"+{float(facts.get('fail_at', 0.02)) * 100:.3g} %"
    shift = f"{change(comparison.shift)} %"
    p = "" if comparison.p_adjusted is None else f", p {comparison.p_adjusted:.3f}"
    sees = percent_of(comparison.minimum_detectable)
    sessions = len(comparison.session_shifts)
    match comparison.reason:
        case ComparisonReason.SLOWDOWN_CONFIRMED:
            return f"{shift} on {sessions} fresh sessions{p}; fails from {fail_at}"
        case ComparisonReason.SPEEDUP_CONFIRMED:
            return f"{shift} on {sessions} fresh sessions{p}"
        case ComparisonReason.SLOWDOWN_EXCLUDED:
            high = change(comparison.high)
            return f"at most {high} %, so a slowdown of {tolerated} is excluded; {sees} % would have been seen"
        case ComparisonReason.SLOWDOWN_NOT_EXCLUDED:
            return f"neither shown nor excluded: {shift}, up to {change(comparison.high)} %; tolerated is {tolerated}"
        case ComparisonReason.CANNOT_DETECT:
            seen = "nothing" if comparison.minimum_detectable is None else f"only {sees} % or more"
            return f"cannot judge: with this noise {seen} would be seen, tolerated is {tolerated}; more sessions help"
        case ComparisonReason.SUSPECT_NOT_CONFIRMED:
            return f"suspect at {shift}, but its fresh sessions were not run; give it more time"
        case ComparisonReason.TOO_FEW_SESSIONS:
            alpha = float(facts.get("alpha", 0.05))
            return f"{sessions} sessions count, {fewest_sessions(alpha)} are needed for a p-value of {alpha:g}"
        case ComparisonReason.MISSING_SIDE:
            return f"{facts.get('side', 'one side')}: {facts.get('error', 'has no such cell')}"
        case ComparisonReason.DIFFERENT_WORK:
            return f"the parameters differ: not the same model, so {shift} is no verdict on code (timed all the same)"
        case ComparisonReason.OTHER_ENVIRONMENT:
            return f"measured in another environment: {facts.get('field', 'fields')} differs"


def fact_lines(comparison: Comparison) -> list[str]:
    """Say which counts differ, what could not be counted, and which sessions were void."""
    facts = dict(comparison.facts)
    lines = []
    for name in _COUNTS:
        base, head = facts.get(f"{name}_base"), facts.get(f"{name}_head")
        if isinstance(base, int) and isinstance(head, int):
            ratio = f" ({(head / base - 1) * 100:+.2f} %)" if base else ""
            lines.append(f"{_FACT_WORDS[name]} {base:,} -> {head:,}{ratio}, exactly")
    uncounted = [(side, facts.get(f"not_counted_{side}")) for side in ("base", "head")]
    lines += [f"{side} could not be counted: {reason}" for side, reason in uncounted if reason is not None]
    if "same_code" in facts:
        lines.append(f"both sides run the same file, outside their trees: {facts['same_code']}")
    if comparison.voided:
        reasons = ", ".join(f"{reason} {count}" for reason, count in comparison.voided)
        lines.append(f"void sessions: {reasons}")
    return lines
