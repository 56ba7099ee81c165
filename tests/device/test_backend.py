"""The CPU needs no waiting; an accelerator's milliseconds become seconds in one place."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from bench.device.backend import is_accelerator, record_event, seconds_between, synchronize


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
    assert seconds_between(start, end) == 0.0125
    start.elapsed_time.assert_called_once_with(end)


def test_an_event_is_a_timing_event_in_the_current_stream() -> None:
    with mock.patch.object(torch, "Event", autospec=True) as event:
        made = record_event("cuda:0")
    event.assert_called_once_with("cuda:0", enable_timing=True)
    made.record.assert_called_once_with()


@pytest.mark.gpu
def test_real_events_measure_real_work() -> None:
    matrix = torch.rand(2048, 2048, device="cuda:0")
    start = record_event("cuda:0")
    matrix @ matrix
    end = record_event("cuda:0")
    synchronize("cuda:0")
    assert seconds_between(start, end) > 0
