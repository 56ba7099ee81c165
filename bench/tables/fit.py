"""The largest batches that fit: a row per cell, then sentences on what fills the memory and how it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from bench.core.cell import Cell
from bench.core.fit import Fit, FitLimit, FittedCell, Verification
from bench.core.record import Outcome, PredictedPeak
from bench.core.units import format_bytes
from bench.tables.columns import MISSING, bytes_column, figure_column, whole
from bench.tables.document import Document, Notes, Rows, Text
from bench.tables.figures import plain
from bench.tables.table import Column

_CAUSES = tuple(f.name for f in fields(PredictedPeak) if f.name != "total_bytes")
_SHORT = {"saved_activations_bytes": "activations", "optimizer_state_bytes": "optimizer", "temporary_bytes": "temp"}
_LIBRARIES = "workspace_bytes"
"""None on a CPU, and then not shown."""


def fit_document(fitted: Sequence[FittedCell], free_bytes: Sequence[tuple[str, int]] = ()) -> Document:
    """Make the answer of `bench fit`; with the free memory of each device, if it was not given but read."""
    spans = {row: plain(one.reason or "") for row, one in enumerate(fitted) if one.fit is None}
    styles: dict[int, str | None] = {
        row: "red" for row, one in enumerate(fitted) if one.is_refuted or one.fit is None or not one.fit.batch_size
    }
    free = [f"{device}: {format_bytes(size)} are free; 90 % of it may be filled" for device, size in free_bytes]
    return [
        *(Text(text=line, close=True) for line in free),
        Rows(columns=_columns(fitted), spans=spans, styles=styles, close=True),
        Notes(lines=[sentence for one in fitted for sentence in _sentences(one)]),
    ]


def _columns(fitted: Sequence[FittedCell]) -> list[Column]:
    cells = [one.cell for one in fitted]
    fits = [one.fit for one in fitted]
    peaks = [fit.peak if fit else None for fit in fits]
    live = [one.verification.live.total_bytes if one.verification and one.verification.live else None for one in fitted]
    axes = [name for name in ("mode", "device", "precision", "optimizer") if len({getattr(c, name) for c in cells}) > 1]
    return [
        Column(name="model", cells=tuple(plain(cell.model) for cell in cells), right=False, key=True),
        *(Column(name=name, cells=tuple(_axis(cell, name) for cell in cells), right=False, key=True) for name in axes),
        *figure_column("largest batch", [fit.batch_size if fit else None for fit in fits], 0, whole),
        *bytes_column("memory", [fit.memory_bytes if fit else None for fit in fits], 1),
        *bytes_column("peak", [peak.total_bytes if peak else None for peak in peaks], 0),
        *bytes_column("live", live, 0),
        *bytes_column("per example", [fit.slope_bytes_per_example if fit else None for fit in fits], 1),
        *bytes_column("batch 0", [fit.intercept_bytes if fit else None for fit in fits], 1),
        *(
            column
            for name in _CAUSES
            if name != _LIBRARIES or any(peak and peak.workspace_bytes for peak in peaks)
            for column in bytes_column(_short(name), [getattr(peak, name) if peak else None for peak in peaks], 2)
        ),
    ]


def _axis(cell: Cell, name: str) -> str:
    value = getattr(cell, name)
    return "own" if value is None else plain(str(value))


def _short(name: str) -> str:
    return _SHORT.get(name, name.removesuffix("_bytes"))


def _sentences(one: FittedCell) -> list[str]:
    """Describe what fills the memory, how it grows, what limits the batch, and the result of a real run."""
    name, fit = plain(one.cell.model), one.fit
    if fit is None:
        return [f"{name}: {plain(one.reason or MISSING)}"]
    sentences = [_peak_sentence(name, one.cell, fit)]
    if one.verification is not None and fit.peak is not None:
        sentences.append(f"{name}: {_verification_text(one.verification, fit.peak, fit.memory_bytes)}")
    return sentences


def _peak_sentence(name: str, cell: Cell, fit: Fit) -> str:
    grows = ""
    if fit.slope_bytes_per_example is not None:
        slope, start = format_bytes(fit.slope_bytes_per_example), format_bytes(fit.intercept_bytes)
        grows = f"; it grows by {slope} per example from {start}"
    if fit.peak is None:
        probe = fit.probes[0]
        need = format_bytes(probe.peak.total_bytes)
        return f"{name}: not even batch {probe.batch_size} fits: it needs {need}{grows}"
    causes = [(getattr(fit.peak, cause), _short(cause)) for cause in _CAUSES]
    filled = ", ".join(f"{label} {format_bytes(size)}" for size, label in sorted(causes, reverse=True) if size)
    limit = {
        FitLimit.MEMORY: f"batch {fit.batch_size + 1:,} does not fit",
        FitLimit.SEARCH: "larger ones were not tried",
        FitLimit.MODEL: "",
    }[fit.limited_by]
    return f"{name}: batch {cell.batch_size:,} fills {format_bytes(fit.peak.total_bytes)} ({filled}){grows}; {limit}"


def _verification_text(run: Verification, predicted: PredictedPeak, memory_bytes: int) -> str:
    if run.outcome is Outcome.SKIPPED:
        return f"not verified: {plain(run.reason or MISSING)}"
    if run.live is None:
        return f"REFUTED: the real run ended {run.outcome.value.replace('_', ' ')}: {plain(run.reason or MISSING)}"
    live, allocator = run.live.total_bytes, ""
    tensors = predicted.total_bytes - predicted.workspace_bytes
    if run.allocated_bytes is not None:
        allocator = f"; the allocator's peak was {format_bytes(run.allocated_bytes)}"
    if live == tensors:
        found = "exactly as predicted"
    else:
        found = f"{abs(live / tensors - 1):.2%} {'more' if live > tensors else 'less'} than the {tensors:,} predicted"
    verdict = "REFUTED by a real run" if live > memory_bytes else "verified in a real run"
    return f"{verdict}: {live:,} bytes were alive at the peak, {found}{allocator}"
