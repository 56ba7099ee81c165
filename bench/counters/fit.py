"""Find the largest batch that fits into a memory, by predicting and not by trying.

Two-point extrapolation is off by 2-3 %, because the instant of the peak moves with the batch. So every answer is
bracketed: `batch_size` was predicted to fit, and `batch_size + 1` was predicted not to.

    grow:   follow the line through the last two probes (at least double, at most 64-fold) until a batch does not fit
    search: between fits and does not fit, guess by the line through both ends, test the guess, keep that part;
            halve where two guesses in a row did not
"""

from __future__ import annotations

import dataclasses

from bench.core.cell import Cell
from bench.core.errors import UsageError
from bench.core.fit import Fit, FitLimit, Probe
from bench.core.record import PredictedPeak
from bench.core.workload import Workload
from bench.counters.memory import predict

__all__ = ["MAX_BATCH_SIZE", "Fit", "FitLimit", "Probe", "fit"]

MAX_BATCH_SIZE = 2**20
"""Nothing larger is tried."""


def fit(
    workload: Workload,
    cell: Cell,
    memory_bytes: int,
    *,
    workspace_bytes: int = 0,
    max_batch_size: int = MAX_BATCH_SIZE,
) -> Fit:
    """Find the largest batch whose predicted peak is within `memory_bytes`; the cell's own batch size is ignored.

    Assumes that memory never falls as the batch grows. On CUDA leave room for what is not predicted: the context,
    convolutions' workspaces, fragmentation. `workspace_bytes` is what matrix products take beside all tensors.

    Raises:
        UsageError: A memory or a limit below 1.
    """
    if memory_bytes < 1 or max_batch_size < 1:
        raise UsageError(f"memory and largest batch must be positive, not {memory_bytes} and {max_batch_size}")
    search = _Search(workload, cell, memory_bytes, workspace_bytes)
    smallest = search.smallest_batch()
    fits, fails = 0, smallest
    while fails <= max_batch_size and search.is_within(fails):
        fits, fails = fails, min(search.next_larger(fails), max_batch_size) if fails < max_batch_size else fails + 1
    if fits == 0:
        return search.result(0, FitLimit.MODEL)
    if fails > max_batch_size:
        return search.result(fits, FitLimit.SEARCH)
    guesses, width = 0, fails - fits
    while fails - fits > 1:
        guess = search.guess(fits, fails) if guesses < 2 else (fits + fails) // 2
        if search.is_within(guess):
            fits = guess
        else:
            fails = guess
        guesses += 1
        if 2 * (fails - fits) <= width:
            guesses, width = 0, fails - fits
    return search.result(fits, FitLimit.MEMORY)


class _Search:
    """Predicts each batch size once and remembers it."""

    def __init__(self, workload: Workload, cell: Cell, memory_bytes: int, workspace_bytes: int) -> None:
        self._workload = workload
        self._cell = cell
        self._memory_bytes = memory_bytes
        self._workspace_bytes = workspace_bytes
        self._peaks: dict[int, PredictedPeak] = {}

    def smallest_batch(self) -> int:
        """Return 1, or 2 for models that cannot train on one example (batch normalisation of single values)."""
        try:
            self._total(1)
        except ValueError:
            self._total(2)
            return 2
        return 1

    def is_within(self, batch_size: int) -> bool:
        return self._total(batch_size) <= self._memory_bytes

    def next_larger(self, fits: int) -> int:
        """Name which larger batch to try next: where the line through the last two probes leaves the memory."""
        smaller = max((size for size in self._peaks if size < fits), default=None)
        if smaller is None:
            return 2 * fits
        slope = (self._total(fits) - self._total(smaller)) / (fits - smaller)
        room = self._memory_bytes - self._total(fits)
        estimate = fits + int(room / slope) + 1 if slope > 0 else 64 * fits
        return min(max(estimate, 2 * fits), 64 * fits)

    def guess(self, fits: int, fails: int) -> int:
        """Guess the largest batch by the line through two known ones; strictly between them."""
        low, high = self._total(fits), self._total(fails)
        batch = fits + int((fails - fits) * (self._memory_bytes - low) / (high - low))
        return min(max(batch, fits + 1), fails - 1)

    def result(self, batch_size: int, limited_by: FitLimit) -> Fit:
        probes = tuple(Probe(batch_size=size, peak=peak) for size, peak in sorted(self._peaks.items()))
        slope = intercept = None
        if len(probes) > 1:
            first, last = probes[0], next((p for p in probes[1:] if p.batch_size >= batch_size), probes[-1])
            slope = (last.peak.total_bytes - first.peak.total_bytes) / (last.batch_size - first.batch_size)
            intercept = first.peak.total_bytes - slope * first.batch_size
        return Fit(
            batch_size=batch_size,
            memory_bytes=self._memory_bytes,
            limited_by=limited_by,
            probes=probes,
            slope_bytes_per_example=slope,
            intercept_bytes=intercept,
        )

    def _total(self, batch_size: int) -> int:
        if batch_size not in self._peaks:
            peak = predict(self._workload, dataclasses.replace(self._cell, batch_size=batch_size))
            self._peaks[batch_size] = peak.with_workspace(self._workspace_bytes)
        return self._peaks[batch_size].total_bytes
