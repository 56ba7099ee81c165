"""When a session is void: by the state of the machine while it ran, never by what it measured.

Dropping sessions by their outcome would make false alarms and hide true ones; dropping them by a state that hits both
sides alike does neither, it only saves the test's power. So the rules are few and coarse, for a machine on which no
step could be measured, not for ordinary noise:

    busy cores     the threads found fewer than (threads - 0.5) cores free: OpenMP then spins, and steps take 1.3 to 8
                   times as long
    steal          the hypervisor took more than 10 % of the time
    preempted      more than 500 involuntary switches per second: another task ran in every second time slice
    gpu clock      the GPU lowered its clock by temperature or by a fault (a power cap is ordinary, and hits both sides)
    gpu shared     somebody else computes on the GPU
"""

from __future__ import annotations

from bench.core.environment import MachineState

FREE_CORES_SHORT = 0.5
STEAL_LIMIT = 0.10
SWITCHES_PER_SECOND = 500.0
GPU_CLOCK_REASONS = frozenset({"thermal", "hardware"})

MOST_VOID = 0.5
"""A comparison of whose sessions more than this share is void says more about the machine than about the code."""


def void_reason(state: MachineState, *, threads: int, machine_cores: int, seconds: float) -> str | None:
    """Return why a session's cell does not count; None if it does.

    Args:
        state: Of the machine, with both workers counted as our own; `gpu_other_processes` without the second worker.
        threads: That a step uses.
        machine_cores: Of the whole machine, because others' load is of the whole machine.
        seconds: That the state was taken over.
    """
    busy = state.other_busy_cores
    if busy is not None and machine_cores - busy < threads - FREE_CORES_SHORT:
        return "busy cores"
    if state.steal_fraction is not None and state.steal_fraction > STEAL_LIMIT:
        return "steal"
    switches = state.involuntary_switches
    if switches is not None and seconds > 0 and switches / seconds > SWITCHES_PER_SECOND:
        return "preempted"
    if GPU_CLOCK_REASONS & set(state.gpu_throttle_reasons):
        return "gpu clock"
    if state.gpu_other_processes:
        return "gpu shared"
    return None
