"""Which devices are there, and why a precision cannot be had; a GPU is made up."""

from __future__ import annotations

import pytest
import torch

from bench.core.cell import Precision
from bench.core.errors import UsageError
from bench.device.backend import normalise_device, why_not


def have_gpus(monkeypatch: pytest.MonkeyPatch, count: int, capability: tuple[int, int] = (9, 0)) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Test GPU")


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
    (7, 0): {Precision.FP32, Precision.FP16_AMP},
    (7, 5): {Precision.FP32, Precision.FP16_AMP},
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
