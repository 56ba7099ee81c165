import pytest
import torch
from torch import nn

from bench.core.errors import UsageError
from bench.core.workload import Workload
from bench.counters.fit import FitLimit, fit
from bench.counters.memory import predict, track_live_bytes
from tests.counters.small import WORKLOADS, cell, image_workload, linear_workload, sgd


@pytest.mark.parametrize("name", ["convolutional", "mse"])
@pytest.mark.parametrize("room_bytes", [0, 100_001, 3_000_000])
def test_the_answer_fits_and_one_more_does_not(name: str, room_bytes: int):
    memory = predict(WORKLOADS[name], cell(2)).total_bytes + room_bytes
    found = fit(WORKLOADS[name], cell(), memory)
    assert found.limited_by is FitLimit.MEMORY
    assert predict(WORKLOADS[name], cell(found.batch_size)).total_bytes <= memory
    assert predict(WORKLOADS[name], cell(found.batch_size + 1)).total_bytes > memory
    assert found.peak == predict(WORKLOADS[name], cell(found.batch_size))
    assert len(found.probes) <= 12


def test_slope_and_intercept_of_a_linear_layer_follow_from_its_shapes():
    features, outputs = 50, 20
    found = fit(linear_workload(features, outputs, optimizer=sgd), cell(), 10**7)
    assert found.slope_bytes_per_example == 4 * (features + outputs)
    assert found.intercept_bytes == 4 * 2 * features * outputs + 8  # weight, its gradient, loss and the loss's gradient


def test_workspaces_of_matrix_products_take_their_part_of_the_memory():
    memory, workspaces = 3_000_000, 500_000
    found, plain = (fit(WORKLOADS["mse"], cell(), memory + more, workspace_bytes=more) for more in (workspaces, 0))
    assert found.batch_size == plain.batch_size < fit(WORKLOADS["mse"], cell(), memory + workspaces).batch_size
    assert found.peak is not None and plain.peak is not None
    assert found.peak.total_bytes == plain.peak.total_bytes + workspaces <= memory + workspaces


def test_a_memory_smaller_than_the_model_fits_no_batch():
    found = fit(WORKLOADS["convolutional"], cell(), 100)
    assert (found.batch_size, found.limited_by, found.peak) == (0, FitLimit.MODEL, None)
    assert found.slope_bytes_per_example is None


def test_a_memory_that_does_not_depend_on_the_batch_ends_at_the_limit():
    constant = Workload(
        build_model=lambda: nn.Linear(3, 3),
        make_batch=lambda _, device: ((torch.randn(2, 3, device=device),), None),
        loss=lambda outputs, _: outputs.sum(),
        make_optimizer=sgd,
    )
    found = fit(constant, cell(), 10**6)
    assert (found.batch_size, found.limited_by) == (2**20, FitLimit.SEARCH)
    assert found.slope_bytes_per_example == 0


def test_a_limit_is_kept():
    found = fit(WORKLOADS["mse"], cell(), 10**12, max_batch_size=1000)
    assert (found.batch_size, found.limited_by) == (1000, FitLimit.SEARCH)


def test_a_model_that_cannot_train_on_one_example_starts_at_two():
    normalised = image_workload(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Linear(192, 5)))
    found = fit(normalised, cell(), 10**6)
    assert found.probes[0].batch_size == 2
    assert found.batch_size > 2


def test_verifying_runs_the_answer_for_real():
    found = fit(WORKLOADS["convolutional"], cell(), 300_000)
    assert found.peak is not None
    assert track_live_bytes(WORKLOADS["convolutional"], cell(found.batch_size)).total_bytes == found.peak.total_bytes


@pytest.mark.parametrize("memory", [0, -1])
def test_a_memory_below_one_byte_is_refused(memory: int):
    with pytest.raises(UsageError, match="must be positive"):
        fit(WORKLOADS["mse"], cell(), memory)
