"""The peaks of a device, a row per probe beside its data sheet; the noise of a machine, a row per cell.

Also writes every field of an environment as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from bench.core.comparison import CellNoise
from bench.core.environment import BUSY_CORES_LIMIT, Environment
from bench.core.peaks import Peaks, Probe, ProbeKind
from bench.core.precision import Arithmetic, first_of
from bench.core.units import counted, format_bytes, format_count
from bench.tables.comparison import change, percent_of, short_names
from bench.tables.document import Document, Notes, Rows, Text
from bench.tables.figures import percent, plain, significant, words
from bench.tables.table import Column


def peaks_document(peaks: Peaks) -> Document:
    """Make the table of one device's probes, and name its ridges."""
    probes = peaks.probes
    documented = [_documented(peaks, probe) for probe in probes]
    reached = [
        percent(probe.best_per_second / value if value else None)
        for probe, value in zip(probes, documented, strict=True)
    ]
    columns = [
        Column(name="probe", cells=tuple(_name(probe) for probe in probes), right=False, key=True),
        Column(name="size", cells=tuple(_size(probe) for probe in probes), right=False, rank=1),
        Column(name="best", cells=tuple(_rate(probe, probe.best_per_second) for probe in probes)),
        Column(name="median", cells=tuple(_rate(probe, probe.median_per_second) for probe in probes), rank=1),
        Column(name="runs", cells=tuple(str(probe.n) for probe in probes), rank=2),
    ]
    if any(value is not None for value in documented):
        rates = tuple(_rate(probe, value) for probe, value in zip(probes, documented, strict=True))
        columns += [Column(name="data sheet", cells=rates), Column(name="reached", unit="%", cells=tuple(reached))]
    threads = f", {counted(peaks.threads, 'thread')}" if ":" not in peaks.device else ""
    caption = f"{plain(peaks.name)} as {peaks.device}{threads}"
    ridges = [
        f"{peak.arithmetic.value} {significant(peak.ridge)}"
        for precision in filter(None, map(first_of, Arithmetic))
        if (peak := peaks.over(precision)).ridge is not None
    ]
    meaning = "compute is the limit above so many FLOPs per byte, memory below"
    said = [f"Ridge: {', '.join(ridges)} ({meaning})."] if ridges else []
    said += [f"Not probed: {arithmetic.value}: {plain(reason)}." for arithmetic, reason in peaks.skipped]
    busy, alarms = peaks.other_busy_cores, {}
    if busy is not None and busy > BUSY_CORES_LIMIT:
        alarms = {len(said): "yellow"}
        words = f"Other processes kept {significant(busy, 2)} cores busy meanwhile: these peaks are too low."
        said.append(f"{words} Run it again on a quiet machine.")
    if peaks.is_disturbed and not alarms:
        alarms = {len(said): "yellow"}
        hot = f"the device lowered its clock ({', '.join(peaks.throttle_reasons or ())})"
        why = "others computed on the device" if peaks.other_processes else hot
        said.append(f"Meanwhile {why}: what was measured is too low. Run it again when it is free and cool.")
    none = "none known for exactly this device; utilization is against what was measured"
    said.append(f"Data sheet: {f'{peaks.datasheet.source}; dense, without sparsity' if peaks.datasheet else none}.")
    return [
        Text(text=caption, style="dim"),
        Rows(columns=columns),
        Notes(lines=said, first="", indent="", styles=alarms),
    ]


def _name(probe: Probe) -> str:
    return f"{probe.kind.value} {probe.arithmetic.value}" if probe.arithmetic else probe.kind.value


def _size(probe: Probe) -> str:
    return f"{probe.size} x {probe.size}" if probe.kind is ProbeKind.MATMUL else format_bytes(probe.size)


def _rate(probe: Probe, per_second: float | None) -> str:
    return format_count(per_second, "FLOP/s" if probe.kind is ProbeKind.MATMUL else "B/s")


def _documented(peaks: Peaks, probe: Probe) -> float | None:
    sheet = peaks.datasheet
    if sheet is None:
        return None
    return dict(sheet.flops_per_second).get(probe.arithmetic) if probe.arithmetic else sheet.bytes_per_second


def calibration_document(noises: Sequence[CellNoise]) -> Document:
    """Make the table of a machine's noise, a row per cell, and explain its columns."""
    names, common = short_names([noise.cell_id for noise in noises])
    plans = sorted({sessions for noise in noises for sessions, _ in noise.detectable})
    columns = [
        Column(name="cell", cells=tuple(names), right=False, key=True),
        Column(name="sessions", cells=tuple(str(n.sessions) for n in noises), rank=2),
        Column(name="within", unit="%", cells=tuple(percent_of(n.within) for n in noises)),
        Column(name="between", unit="%", cells=tuple(percent_of(n.between) for n in noises)),
        Column(name="best quads", cells=tuple(str(n.best_quads) for n in noises)),
        *(
            Column(
                name=f"sees({plan})",
                unit="%",
                cells=tuple(percent_of(dict(n.detectable).get(plan)) for n in noises),
                rank=0 if plan == plans[-1] else 1,
            )
            for plan in plans
        ),
        Column(name="2nd", unit="%", cells=tuple(change(n.slot_shift) for n in noises)),
        Column(name="p", cells=tuple(f"{n.slot_p:.3f}" for n in noises)),
    ]
    meaning = (
        "within: spread of quads in a session; between: of sessions beyond that. sees(K): slowdown that a comparison "
        "of at most K sessions finds with 80 % power. 2nd: how much slower the process started second was, with its "
        "two-sided p; roles are drawn by coin, so it costs power but raises no false alarm."
    )
    return [Text(text=common, style="dim"), Rows(columns=columns, close=True), Text(text=meaning)]


def environment_texts(environment: Environment) -> dict[str, str]:
    """Write every field as text, by its name; settings and flags one by one."""
    texts = {"fingerprint": environment.fingerprint}
    for field in fields(Environment):
        value = getattr(environment, field.name)
        if field.name in ("malloc", "flags", "variables", "gpu_settings"):
            texts |= {f"{field.name} {key}": words(setting) for key, setting in value or ()}
        elif field.name.endswith("_bytes"):
            texts[field.name.removesuffix("_bytes")] = format_bytes(value)
        elif value is not None:
            texts[field.name] = words(str(value))
    return texts
