"""Text generation and image sampling as text: a row per case, then notes and doubts.

A generation also has the size of its cache and the FLOPs of a token, counted and by formulas; sampling has the cost of
one more step and the parts of a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.core.estimate import Estimate
from bench.core.generation import CacheMemory, Generation, GenerationCase, PartTimes, Sampled, SamplingCase, TokenFlops
from bench.core.record import Outcome
from bench.core.units import format_bytes, format_count, format_seconds
from bench.stats.estimate import estimate_median
from bench.stats.generation import lines_over_steps, summarise_generation, summarise_sampling
from bench.tables.columns import bytes_column, counts_column, figure_column, timed_columns, whole
from bench.tables.document import Document, Notes, Rows, doubts_of
from bench.tables.figures import duration, percent, plain, significant
from bench.tables.table import Column

_OPTIONAL_AXES = ("device", "precision", "threads", "seed")
_GENERATION_AXES: dict[str, Callable[[GenerationCase], Any]] = {
    "prompt": lambda case: case.prompt_tokens,
    "new": lambda case: case.new_tokens,
    "cache": lambda case: "yes" if case.uses_cache else "no",
}
_IMAGE_AXES: dict[str, Callable[[SamplingCase], Any]] = {
    "steps": lambda case: case.steps,
    "guidance": lambda case: case.guidance,
    "sampler": lambda case: case.sampler,
}


def _keys(measured: Sequence[Any], own: Mapping[str, Callable[[Any], Any]]) -> list[Column]:
    """Make the columns that name a row; of the case's own axes the first is always shown, others if they differ."""
    cells = [one.case.cell for one in measured]
    shown = [axis for axis in _OPTIONAL_AXES if len({getattr(cell, axis) for cell in cells}) > 1]
    kept = {header: [read(one.case) for one in measured] for header, read in own.items()}
    return [
        Column(name="model", cells=tuple(plain(cell.model) for cell in cells), right=False, key=True),
        *(
            Column(name=axis, cells=tuple(_text(getattr(cell, axis)) for cell in cells), right=False, key=True)
            for axis in shown
        ),
        Column(name="batch", cells=tuple(str(cell.batch_size) for cell in cells), key=True),
        *(
            Column(name=header, cells=tuple(map(_text, values)), right=_is_figure(values), key=True)
            for index, (header, values) in enumerate(kept.items())
            if index == 0 or len(set(values)) > 1
        ),
    ]


def estimate_columns(header: str, estimates: Sequence[Estimate | None], rank: int = 0) -> list[Column]:
    """Make a column of medians with half their intervals; none if nothing was measured."""
    if not any(estimates):
        return []
    halves = [one.half_width if one else None for one in estimates]
    return timed_columns(header, [one.point if one else None for one in estimates], halves, rank)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "own" if value is None else plain(str(value))


def _is_figure(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def cases_document(field: str, measured: Sequence[Any]) -> Document:
    """Make the document of these results, which a stored run calls `generations` or `images`."""
    return generation_document(measured) if field == "generations" else sampling_document(measured)


def generation_document(measured: Sequence[Generation]) -> Document:
    """Make the answer of `bench generate`: times of all cases; if known, caches and FLOPs per token; doubts."""
    caption = "Time to the first token and per token, median ± half its 95 % interval"
    rows = [Rows(columns=[*_keys(measured, _GENERATION_AXES), *_time_columns(measured)], caption=caption)]
    cached = [one for one in measured if one.case.uses_cache and one.counts is not None]
    if cached:
        columns = [*_keys(cached, _GENERATION_AXES), *_memory_columns(cached)]
        rows.append(Rows(columns=columns, caption="Memory of the cache"))
    counted = {_flops_key(one): one for one in cached if one.counts and one.counts.flops}
    if counted:
        columns = _flops_columns(list(counted.values()))
        rows.append(Rows(columns=columns, caption="FLOPs per token, counted and by the rule"))
    return _document(measured, rows, [note for one in measured for note in _notes(one)])


def _document(measured: Sequence[Any], rows: Sequence[Rows], notes: Sequence[str]) -> Document:
    """Add what both have: in the first table why a row has no figures, below it the same in full; doubts."""
    failed = {
        row: plain(f"{one.outcome.value.replace('_', ' ').upper()}: {one.reason or 'no reason was given'}")
        for row, one in enumerate(measured)
        if one.outcome is not Outcome.OK
    }
    reasons = [f"{plain(measured[row].case.id)}: {text}" for row, text in failed.items()]
    return [
        replace(rows[0], shows_caption=True, spans=failed, styles=dict.fromkeys(failed, "red")),
        *rows[1:],
        Notes(lines=list(dict.fromkeys([*reasons, *notes]))),
        doubts_of([advice for one in measured for advice in one.advice]),
    ]


def _time_columns(measured: Sequence[Generation]) -> list[Column]:
    summaries = [summarise_generation(one) for one in measured]
    return [
        *estimate_columns("first", [s.first_token for s in summaries]),
        *estimate_columns("token", [s.token for s in summaries]),
        *figure_column("prefill", [s.prefill_tokens_per_second for s in summaries], 4, format_count, unit="tokens/s"),
        *figure_column("decode", [s.decode_tokens_per_second for s in summaries], 1, format_count, unit="tokens/s"),
        *counts_column("decode", [s.decode_flops_per_second for s in summaries], 5, "FLOP/s"),
    ]


def _memory_columns(measured: Sequence[Generation]) -> list[Column]:
    memories = [one.counts.cache if one.counts and one.counts.cache else CacheMemory() for one in measured]
    return [
        *bytes_column("cache formula", [m.predicted_bytes for m in memories], 1),
        *bytes_column("cache held", [m.held_bytes for m in memories], 0),
        *bytes_column("peak", [m.peak_allocated_bytes for m in memories], 2),
    ]


def _flops_key(one: Generation) -> tuple[str, int | None]:
    """Return what FLOPs per token depend on; the batch is not part of it."""
    return one.case.cell.model, one.counts.flops.context_tokens if one.counts and one.counts.flops else None


def _flops_columns(measured: Sequence[Generation]) -> list[Column]:
    flops = [one.counts.flops if one.counts and one.counts.flops else TokenFlops() for one in measured]
    decode = [f.decode_flops for f in flops], [f.decode_rule_flops for f in flops]
    training = [f.training_flops for f in flops], [f.training_rule_flops for f in flops]
    return [
        Column(
            name="FLOPs per token", cells=tuple(plain(one.case.cell.model) for one in measured), right=False, key=True
        ),
        *figure_column("T", [f.context_tokens for f in flops], 0, whole),
        *counts_column("decode", decode[0], 0, beside=decode[1]),
        *counts_column("2N+4TA", decode[1], 0, beside=decode[0]),
        *counts_column("training", training[0], 1, beside=training[1]),
        *counts_column("6N+12SA", training[1], 1, beside=training[0]),
    ]


def _notes(one: Generation) -> list[str]:
    """List notes on a row: what formulas miss, what was not counted, the cost of the context."""
    name, notes = plain(one.case.cell.model), []
    memory = one.counts.cache if one.counts else None
    if memory and memory.predicted_bytes is not None and memory.held_bytes not in (None, memory.predicted_bytes):
        held, formula = format_bytes(memory.held_bytes), format_bytes(memory.predicted_bytes)
        notes.append(f"{name}: the cache holds {held}, its formula says {formula}")
    flops = one.counts.flops if one.counts else None
    if flops and flops.weights is not None:
        notes.append(
            f"{name}: N = {format_count(flops.weights)} weights used per token, A = the width of all queries"
            + (f", S = {flops.training_tokens} tokens in training" if flops.training_tokens else "")
        )
    notes += _reasons(one)
    case, line = one.case, summarise_generation(one).growth
    if line is not None and line.slope > line.half_width:  # the interval of the slope excludes 0
        each = duration(line.slope * 1000, line.half_width * 1000)
        how = "" if case.uses_cache else " without cache"
        row = f"{name}, batch {case.cell.batch_size}, prompt {case.prompt_tokens}{how}"
        notes.append(f"{row}: a token takes {each} more per 1000 tokens of context")
    return notes


def sampling_document(measured: Sequence[Sampled]) -> Document:
    """Make the answer of `bench images`: times, then the parts of training steps."""
    caption = "Time per image and per denoising step"
    rows = [Rows(columns=[*_keys(measured, _IMAGE_AXES), *_columns(measured)], caption=caption)]
    for one in measured:
        if one.training is not None:
            title = f"Training step of {plain(one.case.cell.model)}, batch {one.case.cell.batch_size}, by part"
            rows.append(Rows(columns=_part_columns(one.training), caption=title, shows_caption=True, total=True))
    lines = [
        f"{plain(case.cell.model)}, batch {case.cell.batch_size}, {case.sampler}, guidance {case.guidance:g}: a "
        f"batch takes {format_seconds(line.intercept)} + ({duration(line.slope, line.half_width)}) x steps"
        for case, line in lines_over_steps(measured)
    ]
    return _document(measured, rows, [*lines, *(note for one in measured for note in _reasons(one))])


def _columns(measured: Sequence[Sampled]) -> list[Column]:
    summaries = [summarise_sampling(one) for one in measured]
    counts = [one.counts for one in measured]
    shapes = ["x".join(map(str, c.image_shape)) if c else "-" for c in counts]
    return [
        *estimate_columns("image", [s.image for s in summaries]),
        *estimate_columns("step", [s.step for s in summaries]),
        *estimate_columns("text", [s.encode for s in summaries], 1),
        *estimate_columns("decode", [s.decode for s in summaries], 1),
        *figure_column("images", [s.images_per_second for s in summaries], 2, significant, unit="/s"),
        *counts_column("step", [c.flops_per_step if c else None for c in counts], 4, "FLOPs"),
        *counts_column("", [s.flops_per_second for s in summaries], 6, "FLOP/s"),
        *bytes_column("peak", [c.peak_allocated_bytes if c else None for c in counts], 5),
        Column(name="shape", cells=tuple(shapes), right=False, rank=5),
    ]


def _part_columns(training: PartTimes) -> list[Column]:
    """Make one row per part and the sum of their medians, with their shares."""
    estimates = [estimate_median(seconds) for _, seconds in training.parts]
    total = sum(one.point for one in estimates)
    halves = [one.half_width for one in estimates]
    return [
        Column(name="part", cells=(*(plain(name) for name, _ in training.parts), "sum"), right=False, key=True),
        *timed_columns("median", [*(one.point for one in estimates), total], [*halves, None]),
        Column(name="%", cells=(*(percent(one.point / total) for one in estimates), "100")),
    ]


def _reasons(one: Generation | Sampled) -> list[str]:
    reason = one.reason or (one.counts.reason if one.counts else None)
    return [f"{plain(one.case.cell.model)}: {plain(reason)}"] if one.times is not None and reason else []
