"""Synchronise, and mark points on a device's own timeline.

Which devices are there, and what they can do; a reason in words where they cannot.
"""

from __future__ import annotations

import os
import re

import torch

from bench.core.cell import Precision
from bench.core.errors import DeviceError

# torch then asks NVML instead of initialising CUDA, so that a process that only looks can still fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


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


_CUDA = re.compile(r"cuda(?::([0-9]+))?")


def normalise_device(text: str) -> str:
    """Check a device name and complete it: `cuda` is `cuda:0`, `auto` is the first GPU or else the CPU.

    Raises:
        DeviceError: No such kind of device, or none of that number here.
    """
    if text == "cpu":
        return "cpu"
    count = torch.cuda.device_count()
    if text == "auto":
        return "cuda:0" if count else "cpu"
    match = _CUDA.fullmatch(text)
    if match is None:
        raise DeviceError(f"no device kind {text!r}; use 'cpu', 'cuda', 'cuda:N' or 'auto'")
    index = int(match[1] or 0)
    if index >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise DeviceError(f"device {text!r} was asked for, but torch sees {found} here; use --device cpu")
    return f"cuda:{index}"


def why_not(device: str, precision: Precision) -> str | None:
    """Say why a device cannot compute in a precision; None if it can."""
    kind = torch.device(device).type
    if precision is Precision.FP32:
        return None
    if kind == "cpu":
        if precision is Precision.TF32:
            return "tf32 is a mode of CUDA matrix units; a CPU computes fp32 in full"
        return None if torch.amp.is_autocast_available("cpu") else "this build of torch has no autocast on the CPU"
    major, minor = torch.cuda.get_device_capability(device)
    if precision is Precision.FP16_AMP:
        return None
    if major < 8:
        return (
            f"{precision.value} needs compute capability 8.0; {torch.cuda.get_device_name(device)} has {major}.{minor}"
        )
    return None
