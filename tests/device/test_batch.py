"""Batches as models have them: tensors, tuples and mappings, nested; each reaches its model in its type and layout."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, MemoryFormat, Mode, Precision
from bench.core.errors import ModelError
from bench.core.workload import Workload, changed, leaves
from bench.counters.fakes import fake_step
from bench.counters.static import count
from bench.device.batch import make_batch
from bench.device.prepare import prepare


@dataclass(frozen=True, slots=True)
class Images:
    pixels: torch.Tensor
    clip: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor


class Net(nn.Module):
    """Takes a nested batch, by keyword only; answers with an object that has `.loss`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv3, self.embed = nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Embedding(10, 4)

    def forward(self, *, batch: list[dict[str, Images]], labels: torch.Tensor) -> Any:
        part = batch[0]["part"]
        self.seen = part
        logits = self.conv(part.pixels).mean((2, 3)) + self.conv3(part.clip).mean((2, 3, 4)) + self.embed(part.ids)
        logits = torch.where(part.mask[:, None], logits, 0)
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


def nested(batch_size: int, device: Any) -> Any:
    part = Images(
        pixels=torch.rand(batch_size, 3, 6, 6, device=device),
        clip=torch.rand(batch_size, 3, 4, 4, 4, device=device),
        ids=torch.randint(10, (batch_size,), device=device),
        mask=torch.ones(batch_size, dtype=torch.bool, device=device),
    )
    return {"batch": [{"part": part}], "labels": torch.randint(4, (batch_size,), device=device)}, None


def workload_of(build: Any, batch: Any, loss: Any = lambda outputs, _: outputs.loss) -> Workload:
    return Workload(
        name="net",
        build_model=build,
        make_batch=batch,
        loss=loss,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


CELL = Cell(model="net", batch_size=2, precision=Precision.BF16, memory_format=MemoryFormat.CHANNELS_LAST)


@pytest.mark.parametrize("prepared", [prepare, fake_step])
def test_type_and_layout_reach_every_leaf_of_a_nested_batch(prepared: Any) -> None:
    with prepared(workload_of(Net, nested), CELL) as step:
        loss = step()
        seen = step.model.seen
        assert loss.dtype is torch.bfloat16
        assert (seen.pixels.dtype, seen.clip.dtype) == (torch.bfloat16, torch.bfloat16)
        assert (seen.ids.dtype, seen.mask.dtype) == (torch.int64, torch.bool)
        assert seen.pixels.is_contiguous(memory_format=torch.channels_last)
        assert seen.clip.is_contiguous(memory_format=torch.channels_last_3d)
        assert step.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
        assert step.model.conv3.weight.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("mode", Mode)
def test_a_nested_keyword_batch_is_counted_whole(mode: Mode) -> None:
    cell = Cell(model="net", batch_size=2, mode=mode, precision=Precision.BF16)
    counters, advice = count(workload_of(Net, nested), cell)
    assert not advice
    assert counters.flops is not None
    # 2 x examples x output positions x weights: 4 x 4 positions of the image, 2 x 2 x 2 of the clip
    assert counters.flops.forward == 2 * 2 * (16 * 4 * 27 + 8 * 4 * 81)
    assert counters.predicted_peak is not None
    inputs = 2 * (2 * 3 * 36 + 2 * 3 * 64) + 2 * 8 + 2 + 2 * 8  # bf16 twice, ids, mask, labels
    assert counters.predicted_peak.inputs_bytes == inputs


def test_a_bare_tensor_is_one_input_at_every_batch_size() -> None:
    seen = []

    class Shapes(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return super().forward(x)

    workload = workload_of(
        lambda: Shapes(4, 2), lambda size, device: (torch.rand(size, 3, 4, device=device), None), lambda y, _: y.sum()
    )
    for size in (1, 2):
        with prepare(workload, Cell(model="net", batch_size=size)) as step:
            step()
    assert seen == [(1, 3, 4), (2, 3, 4)]


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ([torch.zeros(2)], "a list of 1 as inputs"),
        ({0: torch.zeros(2)}, "a dict with the keys 0 as inputs"),
        (None, "a NoneType as inputs"),
    ],
)
def test_other_inputs_are_refused_in_one_line_with_an_example(made: Any, found: str) -> None:
    with pytest.raises(ModelError, match=rf"'net' returned {found}; they must be a tensor .* `return ") as error:
        make_batch(workload_of(Net, lambda *_: (made, None)), 2, "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("made", [torch.zeros(2, 3), {"x": 1, "y": 2}, (torch.zeros(2),)])
def test_what_is_no_pair_is_refused(made: Any) -> None:
    with pytest.raises(ModelError, match=r"it must return the pair \(inputs, targets\)"):
        make_batch(workload_of(Net, lambda *_: made), 2, "cpu")


def test_the_walk_opens_what_models_return_and_keeps_its_types() -> None:
    a, b, c, d = (torch.full((1,), float(number)) for number in range(4))
    value = (UserDict(a=a), [torch.finfo(torch.float32), Images(b, b, c, c)], SimpleNamespace(d=d, e=None), nn.Linear)
    assert [float(tensor) for tensor in leaves(value, torch.Tensor)] == [0, 1, 1, 2, 2, 3]
    new = changed(value, torch.Tensor, lambda tensor: tensor + 10)
    assert [float(tensor) for tensor in leaves(new, torch.Tensor)] == [10, 11, 11, 12, 12, 13]
    assert [type(part) for part in new[:3]] == [UserDict, list, SimpleNamespace]
    assert [float(tensor) for tensor in leaves(value, torch.Tensor)] == [0, 1, 1, 2, 2, 3]


def test_a_packed_sequence_is_cast_and_stays_one() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.rand(3, 2), torch.rand(2, 2)])
    new = changed(packed, torch.Tensor, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    assert (type(new), new.data.dtype, new.batch_sizes.tolist()) == (type(packed), torch.float64, [2, 2, 1])


def test_a_value_that_holds_itself_is_walked_once() -> None:
    value: dict[str, Any] = {"x": torch.ones(1)}
    value["self"] = value
    assert len(list(leaves(value, torch.Tensor))) == 1
    assert float(changed(value, torch.Tensor, torch.neg)["x"]) == -1
