from __future__ import annotations

import pytest

from bench.core.cell import Cell
from bench.core.environment import MachineState
from bench.runner.ab.arm import ArmFullError, Built, Reading
from bench.runner.ab.session import SessionPlan, run_session, void_reason
from tests.runner.ab_fakes import FakeArm, FakeMachine


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


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_two_sides_that_do_not_fit_together_on_a_gpu_are_no_failure_of_one(device: str) -> None:
    cell = Cell(model="net", batch_size=8, device=device)

    class Full(FakeArm):
        def finish_build(self) -> Built:
            if self.side == "head":
                raise ArmFullError("head", "OutOfMemoryError: CUDA out of memory")
            return super().finish_build()

    plan = SessionPlan(seed=1, quads=2, threads={}, gpu_uuids={}, slow={})
    (found,) = run_session(plan, 0, [cell], lambda side: Full(FakeMachine(), side, 1.0)).cells
    on_gpu = device != "cpu"
    assert (found.void is not None and "both sides together" in found.void) is on_gpu
    assert found.failed == (None if on_gpu else "head")


@pytest.mark.parametrize(("listed", "void"), [(None, None), (0, None), (1, None), (2, "gpu shared")])
def test_the_other_side_on_the_same_gpu_is_no_stranger(listed: int | None, void: str | None) -> None:
    """In a container nobody can tell (B4), and the GPU is asked for by its name."""
    cell = Cell(model="net", batch_size=8, device="cuda:0")
    asked: list[str | None] = []

    class Asked(FakeArm):
        def read(self, gpu_uuid: str | None = None) -> Reading:
            asked.append(gpu_uuid)
            return super().read(gpu_uuid)

        def state(self, before: Reading, after: Reading, gpu_uuid: str | None) -> MachineState:
            asked.append(gpu_uuid)
            return super().state(before, after, gpu_uuid)

    machine = FakeMachine(state=lambda _: MachineState(gpu_other_processes=listed))
    plan = SessionPlan(seed=1, quads=2, threads={}, gpu_uuids={cell.key: "some"}, slow={})
    (found,) = run_session(plan, 0, [cell], lambda side: Asked(machine, side, 1.0)).cells
    assert found.void == void
    assert set(asked) == {"some"}
