"""Measured text generation: a row per case, then what the cache takes and what a token costs, beside the formulas."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.generation import CacheMemory, Generation, TokenFlops
from bench.core.units import format_bytes, format_count
from bench.report.case_keys import estimate_columns, failed_rows, failures, key_columns
from bench.report.columns import bytes_column, counts_column, figure_column, timed_columns, whole
from bench.report.figures import duration, plain
from bench.report.layout import Column, Page, render
from bench.stats.generation import GenerationSummary, summarise_generation


def generation_report(
    measured: Sequence[Generation], width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """Write the answers of `bench generate`: times, then cache and FLOPs, then doubts.

    Args:
        measured: One per row.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    spans = failed_rows(measured)
    styles: dict[int, str | None] = dict.fromkeys(spans, "red")
    (_, times), *others = generation_tables(measured)
    parts = [render(times, page, spans=spans, styles=styles)]
    for _, columns in others:
        parts += ["", render(columns, page)]
    notes = generation_notes(measured)
    if notes:
        parts += ["", *(page.wrap(note, "    ", "  ") for note in notes)]
    return "\n".join(parts)


def generation_tables(measured: Sequence[Generation]) -> list[tuple[str, list[Column]]]:
    """Make the tables with their captions: times of all cases; where there are any, caches and FLOPs per token."""
    tables = [("Time to the first token and per token", [*_keys(measured), *_time_columns(measured)])]
    cached = [one for one in measured if one.case.uses_cache and one.counts is not None]
    if cached:
        tables.append(("Memory of the cache", [*_keys(cached), *_memory_columns(cached)]))
    counted = {_flops_key(one): one for one in cached if one.counts and one.counts.flops}
    if counted:
        tables.append(("FLOPs per token, counted and by the rule", _flops_columns(list(counted.values()))))
    return tables


def generation_notes(measured: Sequence[Generation]) -> list[str]:
    """Say what a reader should know beside the tables, each thing once."""
    notes = [*failures(measured), *(note for one in measured for note in _notes(one))]
    return list(dict.fromkeys(notes))


def _keys(measured: Sequence[Generation]) -> list[Column]:
    cases = [one.case for one in measured]
    return key_columns(
        [case.cell for case in cases],
        [
            ("prompt", [case.prompt_tokens for case in cases]),
            ("new", [case.new_tokens for case in cases]),
            ("cache", ["yes" if case.uses_cache else "no" for case in cases]),
        ],
    )


def _time_columns(measured: Sequence[Generation]) -> list[Column]:
    summaries = [summarise_generation(one) for one in measured]
    nothing: list[float | None] = [None] * len(summaries)
    return [
        *estimate_columns("first token", [s.first_token for s in summaries]),
        *estimate_columns("per token", [s.token for s in summaries]),
        *_tail("p90", [s.token_p90_seconds for s in summaries], nothing, 2),
        *_tail("p99", [s.token_p99_seconds for s in summaries], nothing, 2),
        *figure_column("prefill tokens/s", [s.prefill_tokens_per_second for s in summaries], 3, format_count),
        *figure_column("decode tokens/s", [s.decode_tokens_per_second for s in summaries], 1, format_count),
        *counts_column("decode", [s.decode_flops_per_second for s in summaries], 4, "FLOP/s"),
    ]


def _tail(header: str, values: Sequence[float | None], halves: Sequence[float | None], rank: int) -> list[Column]:
    return timed_columns(header, values, halves, rank) if any(value is not None for value in values) else []


def _memory_columns(measured: Sequence[Generation]) -> list[Column]:
    memories = [one.counts.cache if one.counts and one.counts.cache else CacheMemory() for one in measured]
    return [
        *bytes_column("cache formula", [m.predicted_bytes for m in memories], 1),
        *bytes_column("cache held", [m.held_bytes for m in memories], 0),
        *bytes_column("peak", [m.peak_allocated_bytes for m in memories], 2),
    ]


def _flops_key(one: Generation) -> tuple[str, int | None]:
    """Name what FLOPs per token depend on: the batch is no part of it."""
    return one.case.cell.model, one.counts.flops.context_tokens if one.counts and one.counts.flops else None


def _flops_columns(measured: Sequence[Generation]) -> list[Column]:
    flops = [one.counts.flops if one.counts and one.counts.flops else TokenFlops() for one in measured]
    decode = [f.decode_flops for f in flops], [f.decode_rule_flops for f in flops]
    training = [f.training_flops for f in flops], [f.training_rule_flops for f in flops]
    return [
        Column(
            header="FLOPs per token", cells=tuple(plain(one.case.cell.model) for one in measured), right=False, key=True
        ),
        *figure_column("T", [f.context_tokens for f in flops], 0, whole),
        *counts_column("decode", decode[0], 0, beside=decode[1]),
        *counts_column("2N+4TA", decode[1], 0, beside=decode[0]),
        *counts_column("training", training[0], 1, beside=training[1]),
        *counts_column("6N+12SA", training[1], 1, beside=training[0]),
    ]


def _notes(one: Generation) -> list[str]:
    """Say what a reader should know of a row: what formulas miss, what could not be counted, what the context costs."""
    name, notes = plain(one.case.cell.model), []
    memory = one.counts.cache if one.counts else None
    if memory and memory.predicted_bytes is not None and memory.held_bytes not in (None, memory.predicted_bytes):
        held, formula = format_bytes(memory.held_bytes), format_bytes(memory.predicted_bytes)
        notes.append(f"{name}: the cache holds {held}, its formula says {formula}")
    flops = one.counts.flops if one.counts else None
    if flops and flops.weights is not None:
        notes.append(
            f"{name}: N = {format_count(flops.weights)} weights that a token meets, A = the width of all queries"
            + (f", S = {flops.training_tokens} tokens in training" if flops.training_tokens else "")
        )
    reason = one.reason or (one.counts.reason if one.counts else None)
    if one.times is not None and reason:
        notes.append(f"{name}: {plain(reason)}")
    return [*notes, *_growth_note(one, summarise_generation(one))]


def _growth_note(one: Generation, summary: GenerationSummary) -> list[str]:
    """Say what a longer context costs, where the interval of the slope leaves no doubt that it costs something."""
    line = summary.growth
    if line is None or line.slope <= line.half_width:
        return []
    case = one.case
    each = duration(line.slope * 1000, line.half_width * 1000)
    row = f"{plain(case.cell.model)}, batch {case.cell.batch_size}, prompt {case.prompt_tokens}"
    how = "" if case.uses_cache else " without cache"
    return [f"{row}{how}: a token takes {each} more per 1000 tokens of context"]
