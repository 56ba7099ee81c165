"""What the seed page names, inside pytest: one benchmark per suite, the same cells and engine as `bench run SUITE`.

pytest --benchmark-only -m thorough benchmarks/bench_axes.py -k activation
"""

import pytest

pytestmark = pytest.mark.thorough
"""146 cells take many minutes; `bench_quick.py` has the cells of `bench run`."""


@pytest.mark.bench_sweep(suite="activation", budget_seconds=0.25)
def bench_activation(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="loss", budget_seconds=0.25)
def bench_loss(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="optimizer", budget_seconds=0.25)
def bench_optimizer(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="dropout", budget_seconds=0.25)
def bench_dropout(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="modes", budget_seconds=0.25)
def bench_modes(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="pooling", budget_seconds=0.25)
def bench_pooling(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="convolution", budget_seconds=0.25)
def bench_convolution(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="gates", budget_seconds=0.25, processes=1)
def bench_gates(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="recurrent", budget_seconds=0.25)
def bench_recurrent(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="translation", budget_seconds=0.25)
def bench_translation(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="language", budget_seconds=0.25)
def bench_language(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="denoising", budget_seconds=0.25)
def bench_denoising(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="scaling_batch", budget_seconds=0.25)
def bench_scaling_batch(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="scaling_depth", budget_seconds=0.25)
def bench_scaling_depth(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="scaling_width", budget_seconds=0.25)
def bench_scaling_width(bench_cell):
    bench_cell()


@pytest.mark.bench_sweep(suite="scaling_length", budget_seconds=0.25)
def bench_scaling_length(bench_cell):
    bench_cell()
