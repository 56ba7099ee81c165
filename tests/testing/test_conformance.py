"""Every reference model does what a plugin's must; and models that do not are told apart."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench import registry
from bench.core.workload import Workload
from bench.testing.conformance import WorkloadConformance


class TestReferenceModels(WorkloadConformance):
    @pytest.fixture(autouse=True, params=registry.names())
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.spec = request.param


def good() -> Workload:
    return Workload(
        build_model=lambda: torch.nn.Linear(3, 2),
        make_batch=lambda n, device: ((torch.rand(n, 3, device=device),), torch.zeros(n, 2, device=device)),
        loss=torch.nn.functional.mse_loss,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def conformance_of(workload: Workload) -> WorkloadConformance:
    class Case(WorkloadConformance):
        def workload(self) -> Workload:
            return workload

    return Case()


TESTS = sorted(name for name in vars(WorkloadConformance) if name.startswith("test_"))


@pytest.mark.parametrize("test", TESTS)
def test_a_correct_workload_passes(test: str) -> None:
    getattr(conformance_of(good()), test)()


class WithoutSeed(torch.nn.Linear):
    """Draws from a generator of its own, which no seed reaches."""

    generator = torch.Generator().manual_seed(5)

    def __init__(self) -> None:
        super().__init__(3, 2)
        with torch.no_grad():
            self.weight.copy_(torch.rand(2, 3, generator=self.generator))


WRONG = {
    "a model in eval mode": (
        {"build_model": lambda: torch.nn.Linear(3, 2).eval()},
        "test_the_model_builds_on_the_cpu_in_train_mode",
    ),
    "a batch of fixed size": (
        {"make_batch": lambda _n, device: ((torch.rand(4, 3, device=device),), torch.zeros(4, 2, device=device))},
        "test_make_batch_respects_batch_size_and_device",
    ),
    "a batch that ignores the device": (
        {"make_batch": lambda n, _device: ((torch.rand(n, 3),), torch.zeros(n, 2))},
        "test_make_batch_respects_batch_size_and_device",
    ),
    "a loss per example": (
        {"loss": lambda outputs, targets: (outputs - targets).square().mean(1)},
        "test_the_loss_is_a_finite_scalar_with_a_graph",
    ),
    "a loss that is not finite": (
        {"loss": lambda outputs, targets: (outputs - targets).mean() / 0},
        "test_the_loss_is_a_finite_scalar_with_a_graph",
    ),
    "a learning rate of zero": (
        {"make_optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0)},
        "test_one_step_changes_the_weights_and_only_finitely",
    ),
    "weights that no seed reaches": (
        {"build_model": WithoutSeed},
        "test_two_runs_of_one_seed_are_bitwise_equal",
    ),
}


@pytest.mark.parametrize(("change", "test"), WRONG.values(), ids=WRONG)
def test_a_wrong_workload_fails(change: dict, test: str) -> None:
    case = conformance_of(dataclasses.replace(good(), **change))
    with pytest.raises(AssertionError):
        getattr(case, test)()


def test_a_batch_made_outside_the_fake_mode_fails() -> None:
    batch = good().make_batch(2, "cpu")
    case = conformance_of(dataclasses.replace(good(), make_batch=lambda _n, _device: batch))
    with pytest.raises(AssertionError, match="real tensors"):
        case.test_make_batch_works_under_a_fake_tensor_mode()
