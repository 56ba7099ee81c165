"""How the answers of a GPU are judged: each function takes figures and returns what is wrong, or an empty list."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.device.readings import Glance

LEAST_SHARES = {"bf16": 0.55, "fp16": 0.55, "tf32": 0.5, "fp32": 0.6, "bytes": 0.75}
"""Of what the maker publishes: a healthy GPU reaches as much, and never more than 2 % above all of it."""


def _off(name: str, found: float | None, truth: float | None, most: float) -> list[str]:
    if found is None or truth is None or truth <= 0:
        return [f"{name} was not measured"]
    return [] if abs(found / truth - 1) <= most else [f"{name} is {found:.4g}, not {truth:.4g} within {most:.0%}"]


def environment(used: int | str, held: int, is_listed: bool) -> list[str]:
    """Where NVML lists this process, then with at least what its allocator holds; else that is said in words."""
    if isinstance(used, str):
        return [f"NVML lists this process, said: {used}"] if is_listed else []
    return [] if is_listed and used >= held else [f"NVML says {used} bytes of a process that holds {held}"]


def wall_clock(
    step: float | None, wall: float | None, phases: Mapping[str, float], clock: str, *, is_long: bool = False
) -> list[str]:
    """The step by events against the wall clock of a plain loop, and its phases against the step.

    A long step is where an empty queue at the first mark would show, and its marks cost nothing: closer limits.
    """
    most, gap = (0.02, 0.03) if is_long else (0.03, 0.05)
    wrong = _off("the step", step, wall, most) + _off("the sum of the phases", sum(phases.values()), step, gap)
    return wrong + ([] if clock == "device" else [f"the clock is {clock!r}"])


def launch_bound(launching: float, step: float, is_said: bool) -> list[str]:
    """Launch-bound is said where launching into an empty queue takes 90 % of the step (give or take 5), only there."""
    share = launching / step
    return [] if 0.85 < share < 0.95 or (share > 0.9) == is_said else [f"launching is {share:.0%}, said: {is_said}"]


def memory(found: Mapping[str, Any], truth: Mapping[str, int], predicted: int | None) -> list[str]:
    """The peak against torch's own counter, NVML against what is reserved, the prediction from both sides."""
    wrong = _off("the peak", found["peak_allocated_bytes"], truth["peak"], 0.01)
    used = found["device_used_bytes"]
    if used is None and "no driver's count" not in found["method"]:
        wrong.append("NVML tells no memory of this process, and nobody says why")
    if used is not None and used < found["peak_reserved_bytes"]:
        wrong.append("NVML sees less than the allocator has reserved")
    return wrong + foreseen(predicted, truth["peak"])


def foreseen(predicted: int | None, peak: int | None) -> list[str]:
    """A predicted peak, which has cuBLAS' workspaces in it, from both sides."""
    return _off("the prediction with cuBLAS' workspaces", predicted, peak, 0.05)


def peaks(best: Mapping[str, float], published: Mapping[str, float]) -> list[str]:
    """Rates against what the maker publishes for exactly this device."""
    shares = {kind: best[kind] / rate for kind, rate in published.items() if kind in best and kind in LEAST_SHARES}
    outside = [f"{k} is {s:.0%} of the published rate" for k, s in shares.items() if not LEAST_SHARES[k] <= s <= 1.02]
    return outside if shares else ["nothing that is published was measured"]


def out_of_memory(outcomes: list[str], predicted: list[str]) -> list[str]:
    """What does not fit has a row of its own, the next cell is fine, and a prediction keeps it from being tried."""
    wrong = [] if outcomes == ["out_of_memory", "ok"] else [f"outcomes {outcomes}"]
    return wrong + ([] if predicted == ["skipped"] else [f"with a prediction {predicted}"])


def ended(outcome: str, wanted: str, reason: str | None) -> list[str]:
    """A cell ended as it should; else its reason says why not."""
    return [] if outcome == wanted else [f"ended {outcome}, not {wanted}: {reason}"]


def energy(joules: float | None, watts: float | None, truth_joules: float, truth_watts: float) -> list[str]:
    """Joules of a step against a window of one's own, watts against sampled power."""
    return _off("joules of a step", joules, truth_joules, 0.08) + _off("watts", watts, truth_watts, 0.1)


def launches(scaled: int | None, unscaled: int | None) -> list[str]:
    """A step with a GradScaler launches at least what one without does, or its optimizer was skipped; never 0."""
    if not scaled or not unscaled:
        return [f"launches {scaled} and {unscaled}"]
    return [] if scaled >= unscaled > 5 else [f"{scaled} launches with a GradScaler, {unscaled} without"]


def launches_seen(counts: Mapping[str, int | None]) -> list[str]:
    """A step on a GPU launches kernels: 0 is a profiler that saw nothing, and would have to be None."""
    return [f"{name} launches {count} kernels" for name, count in counts.items() if count is not None and count <= 5]


def clocks(busy: Sequence[Glance], state: Mapping[str, Any]) -> list[str]:
    """What a record says of clock and throttling is what was seen while the GPU worked."""
    seen = [one.clock_mhz for one in busy if one.clock_mhz is not None]
    if len(seen) < 10:
        return [f"the GPU was seen working {len(seen)} times"]
    wrong = _off("the recorded clock", state["gpu_clock_mhz"], statistics.median(seen), 0.1)
    told = [one.throttle_reasons for one in busy if one.throttle_reasons is not None]
    for reason in ("power", "thermal") if told else ():
        share = sum(reason in one for one in told) / len(told)
        is_said = reason in (state["gpu_throttle_reasons"] or ())
        if (share >= 0.2 and not is_said) or (share == 0 and is_said):
            wrong.append(f"{reason} held the clock back in {share:.0%} of the looks, recorded: {is_said}")
    return wrong


def profile(layers: float, step: float | None, clock: str | None) -> list[str]:
    """The rows of the device's own time sum to the step."""
    return _off("the sum of the layers", layers, step, 0.02) + (
        [] if clock == "device" else [f"the clock is {clock!r}"]
    )


def cost(first: float, further: float) -> list[str]:
    """A further cell of a command costs less than the command with one, which loads torch besides."""
    return [] if 0 < further < first else [f"the first cell takes {first:.1f} s, a further one {further:.1f} s"]


def every_test(passed: int, failed: int, skipped: Sequence[str]) -> list[str]:
    """All tests of a GPU ran; a question that cannot be asked here has said so."""
    wrong = ([] if passed else ["no test of a GPU passed"]) + ([f"{failed} failed"] if failed else [])
    return wrong + [f"skipped: {reason}" for reason in skipped if not reason.startswith(UNASKED)]


UNASKED = "not asked: "
"""Begins the reason of a skipped question."""


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
