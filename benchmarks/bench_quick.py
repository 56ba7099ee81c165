"""The default suite inside pytest: the same cells, sampling and engine as `bench run`, grouped by model.

A cell is timed for at most five seconds however slow the processor is, where `bench run` takes up to twenty.
"""

import pytest


@pytest.mark.bench_sweep(suite="quick", floor_seconds=5.0)
def bench_quick(bench_cell):
    bench_cell()
