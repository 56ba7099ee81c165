"""Which devices are there, and why a precision cannot be had; a GPU is made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.core.cell import Precision
from bench.core.errors import UsageError
from bench.core.record import Outcome
from bench.device.backend import is_missing_kernel, normalise_device, why_not
from bench.runner.endings import failure


def have_gpus(monkeypatch: pytest.MonkeyPatch, count: int, capability: tuple[int, int] = (9, 0)) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Test GPU")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)


@pytest.mark.parametrize(
    ("count", "text", "expected"),
    [
        (0, "cpu", "cpu"),
        (0, "auto", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_a_device_name_is_completed(monkeypatch: pytest.MonkeyPatch, count: int, text: str, expected: str) -> None:
    have_gpus(monkeypatch, count)
    assert normalise_device(text) == expected


@pytest.mark.parametrize(
    ("count", "text", "words"),
    [
        (0, "cuda", "no CUDA device"),
        (0, "cuda:0", "no CUDA device"),
        (1, "cuda:1", "1 CUDA device here"),
        (2, "cuda:2", "2 CUDA devices"),
        (1, "gpu0", "no device kind 'gpu0'"),
        (1, "cuda:-1", "no device kind"),
        (1, "cuda:x", "no device kind"),
        (1, "", "no device kind ''"),
        (1, "CUDA", "no device kind 'CUDA'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, count: int, text: str, words: str
) -> None:
    have_gpus(monkeypatch, count)
    with pytest.raises(UsageError) as caught:
        normalise_device(text)
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", Precision)
def test_a_cpu_can_do_all_but_tf32(precision: Precision) -> None:
    reason = why_not("cpu", precision)
    assert (reason is not None) is (precision is Precision.TF32)


CAN = {
    (7, 0): {Precision.FP32, Precision.FP16_AMP, Precision.FP16, Precision.FP64},
    (7, 5): {Precision.FP32, Precision.FP16_AMP, Precision.FP16, Precision.FP64},
    (8, 0): set(Precision),
    (9, 0): set(Precision),
}


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("capability", CAN)
def test_a_gpu_can_do_what_its_compute_capability_says(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: Precision
) -> None:
    have_gpus(monkeypatch, 1, capability)
    reason = why_not("cuda:0", precision)
    assert (reason is None) is (precision in CAN[capability])
    if reason is not None:
        assert "Test GPU" in reason
        assert f"{capability[0]}.{capability[1]}" in reason
        assert precision.value in reason


def test_a_cpu_without_autocast_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _kind: False)
    assert "autocast" in (why_not("cpu", Precision.BF16_AMP) or "")
    assert why_not("cpu", Precision.FP32) is None


@pytest.mark.parametrize(
    "compute",
    [
        lambda: torch.nn.functional.ctc_loss(
            torch.zeros(5, 1, 3, dtype=torch.half),
            torch.ones(1, 2, dtype=torch.long),
            torch.tensor([5]),
            torch.tensor([2]),
        ),
        lambda: torch.cdist(torch.zeros(2, 2, dtype=torch.half), torch.zeros(2, 2, dtype=torch.half)),
        lambda: torch.linalg.inv(torch.eye(2, dtype=torch.bfloat16)),
    ],
)
def test_a_kernel_that_torch_lacks_for_a_type_skips_the_cell(compute: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError) as caught:
        compute()
    assert is_missing_kernel(caught.value)
    ending = failure(caught.value)
    assert ending.outcome is Outcome.SKIPPED
    assert str(caught.value).split("\n")[0][:40] in str(ending.reason)


@pytest.mark.parametrize(
    "compute",
    [
        lambda: torch.ones(2, dtype=torch.long).mean(),
        lambda: torch.mm(torch.zeros(2, 2, dtype=torch.half), torch.zeros(2, 2)),
        lambda: torch.zeros(2, 2) @ torch.zeros(3, 3),
    ],
)
def test_a_mistake_of_the_model_is_no_missing_kernel(compute: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError) as caught:
        compute()
    assert not is_missing_kernel(caught.value)


def test_onednn_without_a_primitive_is_a_missing_kernel() -> None:
    assert is_missing_kernel(RuntimeError("could not create a primitive descriptor for the LSTM forward propagation"))
    assert not is_missing_kernel(ValueError("could not create a primitive"))
