"""What we say of an operation's outputs is what torch says, bit for bit, in shape, layout, type and memory."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from bench.counters.cache import FakeMode
from bench.counters.shortcuts import SHORTCUTS, is_direct

aten = torch.ops.aten
SHAPES = [(4, 3), (4, 3, 5), (2, 3, 4, 5), (1, 3, 1, 2), (2, 1, 1, 1), (2, 3, 2, 2, 2)]


def described(outputs: Any) -> list[Any]:
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    return [
        None if one is None else (one.shape, one.stride(), one.dtype, one.device, one.untyped_storage().nbytes())
        for one in outputs
    ]


def cases(device: str) -> list[tuple[Any, tuple[Any, ...]]]:
    found: list[tuple[Any, tuple[Any, ...]]] = []
    for shape, is_training in itertools.product(SHAPES, (True, False)):
        channels = shape[1]
        tensor = torch.empty(shape, device=device)
        weight, bias, mean, deviation = (torch.empty(channels, device=device) for _ in range(4))
        for scale in (weight, None):
            rest = (tensor, scale, bias, mean, deviation, is_training, 0.1, 1e-5)
            found.append((aten.native_batch_norm.default, rest))
        found.append((aten._native_batch_norm_legit.default, (tensor, weight, bias, mean, deviation, True, 0.1, 1e-5)))
        statistics = (mean, deviation, torch.empty_like(mean), torch.empty_like(mean))
        found.append(
            (
                aten.native_batch_norm_backward.default,
                (torch.empty_like(tensor), tensor, weight, *statistics, is_training, 1e-5, [True] * 3),
            )
        )
    return found + [(operation, args) for operation, args in more_cases(device)]


def more_cases(device: str) -> list[tuple[Any, tuple[Any, ...]]]:
    found: list[tuple[Any, tuple[Any, ...]]] = []

    def of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    for shape, affine in itertools.product([(2, 6), (2, 6, 5), (2, 6, 4, 3), (1, 6, 1, 1)], (True, False)):
        tensor, size = of(*shape), torch.Size(shape[2:]).numel()
        scale = [of(6) if affine else None] * 2
        found.append((aten.native_group_norm.default, (tensor, *scale, shape[0], 6, size, 3, 1e-5)))
        statistics = (of(shape[0], 3), of(shape[0], 3), scale[0])
        rest = (shape[0], 6, size, 3, [True, affine, affine])
        found.append((aten.native_group_norm_backward.default, (of(*shape), tensor, *statistics, *rest)))
        turned = of(*reversed(shape)).permute(*reversed(range(len(shape))))
        found.append((aten.native_group_norm_backward.default, (turned, tensor, *statistics, *rest)))
    for shape, last in itertools.product([(4, 6), (2, 5, 6), (1, 6)], (1, 2)):
        normalised, statistics_shape = list(shape[-last:]), (*shape[:-last], *[1] * last)
        scale = [of(*normalised), of(*normalised)]
        found.append((aten.native_layer_norm.default, (of(*shape), normalised, *scale, 1e-5)))
        found.append((aten.native_layer_norm.default, (of(*shape), normalised, None, None, 1e-5)))
        statistics_of = [of(*statistics_shape), of(*statistics_shape)]
        backward = (of(*shape), of(*shape), normalised, *statistics_of, *scale, [True] * 3)
        found.append((aten.native_layer_norm_backward.default, backward))
        turned = of(*reversed(shape)).permute(*reversed(range(len(shape))))
        found.append((aten.native_layer_norm_backward.default, (turned, *backward[1:])))
        expanded = of(*[1] * len(shape)).expand(shape)
        found.append((aten.native_layer_norm_backward.default, (expanded, *backward[1:])))
    for classes, reduction in itertools.product((1, 7), (0, 1, 2)):
        logits, labels = of(4, classes), of(4, dtype=torch.int64)
        found.append((aten.nll_loss_forward.default, (logits, labels, None, reduction, -100)))
        gradient = of(4) if reduction == 0 else of()
        found.append((aten.nll_loss_backward.default, (gradient, logits, labels, None, reduction, -100, of())))
        found.append((aten._log_softmax.default, (logits, 1, False)))
        found.append((aten._log_softmax_backward_data.default, (logits, logits, 1, torch.float32)))
    for dtype in (torch.float32, torch.bfloat16):
        added, left, right = of(5, dtype=dtype), of(4, 3, dtype=dtype), of(5, 3, dtype=dtype)
        found.append((aten.addmm.default, (added, left, right.t())))
        found.append((aten.addmm.default, (of(4, 5, dtype=dtype), left, right.t())))
        found.append((aten.addmm.default, (added, of(0, 3, dtype=dtype), right.t())))
    return found


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_shortcut_returns_what_torch_returns(device: str) -> None:
    with FakeTensorMode() if device == "cpu" else torch.device("meta"):
        taken = 0
        for operation, args in cases(device):
            ours = SHORTCUTS[operation](args)
            if ours is not None:
                taken += 1
                assert described(ours) == described(operation(*args)), (operation, args)
    assert taken >= 60


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(2, 3, 4, 4, device="meta").to(memory_format=torch.channels_last),
        torch.empty(2, 3, 4, 4, device="meta", dtype=torch.bfloat16),
        torch.empty(2, 3, 4, 8, device="meta")[..., ::2],
        torch.empty(1, 3, 1, 1, device="meta"),
    ],
    ids=["channels_last", "another type", "not contiguous", "one value per channel"],
)
def test_other_tensors_are_left_to_torch(tensor: torch.Tensor) -> None:
    channels = [torch.empty(3, device="meta") for _ in range(4)]
    assert SHORTCUTS[aten.native_batch_norm.default]((tensor, *channels, True, 0.1, 1e-5)) is None


def operands() -> list[torch.Tensor]:
    plain = torch.empty(4, 6, 2, 3)
    return [
        plain,
        torch.empty(1, 6, 1, 1),
        torch.empty(6, 2, 3),
        torch.empty(()),
        torch.empty(3, 2, 6, 4).permute(3, 2, 1, 0),
        plain.to(memory_format=torch.channels_last),
        torch.empty(4, 6, 2, 6)[..., ::2],
        plain.bfloat16(),
        torch.empty(4, 6, 2, 3, dtype=torch.int64),
        torch.empty(4, 1, 2, 3).expand(4, 6, 2, 3),
    ]


BINARY = [aten.add.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.sub.Tensor, aten.maximum.default, aten.gt.Tensor]
IN_PLACE = [aten.add_.Tensor, aten.mul_.Tensor, aten.div_.Tensor]
UNARY: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.sqrt.default, ()),
    (aten.relu_.default, ()),
    (aten.gelu.default, ()),
    (aten.add.Tensor, (1,)),
    (aten.mul.Tensor, (0.5,)),
    (aten.le.Scalar, (0,)),
    (aten.sum.dim_IntList, ([0, 1], True)),
    (aten.mean.dim, ([-1],)),
    (aten.relu.default, ()),
    (aten.sigmoid.default, ()),
    (aten.tanh.default, ()),
    (aten.select.int, (1, 0)),
    (aten.slice.Tensor, (0, 1, 3)),
    (aten.squeeze.dim, (0,)),
    (aten.unbind.int, (1,)),
    (aten.ones_like.default, ()),
    (aten.detach.default, ()),
    (aten.clone.default, ()),
    (aten.zeros_like.default, ()),
    (aten.empty_like.default, ()),
    (aten.new_zeros.default, ([2, 5],)),
    (aten.new_empty.default, ([2, 5],)),
    (aten._softmax.default, (-1, False)),
    (aten.unsqueeze.default, (0,)),
    (aten.permute.default, ([0, 2, 1, 3],)),
    (aten.transpose.int, (0, 1)),
    (aten.view.default, ([-1],)),
    (aten.split.Tensor, (2, 1)),
    (aten.expand.default, ([4, 6, 2, 3],)),
]
PAIRS = [(one, other) for one in range(10) for other in range(10) if 0 in (one, other) or one == other]
CALLS: list[tuple[Any, tuple[int, ...], tuple[Any, ...]]] = [
    *((operation, pair, ()) for operation in (*BINARY, *IN_PLACE) for pair in PAIRS),
    *((operation, (one,), rest) for operation, rest in UNARY for one in range(10)),
    *((aten.threshold_backward.default, pair, (0,)) for pair in PAIRS),
    *((aten.tanh_backward.default, pair, ()) for pair in PAIRS),
    *((aten.addcdiv_.default, (0, other, 0), ()) for other in range(10)),
    *((aten.lerp_.Scalar, pair, (0.1,)) for pair in PAIRS),
]


def answers(mode: FakeTensorMode) -> list[Any]:
    """What every call returns, and where it lies."""
    found: list[Any] = []
    with mode:
        for operation, places, rest in CALLS:
            tensors = operands()
            arguments = [tensors[place] for place in places]
            try:
                outputs = operation(*arguments, *rest)
            except (RuntimeError, IndexError, ValueError):
                found.append("refused")
                continue
            several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
            is_shared = [one.untyped_storage()._cdata == arguments[0].untyped_storage()._cdata for one in several]
            offsets = [one.storage_offset() for one in several]
            found.append((described(several), is_shared, offsets, several[0] is arguments[0]))
    return found


def test_meta_kernels_asked_directly_say_what_torchs_fake_mode_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("torch._subclasses.fake_tensor"), "disabled", True)  # it logs every refusal
    assert all(is_direct(operation) for operation, _, _ in CALLS)
    for (operation, places, rest), ours, torchs in zip(
        CALLS, answers(FakeMode()), answers(FakeTensorMode(allow_non_fake_inputs=True)), strict=True
    ):
        assert ours == torchs, (operation, places, rest)


def test_a_step_number_keeps_its_value_and_is_no_other_tensor() -> None:
    with FakeMode():
        number = torch.tensor(3.0)
        before = number.clone()
        number += 1
        number += 2.5
        assert number.item() == 6.5
        assert before.item() == 3.0
        number.add_(torch.empty(()))  # from here on nobody knows
        with pytest.raises(DataDependentOutputException):
            number.item()


def test_copies_and_new_tensors_with_keywords_are_as_torchs() -> None:
    odd = torch.empty_strided((2, 1, 3), (3, 7, 1))  # contiguous, with a stride that no new tensor has
    calls = [
        lambda one: one.to(torch.bfloat16),
        lambda one: aten._to_copy.default(one, dtype=torch.float16, memory_format=torch.contiguous_format),
        lambda one: torch.zeros_like(one, memory_format=torch.preserve_format),
        lambda one: torch.empty_like(one, memory_format=torch.contiguous_format),
        lambda one: torch.ones_like(one, dtype=torch.int64),
        lambda one: torch.empty_strided(one.size(), one.stride(), dtype=torch.float64, device="cpu"),
        lambda one: torch.empty_strided(one.size(), one.stride(), device="meta"),
    ]

    def outputs(mode: FakeTensorMode) -> list[Any]:
        with mode:
            return [described(call(one)) for one in (*operands(), odd.clone(), mode.from_tensor(odd)) for call in calls]

    assert outputs(FakeMode()) == outputs(FakeTensorMode(allow_non_fake_inputs=True))
