# ruff: noqa: ARG005
import pytest
import torch
import torchvision
from torch import nn

from bench.counters.build import on_meta
from bench.counters.cache import FakeMode, OutputCache
from bench.counters.flops import LayerObserver, count_module

aten = torch.ops.aten


def describe(output):
    if isinstance(output, torch.Tensor):
        return output.shape, output.stride(), output.dtype, output.device, output.storage_offset()
    return tuple(None if one is None else describe(one) for one in output)


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        (aten.add.Tensor, ((3, 1), (1, 4))),
        (aten.mm.default, ((3, 5), (5, 4))),
        (aten.native_batch_norm.default, ((2, 3, 4, 4), (3,), (3,), (3,), (3,), True, 0.1, 1e-5)),
        (aten.max_pool2d_with_indices.default, ((2, 3, 8, 8), [2, 2])),
        (aten.convolution.default, ((2, 3, 8, 8), (5, 3, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)),
        (aten.gt.Scalar, ((3, 4), 0)),
        (aten.cat.default, ([(3, 4), (2, 4)],)),
    ],
)
def test_a_remembered_output_is_what_torch_returns(operation, args):
    def make(value):
        if isinstance(value, tuple):
            return torch.empty(value, device="meta")
        return [make(item) if isinstance(item, tuple) else item for item in value] if isinstance(value, list) else value

    cache = OutputCache()
    expected = describe(operation(*map(make, args)))
    assert describe(cache.run(operation, tuple(map(make, args)), {})) == expected
    second = cache.run(operation, tuple(map(make, args)), {})
    assert describe(second) == expected


def test_the_second_run_does_not_run():
    calls = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(func)
            return func(*args, **(kwargs or {}))

    cache, x = OutputCache(), torch.empty(3, 4, device="meta")
    with Spy():
        for _ in range(2):
            cache.run(aten.relu.default, (x,), {})
            assert cache.run(aten.relu_.default, (x,), {}) is x
    assert calls.count(aten.relu.default) == calls.count(aten.relu_.default) == 1


def test_scalars_that_are_equal_but_not_alike_are_kept_apart():
    cache, x = OutputCache(), torch.empty(3, dtype=torch.int64, device="meta")
    assert cache.run(aten.add.Tensor, (x, 1), {}).dtype == torch.int64
    assert cache.run(aten.add.Tensor, (x, 1.0), {}).dtype == torch.float32


def test_views_and_real_tensors_are_never_remembered():
    cache = OutputCache()
    x = torch.empty(3, 4, device="meta")
    for _ in range(2):
        assert cache.run(aten.t.default, (x,), {}).untyped_storage()._cdata == x.untyped_storage()._cdata
    real = torch.tensor([1.0, -1.0])
    assert cache.run(aten.relu.default, (real,), {}).tolist() == [1.0, 0.0]
    assert cache.run(aten.relu.default, (real + 1,), {}).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "shufflenet_v2_x0_5"])
def test_a_whole_network_counts_the_same_with_and_without(name, monkeypatch):
    def count():
        observer = LayerObserver()
        model = on_meta(lambda: torchvision.models.get_model(name))
        x = torch.empty(2, 3, 224, 224, device="meta").to(memory_format=torch.channels_last)
        step = count_module(model, (x,), backward=True, observer=observer)
        return step, observer.shapes, observer.activation_bytes, observer.bytes_touched

    with_cache = count()
    monkeypatch.setattr(OutputCache, "run", lambda self, operation, args, kwargs: operation(*args, **kwargs))
    assert count() == with_cache


def test_a_module_that_changes_its_input_in_place_is_counted():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ReLU(inplace=True)).to("meta")
    step = count_module(model, (torch.empty(3, 4, device="meta"),), backward=True)
    assert step.flops.backward == 2 * 3 * 16 * 3


@pytest.mark.parametrize(
    "run",
    [
        lambda x, y: aten.mm.default(x, y.t()),
        lambda x, y: aten.view.default(x[1:], [-1]),
        lambda x, y: aten.split.Tensor(x, 2, 1),
        lambda x, y: aten.to.dtype(x, torch.float32),
        lambda x, y: aten._foreach_mul.Scalar([x, y], 2.0),
        lambda x, y: aten.native_batch_norm.default(x, y[0], y[0], y[0], y[0], True, 0.1, 1e-5),
    ],
)
def test_a_remembered_fake_output_is_what_the_fake_kernel_returns(run):
    def flat(outputs):
        return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)

    with FakeMode() as mode:
        x, y = torch.empty(3, 4), torch.empty(3, 4)
        first, known = flat(run(x, y)), len(mode.outputs._known) + len(mode.outputs._direct)
        second = flat(run(x, y))
        assert len(mode.outputs._known) + len(mode.outputs._direct) == known > 0
        for one, two in zip(first, second, strict=True):
            assert type(one) is type(two)
            assert (describe(one), vars(one)) == (describe(two), vars(two))
            storages = {tensor.untyped_storage()._cdata for tensor in (x, y)}
            mine = {one.untyped_storage()._cdata, two.untyped_storage()._cdata}
            assert len(mine) == 2 or mine <= storages  # new storages, or views of the inputs'
            assert one.untyped_storage().nbytes() == two.untyped_storage().nbytes()


def test_what_keeps_more_memory_than_its_output_is_not_remembered():
    with FakeMode() as mode:
        x = torch.empty(3, 4)
        wide = torch.empty(100).as_strided((), ())
        mode.outputs.run(aten.relu.default, (x,), {}, lambda _: wide)
        assert not mode.outputs._direct


def test_lists_that_change_in_place_return_nothing_the_second_time_too():
    with FakeMode():
        x = torch.empty(3, 4)
        for _ in range(2):
            assert aten._foreach_add_.Scalar([x], 1.0) is None


def test_a_view_of_an_outside_tensor_is_no_inference_tensor():
    with FakeMode():
        outside = torch.empty(3, 4)
        with torch.inference_mode():
            inside = torch.empty(3, 4)
            for _ in range(2):
                assert not aten.t.default(outside).is_inference()
                assert aten.t.default(inside).is_inference()
                assert aten.relu.default(outside).is_inference()
