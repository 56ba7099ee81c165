"""The quick suite inside pytest: the same cells and the same engine as `bench run quick`."""

import pytest


@pytest.mark.bench_sweep(suite="quick", budget_seconds=0.25)
def bench_quick(bench_cell):
    bench_cell()
