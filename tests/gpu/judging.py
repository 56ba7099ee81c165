"""How the answers of a GPU are judged: each function takes figures and returns what is wrong, or an empty list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_SHARES = {"bf16": 0.55, "fp16": 0.55, "tf32": 0.5, "fp32": 0.6, "bytes": 0.75}
"""Of what the maker publishes: a healthy GPU reaches as much, and never more than 2 % above all of it."""


def _off(name: str, found: float | None, truth: float | None, most: float) -> list[str]:
    if found is None or truth is None or truth <= 0:
        return [f"{name} was not measured"]
    return [] if abs(found / truth - 1) <= most else [f"{name} is {found:.4g}, not {truth:.4g} within {most:.0%}"]


def wall_clock(step: float | None, wall: float | None, phases: Mapping[str, float], clock: str) -> list[str]:
    """The step by events against the wall clock of a plain loop, and its phases against the step."""
    wrong = _off("the step", step, wall, 0.03) + _off("the sum of the phases", sum(phases.values()), step, 0.05)
    return wrong + ([] if clock == "device" else [f"the clock is {clock!r}"])


def launch_bound(launching: float, step: float, is_said: bool) -> list[str]:
    """Launch-bound is said where launching into an empty queue takes 90 % of the step, and nowhere else."""
    truly = launching > 0.9 * step
    return [] if truly == is_said else [f"launching is {launching / step:.0%} of the step, said: {is_said}"]


def memory(found: Mapping[str, Any], truth: Mapping[str, int], predicted: int | None) -> list[str]:
    """The peak against torch's own counter, NVML against what is reserved, the prediction from both sides."""
    wrong = _off("the peak", found["peak_allocated_bytes"], truth["peak"], 0.01)
    if (found["device_used_bytes"] or 0) < found["peak_reserved_bytes"]:
        wrong.append("NVML sees less than the allocator has reserved")
    foreseen = None if predicted is None else predicted + truth["workspaces"]
    return wrong + _off("the prediction with cuBLAS' workspaces", foreseen, truth["peak"], 0.05)


def peaks(best: Mapping[str, float], published: Mapping[str, float]) -> list[str]:
    """Rates against what the maker publishes for exactly this device."""
    shares = {kind: best[kind] / rate for kind, rate in published.items() if kind in best and kind in LEAST_SHARES}
    outside = [f"{k} is {s:.0%} of the published rate" for k, s in shares.items() if not LEAST_SHARES[k] <= s <= 1.02]
    return outside if shares else ["nothing that is published was measured"]


def out_of_memory(outcomes: list[str], predicted: list[str]) -> list[str]:
    """What does not fit has a row of its own, the next cell is fine, and a prediction keeps it from being tried."""
    wrong = [] if outcomes == ["out_of_memory", "ok"] else [f"outcomes {outcomes}"]
    return wrong + ([] if predicted == ["skipped"] else [f"with a prediction {predicted}"])


def energy(joules: float | None, watts: float | None, truth_joules: float, truth_watts: float) -> list[str]:
    """Joules of a step against a window of one's own, watts against sampled power."""
    return _off("joules of a step", joules, truth_joules, 0.08) + _off("watts", watts, truth_watts, 0.1)


def launches(scaled: int | None, unscaled: int | None) -> list[str]:
    """A step with a GradScaler launches at least what one without does, or its optimizer was skipped; never 0."""
    if not scaled or not unscaled:
        return [f"launches {scaled} and {unscaled}"]
    return [] if scaled >= unscaled > 5 else [f"{scaled} launches with a GradScaler, {unscaled} without"]


def same_speed(first: float, second: float) -> list[str]:
    """Two GPUs of one kind take the same time."""
    return _off("the step on the second GPU", second, first, 0.1)


def graphs(eager: float, graph: float, peak: int, eager_peak: int) -> list[str]:
    """A small network is no slower as a CUDA graph, and its peak is not the compiler's."""
    wrong = [] if graph < 1.05 * eager else [f"a graph takes {graph / eager:.2f} times as long"]
    return wrong + ([] if peak < 4 * eager_peak else [f"the peak is {peak / eager_peak:.1f} times the eager one"])


def fitted(live: int | None, allowed: int) -> list[str]:
    """The largest batch fills what it was given, and no more."""
    share = (live or 0) / allowed
    return [] if 0.9 <= share <= 1.02 else [f"it fills {share:.0%}"]


def unchanged(exit_code: int, voids: Mapping[str, int]) -> list[str]:
    """Unchanged code raises no alarm, a slowed copy is found, and no session is void for its own sibling."""
    wrong = [] if exit_code == 0 else [f"exit code {exit_code}"]
    return wrong + (["sessions are void for their own siblings"] if voids.get("gpu shared") else [])
