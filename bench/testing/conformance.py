"""What every model must be able to do, as a test case; reference models and plugins inherit the same one.

    from bench.testing.conformance import WorkloadConformance

    class TestMyNet(WorkloadConformance):
        spec = "my_package.my_net:workload"        # what one would type after `bench run`

pytest collects the class and runs its tests on the CPU. No test downloads or times anything.
"""

from __future__ import annotations

import functools
import unittest

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from bench import registry
from bench.core.cell import Cell, Mode
from bench.core.inputs import InputShape
from bench.core.workload import Workload
from bench.device.batch import make_batch, tensors_in
from bench.device.prepare import prepare
from bench.device.step import Marks


class WorkloadConformance:
    """Inherit and set `spec`, or override `workload`.

    Attributes:
        spec: Model spec; options make a small variant quick to test: `my_net@classes=4`.
        input_shape: Shape of one example, for a bare `nn.Module`.
        batch_size: Must differ from 1, so that a missing batch dimension shows.
    """

    spec: str = ""
    input_shape: InputShape | None = None
    batch_size: int = 2

    def workload(self) -> Workload:
        """Resolve the model once."""
        return _resolve(self.spec, self.input_shape)

    def test_the_model_builds_on_the_cpu_in_train_mode(self) -> None:
        """`build_model` gives a module with weights on the default device, in train mode."""
        model = self.workload().build_model()
        assert isinstance(model, torch.nn.Module), f"build_model returned a {type(model).__name__}, not an nn.Module"
        assert model.training, "build_model must leave the model in train mode"
        devices = {parameter.device.type for parameter in model.parameters()}
        assert devices == {"cpu"}, f"weights are on {devices or 'no device: there are none'}; expected the default, cpu"

    def test_make_batch_respects_batch_size_and_device(self) -> None:
        """Every tensor of a batch is on the device that was asked for, and the first input has the batch size."""
        for device in ("cpu", "meta"):
            for batch_size in (1, self.batch_size, self.batch_size + 3):
                batch = make_batch(self.workload(), batch_size, device)
                tensors = tensors_in(batch)
                assert tensors, "a batch holds no tensor"
                assert {tensor.device.type for tensor in tensors} == {device}, f"a batch for {device} is elsewhere"
                found = tensors[0].shape[0]
                assert found == batch_size, f"asked for {batch_size} examples, the first input has {found}"

    def test_make_batch_works_under_a_fake_tensor_mode(self) -> None:
        """A batch can be made of fake tensors, so that counters may count without computing."""
        with FakeTensorMode():
            tensors = tensors_in(make_batch(self.workload(), self.batch_size, "cpu"))
        assert tensors
        assert all(isinstance(tensor, FakeTensor) for tensor in tensors), "a batch holds real tensors in a fake mode"

    def test_the_loss_is_a_finite_scalar_with_a_graph(self) -> None:
        """One forward pass in train mode gives a loss that backward can start from."""
        if self.workload().train_step is not None:
            raise unittest.SkipTest("the training step is the workload's own, and its loss too")
        with prepare(self.workload(), self._cell()) as step:
            loss = step.compute_loss(step.forward())
        assert loss.shape == (), f"the loss has shape {tuple(loss.shape)}; it must be a scalar"
        assert torch.isfinite(loss), f"the first loss is {loss.item()}"
        assert loss.requires_grad, "the loss does not depend on any weight"

    def test_one_step_changes_the_weights_and_only_finitely(self) -> None:
        """Training moves at least one weight, and leaves none that is not finite."""
        with prepare(self.workload(), self._cell()) as step:
            before = [parameter.detach().clone() for parameter in step.model.parameters()]
            step()
            after = list(step.model.parameters())
        assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)), "no weight has changed"
        assert all(bool(torch.isfinite(parameter).all()) for parameter in after), (
            "a weight is not finite after one step"
        )

    def test_the_phases_of_a_step_follow_one_another(self) -> None:
        """A step marks at least one phase, none inside another; one of the workload's own, too."""
        seen: list[str] = []
        with prepare(self.workload(), self._cell()) as step:
            step.split(Marks(end=seen.append))
        assert seen, "the train_step marks no phase; write `with step.phase('forward'):` around its parts"

    def test_two_runs_of_one_seed_are_bitwise_equal(self) -> None:
        """Weights, data and dropout follow the seed; another seed gives another model."""
        first, second, other = (self._trained(seed) for seed in (0, 0, 1))
        assert first[0] == second[0], f"two runs of one seed gave the losses {first[0]} and {second[0]}"
        assert all(map(torch.equal, first[1], second[1])), "two runs of one seed ended in different weights"
        assert not all(map(torch.equal, first[1], other[1])), "two seeds ended in the same weights"

    def test_inference_needs_no_gradient_and_keeps_the_weights(self) -> None:
        """The model runs in infer mode, and running it changes nothing."""
        with prepare(self.workload(), self._cell(mode=Mode.INFER)) as step:
            before = [parameter.detach().clone() for parameter in step.model.parameters()]
            outputs = tensors_in(step.forward())
            assert outputs, "the model returned no tensor"
            assert not any(tensor.requires_grad for tensor in outputs)
            assert all(map(torch.equal, before, step.model.parameters())), "inference changed a weight"

    def _cell(self, seed: int = 0, mode: Mode = Mode.TRAIN) -> Cell:
        return Cell(model=self.spec or "workload", batch_size=self.batch_size, seed=seed, mode=mode)

    def _trained(self, seed: int) -> tuple[float | None, list[torch.Tensor]]:
        with prepare(self.workload(), self._cell(seed)) as step:
            loss = step()
            return None if loss is None else float(loss.detach()), [
                parameter.detach() for parameter in step.model.parameters()
            ]


@functools.cache
def _resolve(spec: str, input_shape: InputShape | None) -> Workload:
    return registry.resolve(spec, input_shape=input_shape)
