"""The quick suite inside pytest: the same cells, sampling and engine as `bench run quick`.

Its larger batch always, its smaller one with `-m thorough`. A cell is timed for at most five seconds however slow the
processor is, where `bench run` takes up to twenty.
"""

import pytest


@pytest.mark.bench_sweep(suite="quick", batch_size=8, floor_seconds=5.0)
def bench_quick(bench_cell):
    bench_cell()


@pytest.mark.thorough
@pytest.mark.bench_sweep(suite="quick", batch_size=2, floor_seconds=5.0)
def bench_quick_small_batch(bench_cell):
    bench_cell()
