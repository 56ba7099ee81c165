"""Synchronise, and mark points on a device's own timeline."""

from __future__ import annotations

import torch


def is_accelerator(device: str) -> bool:
    """Whether work on this device runs asynchronously beside the host."""
    return torch.device(device).type != "cpu"


def synchronize(device: str) -> None:
    """Wait until the device has done all work that was queued; nothing to wait for on the CPU."""
    if is_accelerator(device):
        torch.accelerator.synchronize(device)


def record_event(device: str) -> torch.Event:
    """Put a timing event into the current stream of the device; does not synchronise."""
    event = torch.Event(device, enable_timing=True)
    event.record()
    return event


def seconds_between(start: torch.Event, end: torch.Event) -> float:
    """Read the time between two recorded events; the caller has synchronised.

    torch gives milliseconds; this is the one place that converts them.
    """
    return float(start.elapsed_time(end)) / 1e3
