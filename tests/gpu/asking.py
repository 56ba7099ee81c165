"""What a question measures by itself, beside stepbench's answer: through `Backend`, so a fake is asked the same."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml

from bench.device import nvml
from bench.device.backend import Backend
from bench.device.readings import Glance

COMMAND_SECONDS = 200.0

BUSY = 0.9
"""A GPU works where kernels ran in this share of the last moments."""


def write_answer(question: str, wrong: list[str], figures: dict[str, Any]) -> None:
    """Write one line to `$OUT/gpu.jsonl`, or `results/gpu/gpu.jsonl`."""
    folder = Path(os.environ.get("OUT", "results/gpu"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "gpu.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"question": question, "wrong": wrong, "figures": figures}, default=str) + "\n")


def is_listed(uuid: str) -> bool:
    """Whether NVML lists this process by its own number, which in a container it need not."""
    with nvml.opened() as is_open:
        handle = nvml._handle(uuid) if is_open else None
        found = () if handle is None else nvml._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        return any(one.pid == os.getpid() for one in found or ())


def wall(step: Callable[[], object], backend: Backend, seconds: float = 1.5, least: int = 20) -> float:
    """Time a plain loop of steps by the wall clock, after a second of the same."""
    for lasting in (1.0, seconds):
        backend.synchronize()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < lasting or count < least:
            step()
            count += 1
            if count % 200 == 0:
                backend.synchronize()
        backend.synchronize()
        taken = (time.perf_counter() - started) / count
    return taken


def launching(step: Callable[[], object], backend: Backend, count: int = 20) -> float:
    """Time what launching one step takes the host at least, each into an empty queue."""
    taken = []
    for _ in range(count):
        backend.synchronize()
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return min(taken)


def power(step: Callable[[], object], backend: Backend, uuid: str, seconds: float = 4.0) -> tuple[float, float]:
    """Sample the power while a plain loop of steps runs; return mean watts, and joules of a step."""
    meter = backend.find_meter(uuid)
    assert not isinstance(meter, str), meter
    watts: list[float] = []
    with meter.opened():
        wall(step, backend, 0.5)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            step()
            count += 1
            if count % 20 == 0:
                watts.append(meter.watts() or 0.0)
                backend.synchronize()
        backend.synchronize()
        taken = time.perf_counter() - started
    mean = statistics.fmean(watts)
    return mean, mean * taken / count


def peak(step: Callable[[], object], backend: Backend) -> dict[str, int | None]:
    """Read the allocator's peak over a step, when one before has allocated what stays."""
    step()
    backend.reset_peak()
    step()
    backend.synchronize()
    found = backend.allocator()
    return {"peak": found.peak_allocated, "requested": found.peak_requested, "held": found.allocated}


def look(uuid: str, seen: list[Glance]) -> None:
    """Note clock, power and throttling, if the GPU works; asks the driver alone, and needs no context."""
    load, glance = nvml.read_load(uuid), nvml.glance(uuid)
    if load is not None and load >= BUSY and glance is not None:
        seen.append(glance)


@contextlib.contextmanager
def watched(uuid: str) -> Iterator[list[Glance]]:
    """Look at the GPU every 20 ms inside, whoever uses it."""
    seen: list[Glance] = []
    is_over = threading.Event()

    def watch() -> None:
        with nvml.opened():
            while not is_over.wait(0.02):
                look(uuid, seen)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()
