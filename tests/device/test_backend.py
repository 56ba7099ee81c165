"""The CPU needs no waiting; an accelerator's milliseconds become seconds in one place."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from bench.device.backend import backend_of, is_accelerator, synchronize


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("cuda", True), ("cuda:1", True)])
def test_only_the_cpu_works_in_step_with_the_host(device: str, expected: bool) -> None:
    assert is_accelerator(device) is expected


def test_synchronise_waits_for_accelerators_only() -> None:
    with mock.patch.object(torch.accelerator, "synchronize") as wait:
        synchronize("cpu")
        wait.assert_not_called()
        synchronize("cuda:1")
        wait.assert_called_once_with("cuda:1")


def test_milliseconds_of_events_become_seconds() -> None:
    start = mock.create_autospec(torch.Event, instance=True)
    end = mock.create_autospec(torch.Event, instance=True)
    start.elapsed_time.return_value = 12.5
    assert backend_of("cuda:0").seconds_between(start, end) == 0.0125
    start.elapsed_time.assert_called_once_with(end)


def test_an_event_is_a_timing_event_in_the_current_stream() -> None:
    with (
        mock.patch.object(torch, "Event", autospec=True) as event,
        mock.patch.object(torch.accelerator, "current_stream", autospec=True) as stream,
    ):
        made = backend_of("cuda:1").mark()
    event.assert_called_once_with("cuda:1", enable_timing=True)
    stream.assert_called_once_with(1)  # not that of the process's current device
    made.record.assert_called_once_with(stream.return_value)


@pytest.mark.gpu
def test_real_events_measure_real_work() -> None:
    matrix = torch.rand(2048, 2048, device="cuda:0")
    backend = backend_of("cuda:0")
    start = backend.mark()
    matrix @ matrix
    end = backend.mark()
    backend.synchronize()
    assert backend.seconds_between(start, end) > 0
