import dataclasses
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, Mode
from bench.counters import dispatches
from bench.counters.dispatches import (
    OperationCounter,
    count_kernel_launches,
    is_counted,
    touched_bytes,
)
from bench.device.prepare import prepare
from tests.counters.small import (
    WORKLOADS,
    RoundTrip,
    cell,
    convolutional,
    count_operations,
    count_step,
    image_workload,
    linear_workload,
    sgd,
)


def _count(operation: object, *tensors: torch.Tensor) -> OperationCounter:
    counter = OperationCounter()
    with counter:
        operation(*tensors)  # type: ignore[operator]
    return counter


def test_a_linear_layer_dispatches_what_can_be_listed_by_hand():
    counted = count_operations(linear_workload(10, 3, optimizer=sgd), cell(2, mode=Mode.INFER))
    assert counted.dispatches == (("aten.mm.default", 1),)
    assert counted.bytes_touched == 4 * (2 * 10 + 10 * 3 + 2 * 3)


def test_views_and_questions_do_not_count():
    counted = _count(lambda x: x.t().unsqueeze(0).expand(4, 3, 2)[0].detach(), torch.ones(2, 3)).result()
    assert (counted.dispatches, counted.bytes_touched) == ((), 0)
    assert not is_counted(torch.ops.prim.device.default)
    assert not is_counted(torch.ops.aten._unsafe_view.default)
    assert is_counted(torch.ops.aten.add.Tensor)


def test_in_place_operations_are_read_and_written():
    assert _count(lambda x: x.add_(1), torch.ones(5)).result().bytes_touched == 2 * 5 * 4


def test_overwriting_does_not_read():
    assert _count(lambda x: x.zero_(), torch.ones(5)).result().bytes_touched == 5 * 4
    assert _count(lambda x, y: x.copy_(y), torch.ones(5), torch.ones(5)).result().bytes_touched == 2 * 5 * 4


def test_an_expanded_tensor_is_read_once():
    counted = _count(lambda x, y: x.expand(8, 6) + y, torch.ones(1, 6), torch.ones(8, 6))
    assert counted.result().bytes_touched == 4 * (6 + 48 + 48)


def test_one_tensor_given_twice_is_read_once():
    assert _count(lambda x: x * x, torch.ones(5)).result().bytes_touched == 2 * 5 * 4


def test_an_embedding_reads_only_the_rows_it_returns():
    counted = _count(nn.functional.embedding, torch.tensor([1, 2]), torch.ones(1000, 4)).result()
    assert counted.bytes_touched == 2 * 8 + 2 * (2 * 4 * 4)


def test_an_empty_tensor_touches_nothing():
    output = torch.empty(3)
    assert touched_bytes(torch.ops.aten.empty.memory_format, ([3],), output) == 0


@pytest.mark.parametrize(
    ("name", "one"),
    [(name, cell(optimizer="adam")) for name in WORKLOADS]
    + [(name, cell(mode=Mode.INFER)) for name in WORKLOADS]
    + [("convolutional", cell(optimizer=optimizer)) for optimizer in ("sgd", "adam-foreach", "adamw-fused")],
    ids=lambda value: value if isinstance(value, str) else value.id,
)
def test_fake_count_equals_the_real_run(name: str, one: Cell):
    with prepare(WORKLOADS[name], one) as step:
        step()
        real = count_step(step)
    counted = count_operations(WORKLOADS[name], one)
    if (
        name == "lstm" and one.mode is Mode.TRAIN
    ):  # the real workspace is rounded to pages; two layers write and read it
        assert abs(counted.bytes_touched - real.bytes_touched) < 2 * 2 * 8 * 4096
        counted = dataclasses.replace(counted, bytes_touched=real.bytes_touched)
    assert counted == real


def test_count_is_the_same_every_time_and_under_load():
    expected = count_operations(WORKLOADS["tied"], cell())
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [torch.randn(32, 32).sum() for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        assert all(count_operations(WORKLOADS["tied"], cell()) == expected for _ in range(3))
    finally:
        stop.set()
        busy.join()


def test_an_added_layer_shows_in_operations_and_bytes():
    base = count_operations(image_workload(convolutional), cell())
    head = count_operations(image_workload(lambda: convolutional(extra=1)), cell())
    before, after = dict(base.dispatches), dict(head.dispatches)
    assert after["aten.convolution.default"] == before["aten.convolution.default"] + 1
    assert after["aten.convolution_backward.default"] == before["aten.convolution_backward.default"] + 1
    assert head.bytes_touched > base.bytes_touched


def test_a_changed_batch_shows_in_bytes_and_not_in_operations():
    base, head = (count_operations(WORKLOADS["convolutional"], cell(batch)) for batch in (16, 17))
    assert head.dispatches == base.dispatches
    assert head.bytes_touched > base.bytes_touched


def test_a_layout_round_trip_shows_in_operations_and_bytes():
    base = count_operations(image_workload(convolutional), cell())
    head = count_operations(image_workload(RoundTrip), cell())
    before, after = dict(base.dispatches), dict(head.dispatches)
    assert after.pop("aten.clone.default") == before.pop("aten.clone.default", 0) + 2
    assert after == before
    assert head.bytes_touched == base.bytes_touched + 2 * 2 * (4 * 4 * 3 * 8 * 8)  # two copies of 4 images, each way


def test_foreach_replaces_operations_per_parameter_by_one():
    for_loop, foreach = (
        dict(count_operations(WORKLOADS["tied"], cell(optimizer=name)).dispatches) for name in ("adam", "adam-foreach")
    )
    assert "aten._foreach_lerp_.Scalar" in foreach
    assert "aten._foreach_lerp_.Scalar" not in for_loop


def test_kernel_launches_are_not_measured_on_the_cpu():
    with prepare(WORKLOADS["tied"], cell()) as step:
        assert count_kernel_launches(step, "cpu") is None


def test_a_profiler_that_sees_no_kernel_is_no_count_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SimpleNamespace(
        profiler_activities=lambda: (torch.profiler.ProfilerActivity.CPU,),
        synchronize=lambda: None,
        is_kernel=lambda event: False,  # noqa: ARG005
    )
    monkeypatch.setattr(dispatches, "backend_of", lambda device: backend)  # noqa: ARG005
    with pytest.raises(RuntimeError, match="saw no kernel of this step: another profiler"):
        dispatches.count_kernel_launches(lambda: torch.ones(2) + 1, "cuda:0")
