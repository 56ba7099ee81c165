"""How far the predicted peak is from the measured one: tensor bytes really alive, and the process's resident set.

For every reference model and resnet50, SGD and Adam, two batch sizes: one table, and the figures in `extra_info`. Each
cell is measured in a fresh process, because reading the resident set changes the C allocator for good.
"""

from __future__ import annotations

import itertools

import pytest

from bench import registry
from bench.core.cell import Cell
from bench.core.record import Outcome
from bench.core.units import format_bytes
from bench.counters.memory import measure_resident, predict, track_live_bytes
from bench.runner import processes

MODELS = (*registry.names(), "torchvision:resnet50")
BATCH_SIZES = {"torchvision:resnet50": (2, 4)}
QUICK = ("decoder_lm", "adam", 0)
CASES = list(itertools.product(MODELS, ("sgd", "adam"), (0, 1)))
GOAL = 0.05
RESIDENT_FLOOR_BYTES = 64 * 2**20
"""The resident set is judged above this only: pages and libraries blur smaller models."""

_rows: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _table(pytestconfig):
    yield
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(
            f"\n\n{'model':22}{'opt':>5}{'b':>4}{'predicted':>11}{'live':>11}{'error':>8}{'resident':>11}{'error':>8}"
        )
        print("\n".join(_rows))


def measure(cell: Cell) -> tuple[int, int | None]:
    """Measure the live tensor bytes and the resident bytes of a cell; runs in a fresh process."""
    workload = registry.resolve(cell.model)
    resident = measure_resident(workload, cell).step_resident_bytes
    return track_live_bytes(workload, cell).total_bytes, resident


@pytest.mark.parametrize(
    ("model", "optimizer", "batch_index"),
    [pytest.param(*case, marks=() if case == QUICK else pytest.mark.thorough) for case in CASES],
)
def bench_predicted_peak(model, optimizer, batch_index, benchmark):
    batch_size = BATCH_SIZES.get(model, (8, 32))[batch_index]
    cell = Cell(model=model, batch_size=batch_size, optimizer=optimizer)
    predicted = benchmark.pedantic(predict, (registry.resolve(model), cell), rounds=1, iterations=1).total_bytes
    ending = processes.call(f"{__name__}:measure", cell)
    assert ending.outcome is Outcome.OK, ending.reason
    live, resident = ending.value
    error = predicted / live - 1
    resident_error = predicted / resident - 1 if resident and resident > RESIDENT_FLOOR_BYTES else None
    benchmark.extra_info.update(
        predicted_bytes=predicted, live_bytes=live, resident_bytes=resident, predicted_over_live_minus_1=error
    )
    shown = "-" if resident_error is None else f"{resident_error:+.1%}"
    _rows.append(
        f"{model.removeprefix('torchvision:'):22}{optimizer:>5}{batch_size:>4}{format_bytes(predicted):>11}"
        f"{format_bytes(live):>11}{error:>+8.2%}{format_bytes(resident):>11}{shown:>8}"
    )
    assert abs(error) < GOAL
