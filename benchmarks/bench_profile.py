"""Profiles of every reference model, resnet18 and vit_b_16: what rows account for, and what the profiler costs.

    pytest --benchmark-only benchmarks/bench_profile.py                # one model
    pytest --benchmark-only -m '' benchmarks/bench_profile.py          # all

Rows sum to the plain step, and to its phases as timed in turn with it. The last three columns are a second look: the
shares of the phases in the rows, less those of phases timed afterwards in the same process. FLOPs must agree exactly.
"""

from __future__ import annotations

import statistics

import pytest

from bench import registry
from bench.core.cell import Cell
from bench.core.profile import UNATTRIBUTED, ProfileOptions
from bench.core.record import Outcome, Phase
from bench.counters.flops import count_workload
from bench.device.prepare import prepare
from bench.measure.blocks import time_phases
from bench.measure.clock import clock_for
from bench.measure.profile.profile import profile_cell
from bench.runner import processes

BATCH_SIZES = {"torchvision:resnet18": 4, "torchvision:vit_b_16": 1}
MODELS = (*registry.names(), *BATCH_SIZES)
QUICK = ("lstm",)  # a step of mlp takes less than a millisecond, of which 40 us in no row are 5 %
GOAL = 0.05

_rows: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _table(pytestconfig):
    yield
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(
            f"\n\n{'model':24}{'step':>10}{'profiler':>10}{'lost':>8}{'forward':>10}{'backward':>10}{'optimizer':>11}"
        )
        print("\n".join(_rows))


def measure(cell: Cell) -> dict[str, float]:
    """Profile a cell, and time its phases without a profiler; runs in a fresh process."""
    workload = registry.resolve(cell.model)
    profile = profile_cell(workload, cell, ProfileOptions())
    with prepare(workload, cell) as step:
        for _ in range(3):
            step()
        timed, _ = time_phases(step, clock_for(cell.device), max(5, profile.profiled_steps))
    counted, _ = count_workload(workload, mode=cell.mode, batch_size=cell.batch_size, opinions=False)
    assert counted.flops is not None
    assert sum(layer.flops or 0 for layer in profile.layers) == counted.flops.total
    total = sum(layer.seconds for layer in profile.layers)
    phases = {phase: sum(layer.seconds_in(phase) for layer in profile.layers) / total for phase in timed}
    plain = {phase: statistics.median(seconds) for phase, seconds in timed.items()}
    plain_total = sum(plain.values())
    lost = sum(layer.seconds for layer in profile.layers if layer.name == UNATTRIBUTED)
    return {
        "step_seconds": profile.step_seconds,
        "overhead": profile.overhead_fraction,
        "rows_over_step_minus_1": total / profile.step_seconds - 1,
        "unattributed": lost / total,
        # shares, because the two were timed one after the other on a machine that drifts
        **{phase.value: phases[phase] - plain[phase] / plain_total for phase in timed},
    }


@pytest.mark.parametrize("model", [pytest.param(m, marks=() if m in QUICK else pytest.mark.thorough) for m in MODELS])
def bench_profile(model, benchmark):
    cell = Cell(model=model, batch_size=BATCH_SIZES.get(model, 8))
    ending = benchmark.pedantic(processes.call, (f"{__name__}:measure", cell), rounds=1, iterations=1)
    assert ending.outcome is Outcome.OK, ending.reason
    found = ending.value
    benchmark.extra_info.update(found)
    shares = "".join(
        f"{found[phase.value]:>+{width}.1%}"
        for phase, width in ((Phase.FORWARD, 10), (Phase.BACKWARD, 10), (Phase.OPTIMIZER, 11))
    )
    _rows.append(
        f"{model.removeprefix('torchvision:'):24}{found['step_seconds'] * 1e3:>8.1f}ms"
        f"{found['overhead']:>+10.1%}{found['unattributed']:>8.1%}{shares}"
    )
    assert abs(found["rows_over_step_minus_1"]) < 1e-6
    assert found["unattributed"] < GOAL
