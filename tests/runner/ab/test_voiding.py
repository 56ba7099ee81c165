from __future__ import annotations

import pytest

from bench.core.environment import MachineState
from bench.runner.ab.session import void_reason


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (MachineState(), None),
        (MachineState(other_busy_cores=0.4, steal_fraction=0.05, involuntary_switches=100), None),
        (MachineState(other_busy_cores=2.6), "busy cores"),
        (MachineState(other_busy_cores=2.4), None),
        (MachineState(steal_fraction=0.11), "steal"),
        (MachineState(involuntary_switches=1100), "preempted"),
        (MachineState(gpu_throttle_reasons=("thermal",)), "gpu clock"),
        (MachineState(gpu_throttle_reasons=("power",)), None),
        (MachineState(gpu_other_processes=1), "gpu shared"),
        (MachineState(gpu_other_processes=0), None),
    ],
)
def test_a_state_is_void_for_one_of_the_documented_reasons(state: MachineState, reason: str | None) -> None:
    assert void_reason(state, threads=2, machine_cores=4, seconds=2.0) == reason
