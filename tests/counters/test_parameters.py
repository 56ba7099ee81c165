import pytest
import torch
from torch import nn

from bench.counters.parameters import count_layer_parameters, count_parameters


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Linear(4, 4)
        self.again = self.block
        self.head = nn.Linear(4, 2, bias=False)
        self.head.weight = nn.Parameter(self.head.weight.detach(), requires_grad=False)
        self.tail = nn.Linear(4, 2, bias=False)
        self.tail.weight = self.head.weight
        self.norm = nn.BatchNorm1d(4)


def test_a_shared_tensor_counts_once_and_with_its_first_layer():
    layers = count_layer_parameters(Shared())
    assert [(name, layer.parameters) for name, layer in layers.items()] == [
        ("", 0),
        ("block", 20),
        ("head", 8),
        ("tail", 0),
        ("norm", 8),
    ]


def test_layers_sum_to_the_model():
    total = count_parameters(Shared())
    assert (total.parameters, total.trainable_parameters, total.buffers) == (36, 28, 9)


def test_the_total_is_what_torch_sums_over_unique_parameters():
    model = nn.Sequential(Shared(), nn.LSTM(3, 5, num_layers=2), nn.MultiheadAttention(8, 2))
    total = count_parameters(model)
    assert total.parameters == sum(p.numel() for p in model.parameters())
    assert total.trainable_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert total.buffers == sum(b.numel() for b in model.buffers())


def test_a_lazy_parameter_cannot_be_counted_before_it_has_a_shape():
    with pytest.raises(ValueError, match="uninitialized"):
        count_parameters(nn.LazyLinear(3))
    model = nn.LazyLinear(3)
    model(torch.zeros(1, 5))
    assert count_parameters(model).parameters == 18
