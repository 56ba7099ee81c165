"""Probe a device: what it can do at most, by products of square matrices and by moving memory, and how slow it is.

matmul   C = A B                  2 n^3 FLOPs
copy     c = a                    2 arrays of bytes
triad    a = b + s c              3 arrays of bytes

Bytes are counted as STREAM counts them (J. McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance
Computers", 1995): what the program reads and writes, not what a cache fetches before it overwrites a line. Arrays are
at least four times the last-level cache.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.cell import Cell
from bench.core.peaks import Probe, ProbeKind
from bench.core.precision import Arithmetic, Precision, first_of
from bench.core.progress import tell
from bench.core.text import plain
from bench.core.workload import Workload
from bench.device.backend import backend_of, is_accelerator, why_not
from bench.device.cpu import last_level_cache_bytes
from bench.device.prepare import prepare
from bench.device.settings import cell_settings
from bench.measure.blocks import time_steps, without_garbage_collection
from bench.measure.clock import Clock, clock_for
from bench.measure.window import Unwatched

CPU_SIZES = (256, 1024, 2048)
ACCELERATOR_SIZES = (1024, 4096, 8192, 16384)
_LEAST_ARRAY = 64 * 2**20
_LARGEST_ARRAY = 2**30
_LEAST_RUNS = 5
_PATIENCE = 3  # a size may take so many times the seconds asked for


def probe_products(
    device: str,
    seconds: float = 1.0,
    sizes: Sequence[int] | None = None,
    window: Unwatched | None = None,
) -> tuple[tuple[Probe, ...], tuple[tuple[Arithmetic, str], ...]]:
    """Time matrix products in every arithmetic of a device, up to the largest size that is affordable.

    The rate of one size tells whether to try one product of the next, and that one product whether the size is probed:
    small products on a busy CPU are far slower than their share, and one of 2048 rows without bf16 instructions takes
    a minute. `window` has the clock, and is entered for each probe, when it is warm.

    Returns:
        The probes, and each arithmetic that was not probed, or not at every size, with the reason.
    """
    window = window or Unwatched(clock_for(device))
    sizes = sizes or (ACCELERATOR_SIZES if is_accelerator(device) else CPU_SIZES)
    probes: list[Probe] = []
    skipped: list[tuple[Arithmetic, str]] = []
    for number, arithmetic in enumerate(Arithmetic):
        precision = first_of(arithmetic)
        reason = why_not(device, precision) if precision else _why_not_scaled(device, arithmetic)
        if reason is not None:
            skipped.append((arithmetic, reason))
            continue
        one_takes = 0.0  # what one product of the next size will take at the rate of the last
        for index, (size, larger) in enumerate(itertools.zip_longest(sizes, sizes[1:])):
            tell("probing products", number * len(sizes) + index, len(Arithmetic) * len(sizes))
            if one_takes > _PATIENCE * seconds:
                skipped.append((arithmetic, _too_long(size, one_takes)))
                break
            held = Cell(model="peaks", batch_size=1, device=device, precision=precision or Precision.FP32)
            with cell_settings(held):
                run = (
                    _product(device, size, getattr(torch, precision.row.product_type))
                    if precision
                    else _scaled_product(device, size)
                )
                if size != sizes[0]:
                    needed = (2 + _LEAST_RUNS) * _seconds_of_one(run, window.clock)
                    if needed > _PATIENCE * seconds:
                        skipped.append((arithmetic, _too_long(size, needed)))
                        break
                probe = _probe(run, seconds, window, ProbeKind.MATMUL, arithmetic, size, 2 * size**3)
            probes.append(probe)
            if larger is not None:
                one_takes = 2 * larger**3 / probe.best_per_second
    return tuple(probes), tuple(skipped)


def probe_memory(
    device: str,
    seconds: float = 1.0,
    array_bytes: int | None = None,
    window: Unwatched | None = None,
) -> tuple[Probe, ...]:
    """Time copy and triad, so long each, on three float32 arrays that no cache holds; the window as for products."""
    tell("probing copies")
    window = window or Unwatched(clock_for(device))
    size = array_bytes or _array_bytes(device)
    target, source, other = (torch.zeros(size // 4, device=device) for _ in range(3))  # zeros: every page is touched
    runs: tuple[tuple[ProbeKind, int, Callable[[], Any]], ...] = (
        (ProbeKind.COPY, 2, lambda: target.copy_(source)),
        (ProbeKind.TRIAD, 3, lambda: torch.add(source, other, alpha=3.0, out=target)),
    )
    return tuple(_probe(run, seconds, window, kind, None, size, arrays * size) for kind, arrays, run in runs)


def _seconds_of_one(run: Callable[[], Any], clock: Clock) -> float:
    clock.start()
    run()
    clock.mark()
    (taken,), _ = clock.collect()
    return taken


def _too_long(size: int, needed: float) -> str:
    """Report that a size was left out, and with how many seconds it may not be."""
    return f"products of {size} rows take too long; try --seconds {max(1, math.ceil(needed / _PATIENCE))}s"


def _product(device: str, size: int, dtype: torch.dtype) -> Callable[[], Any]:
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    out = torch.empty(size, size, device=device, dtype=dtype)
    return lambda: torch.mm(left, right, out=out)


def _scaled_product(device: str, size: int) -> Callable[[], Any]:
    """Multiply in fp8 with one scale per matrix; the second one lies column by column, as the kernel wants it.

    With fast accumulation, without which Hopper's tensor cores are far from their rate.
    """
    left, right = (torch.randn(size, size, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device=device)
    return lambda: torch._scaled_mm(
        left, right.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
    )


def _why_not_scaled(device: str, arithmetic: Arithmetic) -> str | None:
    """Return why a device cannot multiply with scales; besides what it lacks, torch may have no kernel for it."""
    lacks = backend_of(device).lacks(arithmetic)
    if lacks is not None:
        return f"{arithmetic.value} {lacks}"
    try:
        _scaled_product(device, 64)()
    except (RuntimeError, AttributeError) as error:
        return f"torch._scaled_mm cannot here: {plain(str(error).strip().partition(chr(10))[0])}"
    return None


def _probe(
    run: Callable[[], Any],
    seconds: float,
    window: Unwatched,
    kind: ProbeKind,
    arithmetic: Arithmetic | None,
    size: int,
    work: int,
) -> Probe:
    taken = list(_time(run, seconds, window))
    return Probe(
        kind=kind,
        arithmetic=arithmetic,
        size=size,
        work=work,
        best_per_second=work / min(taken),
        median_per_second=work / statistics.median(taken),
        n=len(taken),
    )


def _time(
    run: Callable[[], Any],
    seconds: float,
    window: Unwatched,
) -> Iterator[float]:
    """Warm up for a third of the time, then yield the seconds of one execution after another, inside the window."""
    clock = window.clock
    with without_garbage_collection():
        _seconds_of_one(run, clock)  # it may load a library, while the device idles
        started = time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            _seconds_of_one(run, clock)
        with window:
            started, count = time.perf_counter(), 0
            while count < _LEAST_RUNS or time.perf_counter() - started < seconds:
                clock.start()
                for _ in range(_LEAST_RUNS):  # one wait for the device per five executions, as in a block of steps
                    run()
                    clock.mark()
                taken, _ = clock.collect()
                count += len(taken)
                yield from taken


def _array_bytes(device: str) -> int:
    """Choose the size of one array: four times the last-level cache, at most a tenth of the free memory."""
    wanted = _LARGEST_ARRAY if is_accelerator(device) else max(_LEAST_ARRAY, 4 * last_level_cache_bytes())
    free = backend_of(device).free_bytes() or wanted * 10
    return max(4, min(wanted, _LARGEST_ARRAY, free // 10) // 4 * 4)


_WIDTH = 256
_TURNS = 3
_STEPS = 5
_PATIENCE_SECONDS = 0.1


def _batch(batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
    return (torch.randn(batch_size, _WIDTH, device=device),), torch.randn(batch_size, _WIDTH, device=device)


_PROBE = Workload(
    name="probe",
    build_model=lambda: nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH)),
    make_batch=_batch,
    loss=lambda outputs, targets: (outputs.float() - targets.float()).square().mean(),
    make_optimizer=torch.optim.Adam,
)


def measure_slowdown(device: str, precision: Precision) -> float:
    """Compare a step in `precision` with one in fp32, in well under a second.

    A matrix product alone is no probe: on many a CPU it is fast in bf16 while training steps are slower. So it is two
    small linear layers, forward and backward under the precision's own autocast or casts, with Adam. On one thread, and
    by the fastest of several turns: other work on the machine must not decide which cells are measured.

    Returns:
        The ratio of the fastest steps, of three turns of up to 0.1 s and five steps each; 2 is twice as slow.
    """
    pair = (precision, Precision.FP32)
    with without_garbage_collection():
        turns = [[_fastest_step(device, one) for one in pair] for _ in range(_TURNS)]
    return min(seconds for seconds, _ in turns) / min(seconds for _, seconds in turns)


def _fastest_step(device: str, precision: Precision) -> float:
    cell = Cell(model="probe", batch_size=64, device=device, precision=precision, threads=1)
    clock = clock_for(device)
    with prepare(_PROBE, cell) as step:
        started = time.perf_counter()
        step()
        taken: list[float] = []
        while not taken or (len(taken) < _STEPS and time.perf_counter() - started < _PATIENCE_SECONDS):
            taken += time_steps(step, clock, 1)[0]
    return min(taken)
