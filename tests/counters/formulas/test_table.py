"""Formulas against closed forms and against the same mathematics written with matrix products, for drawn shapes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.counters.flops import count_module
from bench.counters.formulas.table import find_formula

aten = torch.ops.aten
SIZE = st.integers(1, 7)
quick = settings(max_examples=25, deadline=None, derandomize=True)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def on_meta(*shape):
    return torch.empty(*shape, device="meta", requires_grad=True)


def count(module, *inputs):
    flops = count_module(module, inputs, backward=True).flops
    assert flops.uncounted == ()
    return flops


def cost(operation, *args, output=None, **kwargs):
    return find_formula(operation)(args, kwargs, output)


@quick
@given(SIZE, SIZE, SIZE, st.lists(SIZE, max_size=2))
def test_linear_is_one_product_per_row(inputs, outputs, rows, leading):
    flops = count(nn.Linear(inputs, outputs, device="meta"), on_meta(*leading, rows, inputs))
    examples = rows
    for size in leading:
        examples *= size
    assert (flops.forward, flops.backward) == (2 * examples * inputs * outputs, 4 * examples * inputs * outputs)


@quick
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
    st.integers(1, 2), st.integers(0, 2), st.booleans(), st.integers(1, 3),
)  # fmt: skip
def test_a_convolution_counts_every_use_of_every_weight(
    batch, groups, into, out, kernel, stride, dilation, padding, transposed, dims
):
    kind = {
        False: [nn.Conv1d, nn.Conv2d, nn.Conv3d],
        True: [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d],
    }
    module = kind[transposed][dims - 1](
        groups * into, groups * out, kernel, stride, padding, groups=groups, dilation=dilation, device="meta"
    )
    x = on_meta(batch, groups * into, *([9] * dims))
    y = module(x)
    positions = (x if transposed else y).shape[2:].numel()
    forward = 2 * batch * positions * groups * into * out * kernel**dims
    flops = count(module, x)
    assert (flops.forward, flops.backward) == (forward, 2 * forward)


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), SIZE, SIZE, SIZE, SIZE)
def test_attention_is_two_products_and_its_backward_four(batch, kv_heads, group, d, dv, target, source, _):
    query, key, value = (
        on_meta(batch, kv_heads * group, target, d),
        on_meta(batch, kv_heads, source, d),
        on_meta(batch, kv_heads, source, dv),
    )
    forward = 2 * batch * kv_heads * group * target * source * (d + dv)
    flops = count(Function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)), query, key, value)
    assert (flops.forward, flops.backward) == (forward, 2 * forward)
    kernel = cost(aten._scaled_dot_product_flash_attention, query, key, value)
    assert (kernel.flops, kernel.executed) == (forward, forward)
    grad = torch.empty(batch, kv_heads * group, target, dv, device="meta")
    kernel = cost(aten._scaled_dot_product_flash_attention_backward, grad, query, key, value)
    assert kernel.flops == 2 * forward
    assert kernel.executed == 2 * forward + 2 * batch * kv_heads * group * target * source * d


@quick
@given(
    st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]), SIZE, SIZE, SIZE, SIZE, st.integers(1, 3), st.booleans(), st.booleans()
)
def test_a_recurrent_layer_counts_as_its_steps_do(kind, time, batch, width, hidden, layers, bidirectional, batch_first):
    """The fused formulas equal what the step-by-step path on meta dispatches, forward and backward."""
    module = kind(width, hidden, layers, bidirectional=bidirectional, batch_first=batch_first, device="meta")
    shape = (batch, time, width) if batch_first else (time, batch, width)
    flops = count(module, on_meta(*shape))
    mode = {nn.RNN: 1, nn.LSTM: 2, nn.GRU: 3}[kind]
    x, hx = on_meta(*shape), on_meta(layers * (1 + bidirectional), batch, hidden)
    common = (mode, hidden, 0, layers, batch_first, 0.0, True, bidirectional, [])
    assert cost(aten._cudnn_rnn, x, [], 4, None, hx, None, *common, None).flops == flops.forward
    backward = cost(
        aten._cudnn_rnn_backward, x, [], 4, None, hx, None, None, None, None, None, *common, None, None,
        [True, False, False, True],
    )  # fmt: skip
    assert backward.flops == flops.backward


def test_a_fused_projection_counts_as_its_steps_do():
    module = nn.LSTM(5, 7, 2, proj_size=3, device="meta")
    x, hx = on_meta(4, 2, 5), on_meta(2, 2, 3)
    flops = count(module, x)
    common = (2, 7, 3, 2, False, 0.0, True, False, [])
    assert cost(aten._cudnn_rnn, x, [], 5, None, hx, None, *common, None).flops == flops.forward
    backward = cost(
        aten._cudnn_rnn_backward, x, [], 5, None, hx, None, None, None, None, None, *common, None, None,
        [True, False, False, True],
    )  # fmt: skip
    assert backward.flops == flops.backward


@quick
@given(SIZE, SIZE, SIZE, SIZE)
def test_bilinear_is_the_einsum_from_left_to_right(n, i, j, o):
    flops = count(nn.Bilinear(i, j, o, device="meta"), on_meta(n, i), on_meta(n, j))
    assert flops.forward == 2 * n * o * j * (i + 1)


@quick
@given(SIZE, SIZE, SIZE, SIZE, SIZE)
def test_matmul_broadcasts_every_batch(a, b, m, k, n):
    flops = count(Function(torch.matmul), on_meta(a, 1, m, k), on_meta(b, k, n))
    assert (flops.forward, flops.backward) == (2 * a * b * m * k * n, 4 * a * b * m * k * n)


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("_int_mm", [(32, 16), (16, 8)], 2 * 32 * 16 * 8),
        ("_scaled_mm", [(32, 16), (16, 8)], 2 * 32 * 16 * 8),
        ("_grouped_mm", [(32, 16), (4, 16, 8)], 2 * 32 * 16 * 8),
        ("_grouped_mm", [(4, 32, 16), (16, 8)], 2 * 32 * 16 * 8),
        ("_grouped_mm", [(4, 32, 16), (4, 16, 8)], 4 * 2 * 32 * 16 * 8),
        ("_grouped_mm", [(32, 16), (16, 8)], 2 * 32 * 16 * 8),
    ],
)
def test_narrow_and_grouped_products(name, shapes, expected):
    packet = getattr(aten, name, None)
    if packet is None:
        pytest.skip(f"this torch has no {name}")
    assert cost(packet, *(on_meta(*shape) for shape in shapes)).flops == expected


def test_packed_weights_tell_their_width_by_the_output():
    x, out = on_meta(4, 16), on_meta(4, 8)
    assert cost(aten._weight_int8pack_mm, x, on_meta(8, 16), on_meta(8), output=out).flops == 2 * 4 * 16 * 8
    assert cost(aten._weight_int4pack_mm, x, on_meta(1, 1, 32, 4), 32, None, output=out).flops == 2 * 4 * 16 * 8


def test_packed_sequences_pay_for_their_own_length_only():
    query = torch.empty(9, 2, 4)  # 9 tokens of sequences of 2, 3 and 4
    offsets = torch.tensor([0, 2, 5, 9], dtype=torch.int32)
    dense = cost(
        aten._flash_attention_forward, query[None], query[None], query[None], None, None, 9, 9, 0.0, False, False
    )
    packed = cost(aten._flash_attention_forward, query, query, query, offsets, offsets, 4, 4, 0.0, False, False)
    assert dense.flops == 4 * 2 * 9 * 9 * 4
    assert packed.flops == 4 * 2 * (4 + 9 + 16) * 4
    unknown = cost(
        aten._flash_attention_forward, query, query, query, offsets.to("meta"), None, 4, 4, 0.0, False, False
    )
    assert unknown.flops == 4 * 2 * 3 * 16 * 4  # lengths have no numbers: each counts as the longest


def test_backward_of_a_grouped_convolution_is_where_torch_is_wrong():
    from torch.utils.flop_counter import FlopCounterMode

    module, x = nn.Conv2d(16, 16, 3, padding=1, groups=16, device="meta"), on_meta(2, 16, 12, 12)
    ours = count(module, x)
    with FlopCounterMode(display=False) as theirs:
        module(x).sum().backward()
    assert ours.backward == 2 * ours.forward
    # Its input gradient is right, its weight gradient 16 times too high: if this fails, torch has mended it.
    assert theirs.get_total_flops() == ours.forward + ours.forward + 16 * ours.forward


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_layers_on_the_cpu_are_counted_or_named():
    engine = torch.backends.quantized.engine
    if engine == "none":
        pytest.skip("no quantized engine")
    x = torch.quantize_per_tensor(torch.randn(4, 16), 0.1, 0, torch.quint8)
    weight = torch.quantize_per_tensor(torch.randn(8, 16), 0.1, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    with torch.no_grad():
        step = count_module(Function(lambda x: torch.ops.quantized.linear(x, packed, 0.1, 0)), (x,))
    assert step.flops.forward == 2 * 4 * 16 * 8
