import dataclasses
import itertools
import threading

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Precision
from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.counters import count
from bench.counters.memory import predict, predict_steps, track_live_bytes
from tests.counters.small import (
    WORKLOADS,
    Checkpointed,
    Recurrent,
    cell,
    image_workload,
    linear_workload,
    sgd,
    token_workload,
)

WHOLE = [precision for precision in Precision if precision.row.casts_to]


def test_peak_of_a_linear_layer_is_the_sum_worked_out_by_hand():
    batch, features, outputs = 32, 100, 7
    peak = predict(linear_workload(features, outputs, optimizer=sgd), cell(batch))
    weight = 4 * features * outputs
    assert peak.weights_bytes == weight
    assert peak.inputs_bytes == 4 * batch * features
    assert peak.gradients_bytes == weight
    assert peak.optimizer_state_bytes == 0
    assert peak.saved_activations_bytes == 0  # only weight and input are saved, and they count as what they are
    # Highest while the weight's gradient is made: outputs, loss, and the loss's gradient (a scalar, expanded).
    assert peak.temporary_bytes == 4 * batch * outputs + 4 + 4


def test_adam_adds_two_tensors_per_parameter_and_a_step_count():
    features, outputs = 64, 32
    workload = linear_workload(features, outputs, optimizer=torch.optim.Adam)
    first, steady = predict_steps(workload, cell(1))
    assert steady.optimizer_state_bytes == 2 * 4 * features * outputs + 4
    assert steady.total_bytes >= first.total_bytes


def test_lazy_modules_are_predicted_as_the_modules_that_they_become():
    named = linear_workload(64, 32, optimizer=sgd)
    lazy = dataclasses.replace(named, build_model=lambda: nn.LazyLinear(32, bias=False))
    assert predict(lazy, cell(4)) == predict(named, cell(4))
    counters, advice = count(lazy, cell(4), opinions=False)
    assert counters.dispatches == count(named, cell(4), opinions=False)[0].dispatches
    assert advice == ()


def test_sgd_with_momentum_creates_its_state_in_the_first_step():
    workload = WORKLOADS["convolutional"]
    first, steady = predict_steps(workload, cell(64, optimizer="sgd"))
    assert first.optimizer_state_bytes == 0  # its peak is in backward, before the optimizer ran
    assert steady.optimizer_state_bytes == steady.gradients_bytes + _not_yet_filled(workload)
    assert steady.total_bytes == first.total_bytes + steady.optimizer_state_bytes


def test_memory_follows_the_bytes_of_the_type():
    fp32, fp16, fp64 = (
        predict(WORKLOADS["convolutional"], cell(3, precision=precision))
        for precision in (Precision.FP32, Precision.FP16, Precision.FP64)
    )
    whole = 8  # one counter of batches, int64 in every precision
    weights = [one.weights_bytes - whole for one in (fp16, fp32, fp64)]
    assert weights == [weights[0], 2 * weights[0], 4 * weights[0]]
    assert fp16.gradients_bytes * 2 == fp32.gradients_bytes == fp64.gradients_bytes // 2
    assert fp16.saved_activations_bytes < fp32.saved_activations_bytes < fp64.saved_activations_bytes


def _not_yet_filled(workload: Workload) -> int:
    """Bytes of parameters whose gradients do not exist at the peak: all but the last layer's weight and bias."""
    parameters = list(workload.build_model().parameters())
    return sum(4 * p.numel() for p in parameters) - predict(workload, cell(64)).gradients_bytes


@pytest.mark.parametrize(
    ("name", "one"),
    [(name, cell(optimizer="adam")) for name in WORKLOADS if name != "lstm"]
    + [(name, cell(mode=Mode.INFER)) for name in WORKLOADS]
    + [(name, cell(3, precision=Precision.BF16_AMP)) for name in WORKLOADS if name != "lstm"]
    + [("convolutional", cell(3, precision=precision)) for precision in WHOLE]
    + [("attention", dataclasses.replace(cell(3), clip_norm=1.0))]
    + [("convolutional", cell(optimizer=optimizer)) for optimizer in ("sgd", "adam-foreach", "adamw-fused", "rmsprop")],
    ids=lambda value: value if isinstance(value, str) else value.id,
)
def test_prediction_equals_the_live_tensor_bytes_by_cause(name: str, one: Cell):
    assert predict(WORKLOADS[name], one) == track_live_bytes(WORKLOADS[name], one)


def test_an_lstm_differs_from_live_bytes_by_its_workspace_alone():
    one = cell(optimizer="adam")
    predicted, live = predict(WORKLOADS["lstm"], one), track_live_bytes(WORKLOADS["lstm"], one)
    others = {"total_bytes": 0, "saved_activations_bytes": 0}
    assert dataclasses.replace(predicted, **others) == dataclasses.replace(live, **others)
    assert abs(live.total_bytes - predicted.total_bytes) < 2 * 8 * 4096  # two layers of about seven sections


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_prediction_equals_the_live_tensor_bytes_in_channels_last(precision: Precision):
    one = cell(precision=precision, memory_format=MemoryFormat.CHANNELS_LAST)
    assert predict(WORKLOADS["convolutional"], one) == track_live_bytes(WORKLOADS["convolutional"], one)


def test_fp16_autocast_lacks_only_the_scalars_of_the_gradient_scaler():
    one = cell(precision=Precision.FP16_AMP)
    live = track_live_bytes(WORKLOADS["convolutional"], one).total_bytes
    assert 0 <= live - predict(WORKLOADS["convolutional"], one).total_bytes <= 16


def test_workspace_of_a_large_lstm_is_right_within_six_percent():
    workload = token_workload(lambda: Recurrent("LSTM"), length=120)
    one = cell(130)
    live = track_live_bytes(workload, one).total_bytes
    assert predict(workload, one).total_bytes == pytest.approx(live, rel=0.06)


def test_causes_sum_to_the_total():
    for name, mode in itertools.product(("convolutional", "checkpointed", "tied"), Mode):
        peak = predict(WORKLOADS[name], cell(mode=mode))
        causes = (
            peak.weights_bytes
            + peak.gradients_bytes
            + peak.optimizer_state_bytes
            + peak.inputs_bytes
            + peak.saved_activations_bytes
            + peak.temporary_bytes
        )
        assert causes == peak.total_bytes > 0


def test_tied_weights_count_once():
    peak = predict(WORKLOADS["tied"], cell(mode=Mode.INFER))
    assert peak.weights_bytes == 4 * 11 * 8


@pytest.mark.parametrize("name", ["convolutional", "lstm", "attention"])
def test_inference_needs_less_than_training(name: str):
    infer = predict(WORKLOADS[name], cell(mode=Mode.INFER))
    assert infer.total_bytes < predict(WORKLOADS[name], cell()).total_bytes
    assert (infer.gradients_bytes, infer.optimizer_state_bytes, infer.saved_activations_bytes) == (0, 0, 0)


def test_foreach_moves_the_peak_where_the_optimizer_decides_it():
    workload = image_workload(lambda: nn.Sequential(nn.Flatten(), *[nn.Linear(192, 192) for _ in range(4)]))
    for_loop = predict(workload, cell(1, optimizer="adam"))
    foreach = predict(workload, cell(1, optimizer="adam-foreach"))
    assert foreach.temporary_bytes > for_loop.temporary_bytes
    assert foreach.optimizer_state_bytes == for_loop.optimizer_state_bytes


def test_cuda_cells_take_torchs_foreach_optimizer_and_blocks(monkeypatch):
    workload = image_workload(lambda: nn.Sequential(nn.Flatten(), *[nn.Linear(192, 192) for _ in range(4)]))
    rounded = predict(workload, cell(1, optimizer="adam", device="cuda:0"))
    monkeypatch.setattr("bench.counters.memory.block_bytes", lambda _: 1)
    exact = predict(workload, cell(1, optimizer="adam", device="cuda:0"))
    assert exact == predict(workload, cell(1, optimizer="adam-foreach"))
    assert rounded.total_bytes % 512 == 0
    assert rounded.total_bytes > exact.total_bytes


def test_checkpointing_lowers_the_predicted_peak():
    plain = predict(image_workload(lambda: Checkpointed(False)), cell(256))
    checkpointed = predict(image_workload(lambda: Checkpointed(True)), cell(256))
    assert checkpointed.saved_activations_bytes < plain.saved_activations_bytes
    assert checkpointed.total_bytes < plain.total_bytes


def test_a_compiled_cell_is_predicted_as_an_eager_one():
    compiled = Cell(model="small", batch_size=4, compile=CompileMode.DEFAULT)
    assert predict(WORKLOADS["tied"], compiled) == predict(WORKLOADS["tied"], cell())


def test_prediction_is_the_same_every_time_and_under_load():
    expected = predict(WORKLOADS["lstm"], cell(optimizer="adam"))
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [torch.randn(32, 32).sum() for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        assert all(predict(WORKLOADS["lstm"], cell(optimizer="adam")) == expected for _ in range(3))
    finally:
        stop.set()
        busy.join()


def test_a_model_of_terabytes_is_predicted_without_allocating():
    peak = predict(linear_workload(10**6, 10**6, optimizer=torch.optim.Adam), cell(1))
    assert peak.weights_bytes == 4 * 10**12
    assert peak.total_bytes >= 16 * 10**12


def test_the_random_state_is_left_as_it_was():
    before = torch.get_rng_state()
    predict(WORKLOADS["convolutional"], cell())
    assert torch.equal(before, torch.get_rng_state())


def test_constants_that_a_model_holds_count_as_weights():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.linspace(0, 1, 192)  # neither parameter nor buffer
            self.head = nn.Linear(192, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.flatten(1) + self.shift)

    peak = predict(image_workload(Shifted), cell())
    assert peak.weights_bytes == 4 * (192 + 192 * 5 + 5)
    assert peak == track_live_bytes(image_workload(Shifted), cell())


def test_a_step_that_reads_a_value_is_refused_in_one_line():
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(192, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            values = self.head(images.flatten(1))
            return values if values.sum().item() > 0 else -values

    with pytest.raises(ModelError, match=r"cannot predict 'small': its step reads the value"):
        predict(image_workload(Reads), cell())
