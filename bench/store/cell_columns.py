"""The columns of `cells`: one row per cell, whatever its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from bench.core.cell import Cell
from bench.core.estimate import Estimate
from bench.core.record import FlopCount, Memory, Phase, Record
from bench.stats.rank_scaling import RankScaling, rank_scaling_of
from bench.stats.summary import Summary, summarise
from bench.store.column import INTERVAL, Column, axes


@dataclass(frozen=True, slots=True)
class CellRow:
    """What one row of `cells` is read from."""

    record: Record
    summary: Summary
    scaling: RankScaling | None = None


def cell_rows(records: tuple[Record, ...]) -> list[CellRow]:
    """Make one row per cell, also of those that were skipped or failed."""
    return [
        CellRow(record, summarise(record), rank_scaling_of(record, records) if record.cell.world_size > 1 else None)
        for record in records
    ]


def _estimate(read: Callable[[Any], Estimate | None], name: str) -> Callable[[Any], Any]:
    return lambda row: None if (estimate := read(row)) is None else getattr(estimate, name)


def _phase_median(phase: Phase) -> Callable[[Any], Any]:
    return _estimate(lambda row: row.summary.phase(phase), "point")


def _counters(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.record.counters, name)


def _flops(read: Callable[[FlopCount], Any]) -> Callable[[Any], Any]:
    return lambda row: None if (flops := row.record.counters.flops) is None else read(flops)


def _memory(read: Callable[[Memory], Any]) -> Callable[[Any], Any]:
    return lambda row: None if (memory := row.record.counters.memory) is None else read(memory)


def _environment(name: str) -> Callable[[Any], Any]:
    return lambda row: None if (environment := row.record.environment) is None else getattr(environment, name)


def _summary(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.summary, name)


def _scaling(name: str) -> Callable[[Any], Any]:
    return lambda row: None if row.scaling is None else getattr(row.scaling, name)


def _ranks(name: str) -> Callable[[Any], Any]:
    return lambda row: None if row.record.ranks is None else getattr(row.record.ranks, name)


def _step(name: str) -> Callable[[Any], Any]:
    return _estimate(lambda row: row.summary.step, name)


def _processes(row: CellRow) -> int | None:
    return len({sample.process for sample in row.record.samples if sample.phase is Phase.STEP}) or None


def _converged(row: CellRow) -> bool | None:
    known = [s.converged for s in row.record.samples if s.phase is Phase.STEP and s.converged is not None]
    return all(known) if known else None


CELLS = (
    *axes(tuple(field.name for field in fields(Cell))),
    Column("outcome", "string", "", "how the cell ended; all but `ok` have a reason", lambda r: r.record.outcome),
    Column("reason", "string", "", "why it did not end `ok`", lambda r: r.record.reason),
    Column(
        "step_median_seconds", "Float64", "s", "latency: median of the whole step, measured unsplit", _step("point")
    ),
    Column("step_low_seconds", "Float64", "s", f"lower end {INTERVAL}", _step("low")),
    Column("step_high_seconds", "Float64", "s", f"upper end {INTERVAL}", _step("high")),
    Column("step_p10_seconds", "Float64", "s", "10 % of the steps were faster", _summary("step_p10_seconds")),
    Column("step_p90_seconds", "Float64", "s", "10 % of the steps were slower", _summary("step_p90_seconds")),
    Column("step_n", "Int64", "steps", "steps that were timed", _step("n")),
    Column(
        "step_n_effective",
        "Float64",
        "values",
        "independent values they are worth after autocorrelation; the processes where there are several",
        _step("n_effective"),
    ),
    Column(
        "step_relative_dispersion", "Float64", "fraction", "noise: IQR / median of the steps", _summary("dispersion")
    ),
    Column("step_processes", "Int64", "processes", "fresh processes the steps come from", _processes),
    Column("step_converged", "boolean", "", "whether the interval reached its target in the budget", _converged),
    Column(
        "examples_per_second",
        "Float64",
        "examples/s",
        "throughput: batch size * world size / step",
        _summary("examples_per_second"),
    ),
    Column("tokens_per_second", "Float64", "tokens/s", "throughput of a language model", _summary("tokens_per_second")),
    Column("forward_median_seconds", "Float64", "s", "median of the forward phase", _phase_median(Phase.FORWARD)),
    Column("loss_median_seconds", "Float64", "s", "median of the loss phase", _phase_median(Phase.LOSS)),
    Column("backward_median_seconds", "Float64", "s", "median of the backward phase", _phase_median(Phase.BACKWARD)),
    Column("optimizer_median_seconds", "Float64", "s", "median of the optimizer phase", _phase_median(Phase.OPTIMIZER)),
    Column("phase_sum_seconds", "Float64", "s", "sum of the phase medians", _summary("phase_sum_seconds")),
    Column(
        "residual_fraction",
        "Float64",
        "fraction",
        "1 - phase sum / step: the share of the step that no phase explains; negative where the marks cost time",
        _summary("residual_fraction"),
    ),
    Column("parameters", "Int64", "elements", "elements of all parameters; tied weights once", _counters("parameters")),
    Column(
        "trainable_parameters", "Int64", "elements", "those that require a gradient", _counters("trainable_parameters")
    ),
    Column("buffers", "Int64", "elements", "elements of all buffers", _counters("buffers")),
    Column("flops_forward", "Int64", "FLOPs", "forward and loss of one step; 1 MAC = 2", _flops(lambda f: f.forward)),
    Column("flops_backward", "Int64", "FLOPs", "backward of one step", _flops(lambda f: f.backward)),
    Column(
        "flops_total",
        "Int64",
        "FLOPs",
        "of the whole step; empty while a part of it is unknown",
        _summary("flops_total"),
    ),
    Column(
        "flops_is_lower_bound",
        "boolean",
        "",
        "whether operations ran for which there is no formula: the true count is higher",
        _flops(lambda f: f.is_lower_bound),
    ),
    Column("flops_method", "string", "", "which counter, on which tensors", _flops(lambda f: f.method or None)),
    Column("flops_per_second", "Float64", "FLOP/s", "FLOPs of the step / step median", _summary("flops_per_second")),
    Column(
        "mfu",
        "Float64",
        "fraction",
        "model FLOPs utilization: FLOP/s of the step / the peak that `bench peaks` measured here in this precision",
        _summary("mfu"),
    ),
    Column(
        "documented_mfu",
        "Float64",
        "fraction",
        "the same against the data sheet's dense peak",
        _summary("documented_mfu"),
    ),
    Column(
        "flops_per_byte",
        "Float64",
        "FLOPs/byte",
        "arithmetic intensity of the step: FLOPs / bytes that its operations read and write",
        lambda r: None if r.summary.roofline is None else r.summary.roofline.intensity,
    ),
    Column(
        "bound_by",
        "string",
        "",
        "roof of this device that the step meets first: `compute` or `memory`",
        lambda r: None if r.summary.roofline is None else r.summary.roofline.bound.value,
    ),
    Column("dispatch_count", "Int64", "operations", "operations that one step dispatches", _counters("dispatch_count")),
    Column("bytes_touched", "Int64", "bytes", "read and written by these operations", _counters("bytes_touched")),
    Column("saved_bytes", "Int64", "bytes", "tensors that autograd saved for backward", _counters("saved_bytes")),
    Column("kernel_launches", "Int64", "launches", "kernels launched on an accelerator", _counters("kernel_launches")),
    Column(
        "predicted_peak_bytes",
        "Int64",
        "bytes",
        "live tensors at the peak of a step, predicted on fake tensors",
        lambda r: None if (peak := r.record.counters.predicted_peak) is None else peak.total_bytes,
    ),
    Column(
        "peak_allocated_bytes",
        "Int64",
        "bytes",
        "measured peak of live tensors in the accelerator's allocator",
        _memory(lambda m: m.peak_allocated_bytes),
    ),
    Column(
        "peak_reserved_bytes",
        "Int64",
        "bytes",
        "measured peak that this allocator took from the device",
        _memory(lambda m: m.peak_reserved_bytes),
    ),
    Column(
        "device_used_bytes",
        "Int64",
        "bytes",
        "device memory of the process as NVML sees it",
        _memory(lambda m: m.device_used_bytes),
    ),
    Column(
        "peak_resident_bytes",
        "Int64",
        "bytes",
        "measured peak of the whole process (CPU)",
        _memory(lambda m: m.peak_resident_bytes),
    ),
    Column(
        "step_resident_bytes",
        "Int64",
        "bytes",
        "that peak above what the process held before the model was built",
        _memory(lambda m: m.step_resident_bytes),
    ),
    Column("memory_method", "string", "", "how the peaks were read", _memory(lambda m: m.method or None)),
    Column(
        "energy_joules", "Float64", "J", "energy of one step, over a window long enough", _counters("energy_joules")
    ),
    Column(
        "average_watts",
        "Float64",
        "W",
        "average power over that window",
        lambda r: None if (energy := r.record.counters.energy) is None else energy.average_watts,
    ),
    Column("rank_backend", "string", "", "how several ranks communicate: `gloo` or `nccl`", _ranks("backend")),
    Column("rank_threads", "Int64", "threads", "threads of each of several ranks", _ranks("threads")),
    Column(
        "slowest_rank", "Int64", "", "the rank whose forward pass takes longest: others wait", _scaling("slowest_rank")
    ),
    Column(
        "rank_spread_fraction",
        "Float64",
        "fraction",
        "(longest - shortest) / longest of the ranks' median forward passes",
        _scaling("rank_spread_fraction"),
    ),
    Column(
        "scaling_efficiency",
        "Float64",
        "fraction",
        "step of one process / step of all ranks; 1 is perfect weak scaling",
        _scaling("efficiency"),
    ),
    Column(
        "communication_seconds",
        "Float64",
        "s",
        "what communicating phases take longer than with one process: communication and waiting",
        _scaling("communication_seconds"),
    ),
    Column(
        "communication_fraction",
        "Float64",
        "fraction",
        "the same as a share of the step; an upper bound, below 0 within its noise",
        _scaling("communication_fraction"),
    ),
    Column("communication_reason", "string", "", "why there is no such share", _scaling("reason")),
    Column("final_loss", "Float64", "", "loss of the last step; a check, not a result", lambda r: r.record.final_loss),
    Column(
        "advice",
        "string",
        "",
        "kinds of doubts and hints, joined by `;`",
        lambda r: ";".join(dict.fromkeys(advice.kind.value for advice in r.record.advice)) or None,
    ),
    Column(
        "fingerprint",
        "string",
        "",
        "hash of hardware, software and settings: only rows with equal ones may be compared",
        _environment("fingerprint"),
    ),
    Column("cpu", "string", "", "processor", _environment("cpu")),
    Column("gpu", "string", "", "accelerator", _environment("gpu")),
    Column("torch", "string", "", "version of torch", _environment("torch")),
    Column("stepbench", "string", "", "version that measured", lambda r: r.record.stepbench),
    Column("started_at", "string", "", "start of the cell, ISO 8601", lambda r: r.record.started_at),
    Column("duration_seconds", "Float64", "s", "whole cell, from start to result", lambda r: r.record.duration_seconds),
)
