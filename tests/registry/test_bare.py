from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.core.errors import ModelError
from bench.device.batch import arguments
from bench.registry.build import bare_workload, classifier_loss, default_loss


def test_logits_are_compared_with_class_ids_of_as_many_classes() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 7), torch.randint(2**31, (5,))
    assert torch.equal(default_loss(logits, targets), F.cross_entropy(logits, targets % 7))


@pytest.mark.parametrize("shape", [(5, 1), (5,), (5, 3, 8, 8), (5, 2, 7)])
def test_any_other_tensor_gives_its_mean_square(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(shape)
    torch.testing.assert_close(default_loss(outputs, torch.zeros(5, dtype=torch.long)), (outputs**2).mean())


def test_every_float_tensor_of_a_structure_gets_a_gradient() -> None:
    a, b, c = (torch.randn(3, requires_grad=True) for _ in range(3))
    outputs = OrderedDict(first=a, rest=[b, (c, torch.arange(3))], none=None)
    default_loss(outputs, torch.zeros(3, dtype=torch.long)).backward()
    for tensor in (a, b, c):
        torch.testing.assert_close(tensor.grad, 2 * tensor.detach() / 3)


@pytest.mark.parametrize("outputs", [None, "text", torch.arange(3), []])
def test_an_output_without_a_float_tensor_is_refused(outputs: object) -> None:
    with pytest.raises(ModelError, match=r"without a float tensor; pass a Workload"):
        default_loss(outputs, None)


def test_auxiliary_classifiers_count_three_tenths() -> None:
    torch.manual_seed(0)
    main, second, third, targets = torch.randn(5, 7), torch.randn(5, 7), torch.randn(5, 7), torch.arange(5)
    expected = F.cross_entropy(main, targets) + 0.3 * (
        F.cross_entropy(second, targets) + F.cross_entropy(third, targets)
    )
    torch.testing.assert_close(classifier_loss((main, second, third), targets), expected)
    torch.testing.assert_close(classifier_loss((main, None), targets), F.cross_entropy(main, targets))
    torch.testing.assert_close(classifier_loss(main, targets), F.cross_entropy(main, targets))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batches_have_the_shape_and_are_drawn_on_the_device(device: str) -> None:
    workload = bare_workload("x", lambda: torch.nn.Linear(4, 3), (2, 4), None)
    (inputs,), targets = workload.make_batch(5, device)
    assert (inputs.shape, targets.shape) == ((5, 2, 4), (5,))
    assert (inputs.device.type, targets.device.type) == (device, device)


def test_a_step_reads_nothing_on_the_host_so_fake_tensors_suffice() -> None:
    with FakeTensorMode():
        workload = bare_workload("x", lambda: torch.nn.Linear(4, 3), (4,), None)
        model = workload.build_model()
        inputs, targets = workload.make_batch(5, "cpu")
        workload.loss(model(*inputs), targets).backward()
        workload.make_optimizer(model.parameters()).step()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_every_input_is_drawn_in_its_type_and_range(device: str) -> None:
    texts = ("3x8", "int64:5:10..13", "uint8:4", "mask:bool:5:1..2", "t:float64:scalar:2..3", "z:complex64:6")
    inputs, _ = bare_workload("net", torch.nn.Identity, texts, None).make_batch(64, device)
    positional, named = arguments(inputs)
    image, ids, small = positional
    assert [(t.dtype, tuple(t.shape)) for t in positional] == [
        (torch.float32, (64, 3, 8)),
        (torch.int64, (64, 5)),
        (torch.uint8, (64, 4)),
    ]
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in named.items()} == {
        "mask": (torch.bool, (64, 5)),
        "t": (torch.float64, (64,)),
        "z": (torch.complex64, (64, 6)),
    }
    if device == "cpu":
        assert image.min() < 0 < image.max()
        assert set(ids.unique().tolist()) == {10, 11, 12}
        assert named["mask"].all()
        assert 2 <= named["t"].min() < named["t"].max() < 3
        assert small.max() > 200


def test_named_inputs_alone_are_a_mapping_and_unnamed_ones_a_tuple() -> None:
    named, _ = bare_workload("net", torch.nn.Identity, ("x:5",), None).make_batch(2, "cpu")
    unnamed, _ = bare_workload("net", torch.nn.Identity, ("5", "int64:3:0..2"), None).make_batch(2, "cpu")
    assert (list(named), len(unnamed)) == (["x"], 2)
