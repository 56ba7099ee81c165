"""The columns of `cells`: one row per cell, whatever its outcome, in files and in every table that shows cells.

These tables are views: the cells table (no name), `cold` (`--columns cold`), `count` (`bench count`) and `ranks`
(several processes compared with one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from bench.core.cell import Cell, ScalingMode
from bench.core.record import Record
from bench.stats.cold import Payback, paybacks
from bench.stats.summary import Summary
from bench.tables.advice import marks
from bench.tables.cell_times import PAGE, SMALL, TIMES, natural, percent_2
from bench.tables.cell_values import CellRow, bound_mark, communication, is_frozen, opinions, peak_bytes
from bench.tables.columns import Shown, axes, flag, integer, read, real, shown_columns, text, whole
from bench.tables.table import Column

CELLS = (
    *axes(tuple(field.name for field in fields(Cell))),
    text("outcome", "how the cell ended; all but `ok` have a reason", "record.outcome"),
    text("reason", "why it did not end `ok`", "record.reason"),
    *TIMES,
    integer(
        "parameters",
        "elements",
        "elements of all parameters; tied weights once",
        "record.counters.parameters",
        Shown(name="parameters", place=16, rank=5, write=whole, hidden_in=PAGE),
        Shown(name="parameters", view="count", place=1, write=whole),
        openmetrics="parameters",
        bencher="parameters",
    ),
    integer(
        "trainable_parameters",
        "elements",
        "elements of the parameters that require a gradient",
        "record.counters.trainable_parameters",
        Shown(name="trainable", view="count", place=2, rank=3, write=whole, when=is_frozen),
    ),
    integer(
        "buffers",
        "elements",
        "elements of all buffers",
        "record.counters.buffers",
        Shown(
            name="buffers", view="count", place=3, rank=5, get=lambda r: r.record.counters.buffers or None, write=whole
        ),
    ),
    integer(
        "flops_forward",
        "FLOPs",
        "forward and loss of one step; 1 MAC = 2",
        "record.counters.flops.forward",
        Shown(
            name="fwd", unit="FLOPs", view="count", place=4, rank=0, scale="count", mark=bound_mark, together="flops"
        ),
    ),
    integer(
        "flops_backward",
        "FLOPs",
        "backward pass of one step",
        "record.counters.flops.backward",
        Shown(
            name="bwd", unit="FLOPs", view="count", place=5, rank=0, scale="count", mark=bound_mark, together="flops"
        ),
    ),
    integer(
        "flops_total",
        "FLOPs",
        "FLOPs of the whole step; empty if a part of it is unknown",
        "summary.flops_total",
        Shown(name="", unit="FLOPs", place=13, rank=4, scale="count", mark=bound_mark),
        Shown(
            name="step", unit="FLOPs", view="count", place=6, rank=2, scale="count", mark=bound_mark, together="flops"
        ),
        openmetrics="flops",
        bencher="flops",
    ),
    text(
        "opinions",
        "what other counters say of the forward FLOPs",
        opinions,
        Shown(name="others say", view="count", place=7, rank=6, right=False),
        stored=False,
    ),
    flag(
        "flops_is_lower_bound",
        "whether operations ran for which there is no formula: the true count is higher",
        "record.counters.flops.is_lower_bound",
    ),
    text("flops_method", "which counter, on which tensors", lambda r: read("record.counters.flops.method")(r) or None),
    real(
        "flops_per_second",
        "FLOP/s",
        "FLOPs of the step / step median",
        "summary.flops_per_second",
        Shown(name="", unit="FLOP/s", place=14, rank=8, scale="count", mark=bound_mark, hidden_in=SMALL),
    ),
    real(
        "mfu",
        "fraction",
        "model FLOPs utilization: FLOP/s of the step / the peak that `bench machine peaks` measured in this precision",
        "summary.mfu",
        Shown(name="MFU", unit="%", place=15, rank=5, write=percent_2, hidden_in=SMALL),
    ),
    real("documented_mfu", "fraction", "the same against the data sheet's dense peak", "summary.documented_mfu"),
    real(
        "flops_per_byte",
        "FLOPs/byte",
        "arithmetic intensity of the step: FLOPs / bytes that its operations read and write",
        "summary.roofline.intensity",
    ),
    text("bound_by", "roof of this device that the step meets first: `compute` or `memory`", "summary.roofline.bound"),
    integer(
        "dispatch_count",
        "operations",
        "operations that one step dispatches",
        "record.counters.dispatch_count",
        Shown(name="operations", view="count", place=8, rank=4, scale="count"),
        openmetrics="dispatches",
        bencher="dispatches",
    ),
    integer(
        "bytes_touched",
        "bytes",
        "bytes that these operations read and write",
        "record.counters.bytes_touched",
        Shown(name="touched", view="count", place=9, rank=5, scale="bytes"),
    ),
    integer(
        "saved_bytes",
        "bytes",
        "tensors that autograd saved for backward",
        "record.counters.saved_bytes",
        Shown(name="saved", view="count", place=10, rank=5, scale="bytes"),
    ),
    integer("kernel_launches", "launches", "kernels launched on an accelerator", "record.counters.kernel_launches"),
    integer(
        "predicted_peak_bytes",
        "bytes",
        "live tensors at the peak of a step, predicted on fake tensors",
        "record.counters.predicted_peak.total_bytes",
        Shown(name="peak", view="count", place=11, rank=1, scale="bytes"),
        openmetrics="predicted_peak_bytes",
    ),
    integer(
        "peak_allocated_bytes",
        "bytes",
        "measured peak of live tensors in the accelerator's allocator",
        "record.counters.memory.peak_allocated_bytes",
        openmetrics="peak_allocated_bytes",
    ),
    integer(
        "peak_reserved_bytes",
        "bytes",
        "measured peak that this allocator took from the device",
        "record.counters.memory.peak_reserved_bytes",
    ),
    integer(
        "compiling_allocated_bytes",
        "bytes",
        "peak of the accelerator's allocator while a compiled cell compiles",
        "record.counters.memory.compiling_allocated_bytes",
    ),
    integer(
        "device_used_bytes",
        "bytes",
        "device memory of the process as NVML reports it",
        "record.counters.memory.device_used_bytes",
    ),
    integer(
        "whole_device_bytes",
        "bytes",
        "device memory in use by all processes together after the steps, while our allocator holds what it reserved",
        "record.counters.memory.whole_device_bytes",
    ),
    integer(
        "peak_resident_bytes",
        "bytes",
        "measured peak of the whole process (CPU)",
        "record.counters.memory.peak_resident_bytes",
    ),
    integer(
        "step_resident_bytes",
        "bytes",
        "that peak above what the process held before the model was built",
        "record.counters.memory.step_resident_bytes",
        openmetrics="step_resident_bytes",
    ),
    integer(
        "peak_bytes",
        "bytes",
        "the peak that says most: on the device, of the process, or predicted",
        lambda r: peak_bytes(r.record)[0],
        Shown(name="peak", place=17, rank=3, scale="bytes", mark=lambda r: peak_bytes(r.record)[1]),
        stored=False,
    ),
    text("memory_method", "how the peaks were read", lambda r: read("record.counters.memory.method")(r) or None),
    real(
        "energy_joules",
        "J",
        "energy of one step, from a window of several seconds",
        "record.counters.energy_joules",
        Shown(name="J/step", place=18, rank=6, hidden_in=SMALL),
        openmetrics="energy_joules",
        bencher="energy-joules",
    ),
    real("average_watts", "W", "average power over that window", "record.counters.energy.average_watts"),
    real("idle_watts", "W", "power of the device before, without work of ours", "record.counters.energy.idle_watts"),
    text("rank_backend", "how several ranks communicate: `gloo` or `nccl`", "record.ranks.backend"),
    integer(
        "rank_threads",
        "threads",
        "threads of each of several ranks",
        "record.ranks.threads",
        Shown(name="threads each", view="ranks", place=1, rank=4, write=natural),
    ),
    integer(
        "slowest_rank",
        "",
        "the rank whose forward pass takes longest: others wait",
        "scaling.slowest_rank",
        Shown(name="slowest rank", view="ranks", place=5, rank=3, write=natural),
    ),
    real(
        "rank_spread_fraction",
        "fraction",
        "(longest - shortest) / longest of the ranks' median forward passes",
        "scaling.rank_spread_fraction",
        Shown(name="spread", unit="%", view="ranks", place=6, rank=2, write=percent_2),
    ),
    text(
        "scaling",
        "what `scaling_efficiency` compares with: one process with the batch of a rank (`weak`), or of all (`strong`)",
        "scaling.scaling",
        Shown(
            name="scaling",
            view="ranks",
            place=2,
            right=False,
            key=True,
            when=lambda rows: any(
                row.scaling.scaling is ScalingMode.STRONG for row in rows
            ),  # else the caption says it
        ),
    ),
    real(
        "scaling_efficiency",
        "fraction",
        "step of one process / step of all ranks, in strong scaling also divided by their number; 1 is perfect",
        "scaling.efficiency",
        Shown(name="efficiency", unit="%", view="ranks", place=3, write=lambda f: f"{f * 100:.0f}"),
    ),
    real(
        "communication_seconds",
        "s",
        "time that communicating phases take longer than with one process: communication and waiting",
        "scaling.communication_seconds",
    ),
    real(
        "communication_fraction",
        "fraction",
        "the same as a share of the step; an upper bound, below 0 within its noise",
        "scaling.communication_fraction",
        Shown(
            name="comm",
            unit="%",
            view="ranks",
            place=4,
            rank=1,
            get=lambda r: communication(r)[0],
            noise=lambda r: communication(r)[1],
            write=str,
            always=True,
        ),
    ),
    text("communication_reason", "why there is no such share", "scaling.reason"),
    real("final_loss", "", "loss of the last step; a check, not a result", "record.final_loss"),
    text(
        "advice",
        "kinds of doubts and hints, joined by `;`",
        lambda r: ";".join(dict.fromkeys(advice.kind.value for advice in r.record.advice)) or None,
        Shown(name="see", place=22, right=False, get=lambda r: marks(r.record)),
        Shown(name="see", view="cold", place=22, right=False, get=lambda r: marks(r.record)),
    ),
    text(
        "fingerprint",
        "hash of hardware, software and settings: only rows with equal ones may be compared",
        "record.environment.fingerprint",
    ),
    text("cpu", "processor", "record.environment.cpu"),
    text("gpu", "accelerator", "record.environment.gpu"),
    text("torch", "version of torch", "record.environment.torch"),
    text("stepbench", "version that measured", "record.stepbench"),
    text("started_at", "start of the cell, ISO 8601", "record.started_at"),
    real("duration_seconds", "s", "whole cell, from start to result", "record.duration_seconds"),
)


def figure_columns(
    records: Sequence[Record],
    summaries: Sequence[Summary],
    view: str = "",
    found: Sequence[Payback | None] | None = None,
) -> list[Column]:
    """Make every column of figures of the cells table, most important rank first; `cold` is another view of it.

    A compiled cell is compared with its partner among these records, unless its payback was `found` before.
    """
    if found is None:
        found = paybacks(records, records) if view else [None] * len(records)
    rows = [CellRow(r, s, payback=one) for r, s, one in zip(records, summaries, found, strict=True)]
    return shown_columns(CELLS, rows, view)
