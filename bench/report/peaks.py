"""What a device can do at most, to eyes: a row per probe, the data sheet beside it."""

from __future__ import annotations

from bench.core.cell import Precision
from bench.core.environment import BUSY_CORES_LIMIT
from bench.core.peaks import Peaks, Probe, ProbeKind
from bench.core.units import counted, format_bytes, format_count
from bench.report.columns import MISSING
from bench.report.figures import percent, plain, significant
from bench.report.layout import Column, Page, render


def peaks_table(peaks: Peaks, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write the probes of a device, and where its ridge lies.

    Args:
        peaks: Of one device.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    probes = peaks.probes
    documented = [_documented(peaks, probe) for probe in probes]
    is_documented = any(value is not None for value in documented)
    columns = [
        Column(header="probe", cells=tuple(_name(probe) for probe in probes), right=False, key=True),
        Column(header="size", cells=tuple(_size(probe) for probe in probes), right=False, rank=1),
        Column(header="best", cells=tuple(_rate(probe, probe.best_per_second) for probe in probes)),
        Column(header="median", cells=tuple(_rate(probe, probe.median_per_second) for probe in probes), rank=1),
        Column(header="runs", cells=tuple(str(probe.n) for probe in probes), rank=2),
    ]
    if is_documented:
        columns += [
            Column(
                header="data sheet",
                cells=tuple(
                    MISSING if value is None else _rate(probe, value)
                    for probe, value in zip(probes, documented, strict=True)
                ),
            ),
            Column(
                header="reached %",
                cells=tuple(
                    percent(probe.best_per_second / value if value else None)
                    for probe, value in zip(probes, documented, strict=True)
                ),
            ),
        ]
    threads = f", {counted(peaks.threads, 'thread')}" if peaks.device == "cpu" else ""
    caption = f"{plain(peaks.name)} as {peaks.device}{threads}"
    parts = [page.paint(page.wrap(caption), "dim"), "", render(columns, page), ""]
    ridges = [
        f"{peak.arithmetic.value} {significant(peak.ridge)}"
        for precision in (Precision.FP32, Precision.TF32, Precision.BF16, Precision.FP16_AMP)
        if (peak := peaks.over(precision)).ridge is not None
    ]
    if ridges:
        meaning = "compute is the limit above so many FLOPs per byte, memory below"
        parts.append(page.wrap(f"Ridge: {', '.join(ridges)} ({meaning})."))
    parts += [page.wrap(f"Not probed: {arithmetic.value}: {plain(reason)}.") for arithmetic, reason in peaks.skipped]
    busy = peaks.other_busy_cores
    if busy is not None and busy > BUSY_CORES_LIMIT:
        words = f"Other processes kept {significant(busy, 2)} cores busy meanwhile: these peaks are too low."
        parts.append(page.paint(page.wrap(f"{words} Run it again on a quiet machine."), "yellow"))
    sheet = peaks.datasheet
    parts.append(
        page.wrap(f"Data sheet: {sheet.source}; dense, without sparsity.")
        if sheet
        else page.wrap("Data sheet: none known for exactly this device; utilization is against what was measured.")
    )
    return "\n".join(parts)


def _name(probe: Probe) -> str:
    return f"{probe.kind.value} {probe.arithmetic.value}" if probe.arithmetic else probe.kind.value


def _size(probe: Probe) -> str:
    return f"{probe.size} x {probe.size}" if probe.kind is ProbeKind.MATMUL else format_bytes(probe.size)


def _rate(probe: Probe, per_second: float) -> str:
    return format_count(per_second, "FLOP/s" if probe.kind is ProbeKind.MATMUL else "B/s")


def _documented(peaks: Peaks, probe: Probe) -> float | None:
    sheet = peaks.datasheet
    if sheet is None:
        return None
    return dict(sheet.flops_per_second).get(probe.arithmetic) if probe.arithmetic else sheet.bytes_per_second
