import torch
from torch import nn

from bench.core.cell import Mode, Precision
from bench.counters.static import count_saved
from bench.device.prepare import prepare
from tests.counters.small import WORKLOADS, Checkpointed, cell, count_saved_bytes, image_workload, linear_workload, sgd


def test_a_linear_layer_saves_only_what_lives_anyway():
    assert count_saved_bytes(linear_workload(10, 3, optimizer=sgd), cell(4)) == 0  # its input


def test_two_layers_save_the_activation_between_them_once():
    workload = image_workload(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 5)))
    hidden = 4 * 4 * 16  # the result of ReLU: saved by ReLU and again by the second layer
    log_probabilities, loss_weight_sum = 4 * 4 * 5, 4
    # The second layer's weight, to hand the gradient on, and images and targets live anyway.
    assert count_saved_bytes(workload, cell(4)) == hidden + log_probabilities + loss_weight_sum


def test_inference_saves_nothing():
    assert count_saved_bytes(WORKLOADS["convolutional"], cell(mode=Mode.INFER)) == 0


def test_checkpointing_saves_less():
    plain = count_saved_bytes(image_workload(lambda: Checkpointed(False)), cell())
    checkpointed = count_saved_bytes(image_workload(lambda: Checkpointed(True)), cell())
    # Two activations per hidden block are recomputed, except the last one, which the head saves itself.
    assert plain - checkpointed == 5 * 4 * 4 * 64


def test_activations_grow_in_proportion_to_the_batch():
    workload = image_workload(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 5)))
    one, two = (count_saved_bytes(workload, cell(batch)) for batch in (8, 16))
    assert two - 4 == 2 * (one - 4)  # 4 bytes are the loss's sum of weights


def test_fake_equals_real_in_every_precision():
    for name in ("convolutional", "attention"):
        for precision in (Precision.FP32, Precision.BF16_AMP):
            one = cell(precision=precision)
            with prepare(WORKLOADS[name], one) as step:
                assert count_saved(step) == count_saved_bytes(WORKLOADS[name], one)


def test_counting_leaves_no_gradients_behind():
    with prepare(WORKLOADS["convolutional"], cell()) as step:
        count_saved(step)
        assert all(parameter.grad is None for parameter in step.model.parameters())
        assert torch.is_grad_enabled()
