# ruff: noqa: ARG005
import pytest
import torch
import torchvision
from torch import nn

from bench.counters.build import on_meta
from bench.counters.flops import LayerObserver, count_module
from bench.counters.tally import MetaCache

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

    cache = MetaCache()
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

    cache, x = MetaCache(), torch.empty(3, 4, device="meta")
    with Spy():
        for _ in range(2):
            cache.run(aten.relu.default, (x,), {})
            assert cache.run(aten.relu_.default, (x,), {}) is x
    assert calls.count(aten.relu.default) == calls.count(aten.relu_.default) == 1


def test_scalars_that_are_equal_but_not_alike_are_kept_apart():
    cache, x = MetaCache(), torch.empty(3, dtype=torch.int64, device="meta")
    assert cache.run(aten.add.Tensor, (x, 1), {}).dtype == torch.int64
    assert cache.run(aten.add.Tensor, (x, 1.0), {}).dtype == torch.float32


def test_views_and_real_tensors_are_never_remembered():
    cache = MetaCache()
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
    monkeypatch.setattr(MetaCache, "run", lambda self, operation, args, kwargs: operation(*args, **kwargs))
    assert count() == with_cache


def test_a_module_that_changes_its_input_in_place_is_counted():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ReLU(inplace=True)).to("meta")
    step = count_module(model, (torch.empty(3, 4, device="meta"),), backward=True)
    assert step.flops.backward == 2 * 3 * 16 * 3
