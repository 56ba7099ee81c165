"""The facts of one kind of advice in several cells, in a few words: ranges, examples, ratios where they say more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.core.record import AdviceKind
from bench.core.units import format_bytes, format_count, format_seconds
from bench.report.figures import plain, significant

Facts = tuple[tuple[str, str | int | float], ...]
"""As in `Advice.facts`."""


def facts_text(kind: AdviceKind, all_facts: Sequence[Facts]) -> str:
    """Put the facts of one kind of advice, of one or many cells, into words; empty where there are none."""
    derived = _DERIVED.get(kind)
    return (derived(all_facts) if derived else "") or _joined(all_facts)


def _disagreements(all_facts: Sequence[Facts]) -> str:
    """Say how far each other counter is from ours, as its share: `fvcore 0.333x to 0.950x in forward`."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        for phase in ("forward", "backward"):
            ours = values.pop(f"{phase}_flops", None)
            for name, theirs in values.items():
                if ours and name.endswith(f"_{phase}_flops"):
                    counter = name.removesuffix(f"_{phase}_flops")
                    ratios.setdefault((counter, phase), []).append(theirs / ours)
    parts = []
    for (counter, phase), found in ratios.items():
        low, high = (_ratio(value) for value in (min(found), max(found)))
        parts.append(f"{plain(counter)} {low if low == high else f'{low} to {high}'} of ours in {phase}")
    return ", ".join(parts)


def _gaps(all_facts: Sequence[Facts]) -> str:
    """Say how far the sum of the phases is from the step: `their sum is -11 % to +7 % off`."""
    gaps = []
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        if "phase_sum_seconds" in values and values.get("step_seconds"):
            gaps.append(values["phase_sum_seconds"] / values["step_seconds"] - 1)
    if not gaps:
        return ""
    low, high = (f"{gap * 100:+.0f} %" for gap in (min(gaps), max(gaps)))
    return f"their sum is {low if low == high else f'{low} to {high}'} off"


def _waits(all_facts: Sequence[Facts]) -> str:
    """Say what a step waits: `it waits 12.3 ms and works 4.56 ms, 73 % of the time, with 0 workers`."""
    parts = []
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        if {"wait_seconds", "step_seconds", "wait_fraction", "workers"} <= set(values):
            wait, work = format_seconds(values["wait_seconds"]), format_seconds(values["step_seconds"])
            share, workers = values["wait_fraction"] * 100, int(values["workers"])
            with_workers = f"with {workers} worker{'' if workers == 1 else 's'}"
            parts.append(f"{with_workers} it waits {wait} and works {work}: {share:.0f} % of the time is waiting")
    return "; ".join(parts)


def _ratio(value: float) -> str:
    return f"{significant(value)}x" if abs(value - 1) >= 0.005 else f"1{value - 1:+.0e}x"  # never a false 1.00x


_DERIVED: dict[AdviceKind, Callable[[Sequence[Facts]], str]] = {
    AdviceKind.FLOPS_DISAGREE: _disagreements,
    AdviceKind.PHASE_GAP: _gaps,
    AdviceKind.DATA_STARVED: _waits,
}
"""Kinds whose facts say more as ratios."""


def _joined(all_facts: Sequence[Facts]) -> str:
    """Join the facts of several cells: one value as it is, several numbers as a range, several texts by example."""
    values: dict[str, list[str | int | float]] = {}
    for facts in all_facts:
        for name, value in facts:
            values.setdefault(name, []).append(value)
    parts = []
    for name, found in values.items():
        numbers = [value for value in found if not isinstance(value, str)]
        if numbers:
            low, high = (_fact_value(name, value) for value in (min(numbers), max(numbers)))
            text = low if low == high else f"{low} to {high}"
        else:
            texts = list(dict.fromkeys(plain(str(value)) for value in found))
            text = texts[0] if len(texts) == 1 else f"{texts[0]}, and {len(texts) - 1} more"
        parts.append(text if name in {"reason", "reasons"} else f"{_fact_name(name)} {text}")
    return ", ".join(parts)


def _fact_name(name: str) -> str:
    for suffix in ("_seconds", "_bytes", "_fraction", "_celsius", "_flops"):
        name = name.removesuffix(suffix)
    return plain(name.replace("_", " "))


def _fact_value(name: str, value: str | int | float) -> str:
    """Print a number by the unit in the fact's name."""
    if isinstance(value, str):
        return plain(value)
    if name.endswith("_seconds"):
        return format_seconds(value)
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_flops"):
        return format_count(value, "FLOPs")
    if name.endswith("_celsius"):
        return f"{value:.0f} °C"
    if name.endswith("_fraction") or name in {"target", "half_width", "residual", "tolerance", "gap"}:
        return f"{significant(value * 100, 2)} %"
    return f"{value:,}" if isinstance(value, int) else significant(value)
