"""One step: its phases are the whole step, in every mode and precision, and nothing is left switched on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Precision
from bench.core.errors import UsageError
from bench.core.precision import Arithmetic
from bench.core.workload import Workload
from bench.device.prepare import _build, prepare
from bench.device.step import Step
from bench.registry import OPTIMIZERS

CPU_PRECISIONS = [precision for precision in Precision if precision is not Precision.TF32]


def weights(step: Step) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in step.model.parameters()]


def run_whole(step: Step) -> float:
    loss = step()
    assert loss is not None
    return float(loss.detach())


def run_phases(step: Step) -> float:
    loss = step.compute_loss(step.forward())
    step.backward(loss)
    step.optimize()
    return float(loss.detach())


def run_by_hand(workload: Workload, cell: Cell, steps: int) -> tuple[list[float], list[torch.Tensor]]:
    """Train as one would write it without the house, in fp32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        model = workload.build_model()
        (inputs, targets) = workload.make_batch(cell.batch_size, "cpu")
        optimizer = workload.make_optimizer(model.parameters())
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = workload.loss(model(*inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses, [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("run", [run_whole, run_phases])
def test_steps_are_bitwise_those_of_a_hand_written_loop(workload: Workload, cell: Cell, run: Any) -> None:
    losses, expected = run_by_hand(workload, cell, 3)
    with prepare(workload, cell) as step:
        assert [run(step) for _ in range(3)] == losses
        assert all(map(torch.equal, weights(step), expected))


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_phases_and_whole_step_are_the_same_in_every_precision(
    workload: Workload, cell: Cell, precision: Precision
) -> None:
    results = []
    for run in (run_whole, run_phases):
        with prepare(workload, replace(cell, precision=precision)) as step:
            results.append(([run(step) for _ in range(2)], weights(step)))
    assert results[0][0] == results[1][0]
    assert all(map(torch.equal, results[0][1], results[1][1]))


DTYPES = {  # weights, outputs
    Precision.FP32: (torch.float32, torch.float32),
    Precision.BF16_AMP: (torch.float32, torch.bfloat16),
    Precision.FP16_AMP: (torch.float32, torch.float16),
    Precision.BF16: (torch.bfloat16, torch.bfloat16),
    Precision.FP16: (torch.float16, torch.float16),
    Precision.FP64: (torch.float64, torch.float64),
}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_each_precision_computes_in_its_type(workload: Workload, cell: Cell, precision: Precision, mode: Mode) -> None:
    with prepare(workload, replace(cell, precision=precision, mode=mode)) as step:
        outputs = step.forward()
        assert (next(step.model.parameters()).dtype, outputs.dtype) == DTYPES[precision]
        assert not torch.is_autocast_enabled("cpu")
        step()


def test_the_reduced_precisions_come_near_to_fp32(workload: Workload, cell: Cell) -> None:
    losses = {}
    for precision in CPU_PRECISIONS:
        with prepare(workload, replace(cell, precision=precision)) as step:
            losses[precision] = run_whole(step)
    for precision, loss in losses.items():
        assert loss == pytest.approx(losses[Precision.FP32], rel=0.03), precision


def test_fp16_amp_scales_the_loss_and_unscales_before_the_update(workload: Workload, cell: Cell) -> None:
    with prepare(workload, replace(cell, precision=Precision.FP16_AMP)) as step:
        loss = step.compute_loss(step.forward())
        step.backward(loss)
        scaled = step.model.fc.bias.grad.clone()
    with prepare(workload, replace(cell, precision=Precision.FP16_AMP)) as step:
        loss = step.compute_loss(step.forward())
        loss.backward()
        plain = step.model.fc.bias.grad.clone()
        before = step.model.fc.bias.detach().clone()
    assert torch.allclose(scaled / 2**16, plain, rtol=0.01, atol=1e-4)  # 2**16 is GradScaler's first scale
    with prepare(workload, replace(cell, precision=Precision.FP16_AMP)) as step:
        step()
        assert torch.allclose(before - 0.1 * plain, step.model.fc.bias, rtol=0.01, atol=1e-4)


def test_no_gradient_is_left_after_a_step(workload: Workload, cell: Cell) -> None:
    with prepare(workload, cell) as step:
        step.backward(step.compute_loss(step.forward()))
        assert all(parameter.grad is not None for parameter in step.model.parameters())
        step.optimize()
        assert all(parameter.grad is None for parameter in step.model.parameters())


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_inference_makes_no_graph_and_has_no_optimizer(workload: Workload, cell: Cell, precision: Precision) -> None:
    with prepare(workload, replace(cell, mode=Mode.INFER, precision=precision)) as step:
        before = weights(step)
        outputs = step.forward()
        assert outputs.grad_fn is None
        assert outputs.is_inference()
        assert not step.model.training
        assert not step.is_training
        assert step.optimizer is None
        assert step() is None
        assert all(map(torch.equal, before, weights(step)))
        assert torch.equal(outputs, step.forward())  # dropout is off
    assert torch.is_grad_enabled()


def test_training_runs_in_train_mode(workload: Workload, cell: Cell) -> None:
    with prepare(workload, cell) as step:
        assert step.model.training
        assert not torch.equal(step.forward(), step.forward())  # dropout is on


def test_channels_last_reaches_weights_and_inputs(workload: Workload, cell: Cell) -> None:
    with prepare(workload, replace(cell, memory_format=MemoryFormat.CHANNELS_LAST)) as step:
        (images,), _ = step.batch
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert not images.is_contiguous()
        assert step.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
        loss = run_whole(step)
    with prepare(workload, cell) as step:
        assert step.batch[0][0].is_contiguous()
        assert run_whole(step) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_by_name_trains(workload: Workload, cell: Cell, name: str) -> None:
    with prepare(workload, replace(cell, optimizer=name)) as step:
        before = weights(step)
        step()
        assert type(step.optimizer).__name__.lower() == name.partition("-")[0]
        assert any(not torch.equal(old, new) for old, new in zip(before, weights(step), strict=True))
        defaults = step.optimizer.defaults
        assert defaults.get("fused") is (True if name.endswith("-fused") else None) or "fused" not in defaults
        assert defaults["foreach"] is (True if name.endswith("-foreach") else None)


def test_an_unknown_optimizer_is_the_users_to_mend(workload: Workload, cell: Cell) -> None:
    with pytest.raises(UsageError, match="adamw"), prepare(workload, replace(cell, optimizer="adamx")):
        pass


def test_frozen_weights_are_not_given_to_the_optimizer(workload: Workload, cell: Cell) -> None:
    def build_model() -> nn.Module:
        model = workload.build_model()
        model.conv.requires_grad_(False)
        return model

    with prepare(replace(workload, build_model=build_model), cell) as step:
        step()
        (group,) = step.optimizer.param_groups
        assert [id(parameter) for parameter in group["params"]] == list(map(id, step.model.fc.parameters()))


def test_nested_inputs_are_cast_and_integers_are_not(workload: Workload, cell: Cell) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, pair: tuple[torch.Tensor, torch.Tensor], index: torch.Tensor) -> torch.Tensor:
            return (self.weight * (pair[0] + pair[1]))[index]

    nested = replace(
        workload,
        build_model=Sum,
        make_batch=lambda n, _device: (((torch.rand(n), torch.rand(n)), torch.arange(n)), torch.rand(n)),
        loss=nn.functional.mse_loss,
    )
    with prepare(nested, replace(cell, precision=Precision.BF16)) as step:
        (pair, index), targets = step.batch
        assert {pair[0].dtype, pair[1].dtype, targets.dtype} == {torch.bfloat16}
        assert index.dtype == torch.int64
        step()


def test_the_seed_gives_the_model_and_the_batch(workload: Workload, cell: Cell, random_state: None) -> None:
    found = []
    for seed in (0, 0, 1):
        with prepare(workload, replace(cell, seed=seed)) as step:
            found.append((step.model.fc.weight.detach().clone(), step.batch[0][0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][1], found[2][1])


@pytest.mark.parametrize("mode", CompileMode)
def test_the_model_is_compiled_in_the_mode_that_the_cell_asks(
    workload: Workload, cell: Cell, mode: CompileMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real compilation takes 40 s on two cores (docs/LOG.md), so only the call is tested.
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda _model, **options: asked.append(options))
    expected = {CompileMode.NONE: [], CompileMode.DEFAULT: [{"mode": None}]}.get(mode, [{"mode": mode.value}])
    with prepare(workload, replace(cell, compile=mode)) as step:
        step()
    assert asked == expected
    with prepare(workload, replace(cell, compile=mode), device="meta"):
        assert asked == expected  # what is counted is not compiled


def test_a_step_on_meta_tensors_computes_nothing(workload: Workload, cell: Cell) -> None:
    for precision in CPU_PRECISIONS:
        with prepare(workload, replace(cell, precision=precision), device="meta") as step:
            loss = step()
            assert loss is not None
            assert loss.is_meta


def test_a_build_that_raises_restores_the_settings(workload: Workload, cell: Cell, random_state: None) -> None:
    def build_model() -> nn.Module:
        raise RuntimeError("no weights")

    threads = torch.get_num_threads()
    broken = replace(workload, build_model=build_model)
    with pytest.raises(RuntimeError, match="no weights"), prepare(broken, replace(cell, threads=threads + 1)):
        pass
    assert torch.get_num_threads() == threads
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", Precision)
def test_phases_and_whole_step_are_the_same_on_a_gpu(workload: Workload, cell: Cell, precision: Precision) -> None:
    losses = []
    for run in (run_whole, run_phases):
        with prepare(workload, replace(cell, device="cuda:0", precision=precision)) as step:
            losses.append([run(step) for _ in range(2)])
    # A half has 8 or 11 bits, and kernels of cuDNN may add up in another order each time.
    is_half = precision.row.arithmetic in (Arithmetic.FP16, Arithmetic.BF16)
    assert losses[0] == pytest.approx(losses[1], rel=2e-2 if is_half else 1e-3)


class ReadsAtConstruction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rates = torch.linspace(0, 0.1, 3).numpy().tolist()
        self.layer = nn.Linear(4, 2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_constructor_that_needs_values_on_the_host_is_built_there(
    workload: Workload, cell: Cell, device: str
) -> None:
    """Under `torch.device` of an accelerator NumPy cannot read what the constructor made (C10)."""
    model = _build(replace(workload, build_model=ReadsAtConstruction), torch.device(device), cell)
    assert {parameter.device.type for parameter in model.parameters()} == {device}


def test_other_errors_of_a_constructor_are_its_own(workload: Workload, cell: Cell) -> None:
    with pytest.raises(TypeError, match="missing 2 required"):
        _build(replace(workload, build_model=lambda: nn.Linear()), torch.device("meta"), cell)
