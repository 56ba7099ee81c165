"""A profile as text: layers, operations, device, start-up, memory, what to try; and two profiles compared.

A figure that is more correction than measurement has a mark before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from bench.core.profile import (
    IDLE,
    LOSS,
    MEANINGS,
    OPTIMIZER,
    ZERO_GRAD,
    Change,
    MemoryPoint,
    MemoryProfile,
    OperatorCost,
    Profile,
    ProfileDiff,
    ProfiledLayer,
    Trial,
)
from bench.core.record import Phase
from bench.core.units import counted, format_bytes, format_count, format_seconds, known_sum
from bench.tables.advice import WORDS, sentence
from bench.tables.columns import MISSING, bytes_column, counts_column, figure_column, timed_columns
from bench.tables.document import Document, Notes, Rows, Text, Verbatim
from bench.tables.figures import percent, plain, significant
from bench.tables.fold import LIMIT, Group, fold
from bench.tables.table import Column

MARK = "~"
_SENTENCE = f"{MARK} more was subtracted for the profiler itself than is left: the figure is uncertain."


def is_doubtful(layers: Sequence[ProfiledLayer], phase: Phase | str | None = None) -> bool:
    """Whether more was subtracted from some layers, in one phase or in all, than is left.

    An idle row is never doubtful: it is the step without its kernels.
    """
    costs = [
        cost for layer in layers if layer.name != IDLE for cost in layer.costs if phase is None or cost.phase == phase
    ]
    return _is_mostly_correction(sum(cost.seconds for cost in costs), sum(cost.profiled_seconds for cost in costs))


def are_doubtful(operators: Sequence[OperatorCost]) -> bool:
    """Whether more was subtracted from some operations than is left; never for an idle row."""
    rows = [row for row in operators if row.name != IDLE]
    return _is_mostly_correction(sum(row.seconds for row in rows), sum(row.profiled_seconds for row in rows))


def marked(columns: Sequence[Column], doubts: Sequence[bool]) -> list[Column]:
    """Put the mark before the figures of doubtful rows; `-` stays as it is."""
    return [
        replace(
            column,
            cells=tuple(
                MARK + cell if doubt and cell != MISSING else cell
                for cell, doubt in zip(column.cells, doubts, strict=True)
            ),
        )
        for column in columns
    ]


def doubt_lines(*tables: Sequence[Column]) -> list[str]:
    """Explain the mark, if a table has one."""
    figures = (cell for table in tables for column in table if column.right for cell in column.cells)
    return [_SENTENCE] if any(cell.startswith(MARK) for cell in figures) else []


def _is_mostly_correction(seconds: float, seen: float) -> bool:
    return seconds < seen / 2


_BLOCKS = "▁▂▃▄▅▆▇█"
_LETTERS = {"forward": "f", "loss": "l", "backward": "b", "optimizer": "o"}
_SHORT = {"saved_activations": "activations", "optimizer_state": "optimizer"}


def memory_document(memory: MemoryProfile) -> Document:
    """Draw the live bytes over a step, with the phase below, and name the causes of the peak."""
    totals = [point.total_bytes for point in memory.points]
    peak = memory.peak
    causes = [(f.name.removesuffix("_bytes"), getattr(peak, f.name)) for f in fields(MemoryPoint) if f.name != "phase"]
    known = ", ".join(f"{_SHORT.get(name, name)} {format_bytes(size)}" for name, size in causes if size)
    said = [f"Peak {format_bytes(peak.total_bytes)} in {peak.phase}: {known}"]
    if memory.measured:
        measured = ", ".join(
            f"{one.phase} {format_bytes(one.peak_allocated_bytes)} (left {format_bytes(one.end_allocated_bytes)})"
            for one in memory.measured
        )
        said.append(f"Peaks of the allocator by phase: {measured}")
    span = f"{format_bytes(min(totals))} to {format_bytes(max(totals))}"
    return [
        Text(text=f"Memory over a step, {span} ({memory.method})", indent="  "),
        Verbatim(lines=lambda page: _drawn(memory, page.width), close=True),
        Notes(lines=said, first="", indent="  ", close=True),
    ]


def _drawn(memory: MemoryProfile, width: int) -> list[str]:
    points = _spread(memory.points, max(10, width - 2))
    low, high = (pick(point.total_bytes for point in points) for pick in (min, max))
    scale = (len(_BLOCKS) - 1) / max(1, high - low)
    line = "".join(_BLOCKS[round((point.total_bytes - low) * scale)] for point in points)
    phases = "".join(_LETTERS.get(point.phase, str(point.phase)[0]) for point in points)
    return [f"  {line}", f"  {phases}"]


def _spread(points: tuple[MemoryPoint, ...], width: int) -> list[MemoryPoint]:
    """Reduce points to a width: the highest of each stretch."""
    size = -(-len(points) // width)
    return [max(points[i : i + size], key=lambda p: p.total_bytes) for i in range(0, len(points), size)]


TOP_OPERATORS = 10


def operator_columns(profile: Profile) -> list[Column]:
    """Make the table of the most expensive operations; the others are one row, the last is the step."""
    top, rest = profile.operators[:TOP_OPERATORS], profile.operators[TOP_OPERATORS:]
    rows = list(top)
    if rest:
        host = sum(row.host_seconds or 0.0 for row in rest) if profile.clock == "device" else None
        rows.append(_summed(f"{len(rest)} others", rest, sum(row.seconds for row in rest), host))
    rows.append(_summed("step", profile.operators, profile.step_seconds, profile.host_step_seconds))
    doubts = [*(are_doubtful([row]) for row in top), *([are_doubtful(rest)] if rest else []), False]
    share = tuple(percent(row.seconds / profile.step_seconds) for row in rows)
    return [
        Column(name="operation", cells=tuple(operation_name(row.name) for row in rows), right=False, key=True),
        *marked(timed_columns("self", [row.seconds or None for row in rows]), doubts),
        *marked([Column(name="step", unit="%", cells=share)], doubts),
        Column(name="calls", cells=tuple(f"{row.calls:,.0f}" if row.calls else MISSING for row in rows), rank=1),
        *(timed_columns("host", [r.host_seconds for r in rows], rank=2) if profile.clock == "device" else []),
        *bytes_column("touched", [row.bytes_touched for row in rows], 2),
    ]


def _summed(name: str, rows: Sequence[OperatorCost], seconds: float, host_seconds: float | None) -> OperatorCost:
    return OperatorCost(
        name=name,
        calls=sum(row.calls for row in rows),
        seconds=seconds,
        profiled_seconds=0.0,
        host_seconds=host_seconds,
        bytes_touched=known_sum(row.bytes_touched for row in rows),
    )


def operation_name(name: str) -> str:
    """Shorten what the profiler calls the engine's work around a node."""
    prefix = "autograd::engine::evaluate_function: "
    return plain(f"engine: {name.removeprefix(prefix)}" if name.startswith(prefix) else name)


_OBVIOUS = (LOSS, OPTIMIZER, ZERO_GRAD)


def profile_document(profile: Profile, *, all_layers: bool = False) -> Document:
    """Make a whole profile, with a row for every layer or their tree folded."""
    groups = fold(profile.layers, None if all_layers else LIMIT)
    layers, operators = layer_columns(profile, groups), operator_columns(profile)
    return [
        Text(text=headline(profile)),
        Rows(columns=layers, total=True),
        Notes(lines=_legend(groups), indent="  "),
        Rows(columns=operators, total=True),
        Notes(lines=doubt_lines(layers, operators), indent="  "),
        *(memory_document(profile.memory) if profile.memory else ()),
        *(Notes(lines=lines, first="", indent="  ") for lines in _paragraphs(profile)),
    ]


def sentences(profile: Profile) -> list[str]:
    """Return all sentences on a profile."""
    return [line for lines in _paragraphs(profile) for line in lines]


def _paragraphs(profile: Profile) -> list[list[str]]:
    return [
        _device_lines(profile),
        _sync_lines(profile),
        _start_lines(profile),
        [sentence(WORDS[advice.kind], [advice]) for advice in profile.advice],
        [_trial_text(trial) for trial in profile.trials],
        _notes(profile),
    ]


def headline(profile: Profile) -> str:
    """Describe how long a step takes, with and without the profiler."""
    overhead = profile.overhead_fraction
    clock = "device" if profile.clock == "device" else "host"
    given = ""
    if overhead > 0:
        given = (
            "; the idle row is shorter by that"
            if clock == "device"
            else "; rows are corrected for that by the number of their events"
        )
    return (
        f"{plain(profile.cell.id)}: a step takes {format_seconds(profile.step_seconds)} (median of"
        f" {len(profile.steps_seconds):,} plain steps, {clock} clock). Under the profiler"
        f" {format_seconds(profile.profiled_step_seconds)}, {overhead * 100:+.1f} %{given}."
    )


_PHASES: dict[Phase | str, tuple[str, int]] = {Phase.FORWARD: ("fwd", 1), Phase.BACKWARD: ("bwd", 1)}
"""Names of columns with their ranks; a user's own phases may be many, and stand behind the counts."""


def layer_columns(profile: Profile, groups: Sequence[Group]) -> list[Column]:
    """Make the layers table; the last row is the step."""
    step = profile.step_seconds
    columns = [*groups, Group("step", profile.layers)]
    seconds = [group.seconds for group in columns]
    flops = [known_sum(layer.flops for layer in group.layers) for group in columns]
    touched = [known_sum(layer.bytes_touched for layer in group.layers) for group in columns]
    activations = [known_sum(layer.activation_bytes for layer in group.layers) for group in columns]
    intensity = [f / b if f and b else None for f, b in zip(flops, touched, strict=True)]
    rate = [_rate(group) for group in groups] + [flops[-1] / step if flops[-1] and step else None]
    doubts = [*(is_doubtful(group.layers) for group in groups), False]  # the step was measured
    share = tuple(percent(value / step if value else None) for value in seconds)
    types = tuple(plain(group.layers[0].type) if len(group.layers) == 1 else "" for group in columns)
    return [
        Column(name="layer", cells=tuple(plain(group.label) for group in columns), right=False, key=True),
        Column(name="type", cells=types, right=False, rank=7),
        *marked(timed_columns("time", [value or None for value in seconds]), doubts),
        *marked([Column(name="step", unit="%", cells=share)], doubts),
        *(column for phase in phases_of(profile.layers) for column in _phase_columns(phase, columns)),
        *counts_column("", flops, 2, "FLOPs"),
        *bytes_column("touched", touched, 4),
        *figure_column("FLOPs", intensity, 4, unit="/byte"),
        *counts_column("", rate, 5, "FLOP/s"),
        *bytes_column("activ.", activations, 6),
    ]


def _rate(group: Group) -> float | None:
    """Return the FLOP/s of a row; None if its time is doubtful."""
    flops, seconds = known_sum(layer.flops for layer in group.layers), group.seconds
    return flops / seconds if flops and seconds and not is_doubtful(group.layers) else None


def phases_of(layers: Iterable[ProfiledLayer]) -> list[Phase | str]:
    """Name the phases in which layers take time: the built-in ones, then those of a user's own step."""
    found = {cost.phase for layer in layers for cost in layer.costs if cost.seconds}
    return [*(phase for phase in Phase if phase in found), *sorted(found - set(Phase))]


def _phase_columns(phase: Phase | str, groups: Sequence[Group]) -> list[Column]:
    """Make the column of one phase; the last group is the step. Loss and optimizer are rows, not columns."""
    if phase in (Phase.LOSS, Phase.OPTIMIZER):
        return []
    short, rank = _PHASES.get(phase, (plain(phase), 3))
    seconds = [sum(layer.seconds_in(phase) for layer in group.layers) or None for group in groups]
    doubts = [*(is_doubtful(group.layers, phase) for group in groups[:-1]), False]
    return marked(timed_columns(short, seconds, rank=rank), doubts)


def _legend(groups: Sequence[Group]) -> list[str]:
    words = [
        f"{group.label} {MEANINGS[group.label]}"
        for group in groups
        if group.label in MEANINGS and group.label not in _OBVIOUS and group.seconds
    ]
    return ["; ".join(words)] if words else []


def _device_lines(profile: Profile) -> list[str]:
    """Describe how host and device share a step, and why the device was idle."""
    lines = []
    if profile.host_step_seconds is not None:
        share = percent(profile.host_step_seconds / profile.step_seconds)
        lines.append(
            f"Launching a step takes the host {format_seconds(profile.host_step_seconds)}, {share} % of the step."
        )
    for gap in profile.idle:
        where = f" before {plain(gap.before)} in {plain(gap.layer) or 'the model itself'}" if gap.before else ""
        lines.append(
            f"Idle, {gap.cause.value}: {gap.gaps:,.0f} gaps, {format_seconds(gap.seconds)} of a profiled step; the"
            f" longest {format_seconds(gap.longest_seconds)}{where}"
        )
    return lines


def _sync_lines(profile: Profile) -> list[str]:
    """List the lines that read a value."""
    lines = []
    for sync in profile.syncs:
        where = f"{plain(sync.file)}:{sync.line}" if sync.file else "in torch"
        code = f": {plain(sync.code)}" if sync.code else ""
        times = f" {sync.calls} times" if sync.calls > 1 else ""
        lines.append(f"Reads a value{times} in {sync.phase} ({plain(sync.operation)}), {where}{code}")
    return lines


def _start_lines(profile: Profile) -> list[str]:
    lines = []
    start = profile.start_up
    if start is not None:
        lines.append(
            f"Cold start {format_seconds(start.cold_seconds)}: build {format_seconds(start.build_seconds)}, first step"
            f" {format_seconds(start.first_step_seconds)}"
            f" ({significant(start.first_step_seconds / profile.step_seconds, 2)}x a steady one), second"
            f" {format_seconds(start.second_step_seconds)}."
        )
    compiled = profile.compilation
    if compiled is not None:
        again = f", {compiled.recompilations} compiled again in steps all alike" if compiled.recompilations else ""
        lines.append(
            f"Compiled into {counted(compiled.graphs, 'graph')}, {counted(len(compiled.breaks), 'break')}{again}."
        )
        for one in compiled.breaks:
            where = f"{plain(one.file)}:{one.line}: " if one.file else ""
            lines.append(f"  Break: {where}{plain(one.reason)}")
        if compiled.batch_recompilations is not None:
            batches = " and ".join(map(str, compiled.batches_tried))
            lines.append(
                f"Batches of {batches} made it compile {counted(compiled.batch_recompilations, 'graph')} more."
            )
    return lines


def _trial_text(trial: Trial) -> str:
    """Describe the effect of an option."""
    if trial.ratio is None or trial.base_seconds is None:
        return f"Tried {trial.option}: not measured: {plain(trial.reason or MISSING)}"
    known = "" if trial.low is None else f" ({significant(trial.low)} to {significant(trial.high or 0.0)})"
    verdict = "takes less time," if trial.has_helped else "takes more time," if trial.has_hurt else "no clear change,"
    return (
        f"Tried {trial.option}: {verdict} {significant(trial.ratio)}x per example{known}, from"
        f" {format_seconds(trial.base_seconds)} to {format_seconds(trial.tried_seconds)}; {trial.pairs} pairs of"
        " blocks in turn, in one process"
    )


def _notes(profile: Profile) -> list[str]:
    notes = [plain(note) for note in profile.notes]
    if profile.trace:
        notes.append(f"Trace: {profile.trace} ({profile.trace_note}); open it at ui.perfetto.dev")
    return notes


SHOWN = 12
SMALLEST_SHARE = 0.01
"""Share of the largest change; smaller changes are summed."""


def diff_document(diff: ProfileDiff) -> Document:
    """Make the rows that changed most; the last row of each table is the change of the step."""
    return [
        Text(text=_headline(diff)),
        Rows(columns=_columns("layer", diff.layers, diff, with_flops=True), total=True),
        Rows(columns=_columns("operation", diff.operators, diff, with_flops=False), total=True),
        Notes(lines=[f"Doubt: {plain(doubt)}" for doubt in diff.doubts], first="", indent="  "),
    ]


def _headline(diff: ProfileDiff) -> str:
    before, after = plain(diff.before.id), plain(diff.after.id)
    cells = before if before == after else f"{before} to {after}"
    share = diff.seconds / diff.before_seconds
    words = (
        f"{cells}: a step took {format_seconds(diff.before_seconds)} and takes {format_seconds(diff.after_seconds)},"
        f" {share * 100:+.1f} %."
    )
    if abs(diff.seconds) <= diff.noise_seconds:
        words += f" Steps of one run spread by {format_seconds(diff.noise_seconds)}: this change is within the noise."
    elif diff.layers:
        words += f" Most of it: {_name(diff.layers[0])}."
    return words + " Two runs of unchanged code differ too; only `bench ab` judges."


def _columns(title: str, changes: Sequence[Change], diff: ProfileDiff, *, with_flops: bool) -> list[Column]:
    least = SMALLEST_SHARE * max((abs(change.seconds) for change in changes), default=0.0)
    top = [change for change in changes if abs(change.seconds) > least][:SHOWN]
    rest = changes[len(top) :]  # they are sorted
    rows = list(top)
    if rest:
        before, after = sum(change.before or 0.0 for change in rest), sum(change.after or 0.0 for change in rest)
        flops = sum(change.flops for change in rest)
        rows.append(Change(name=f"{len(rest)} others", before=before, after=after, after_flops=flops))
    flops = sum(row.flops for row in rows)
    rows.append(Change(name="step", before=diff.before_seconds, after=diff.after_seconds, after_flops=flops))
    total = diff.seconds
    shares = tuple(f"{row.seconds / total * 100:z.0f}" if total else "-" for row in rows)
    columns = [
        Column(name=title, cells=tuple(map(_name, rows)), right=False, key=True),
        *timed_columns("before", [row.before for row in rows]),
        *timed_columns("after", [row.after for row in rows]),
        Column(name="change", cells=tuple(_signed(row.seconds) for row in rows)),
        Column(name="share", unit="%", cells=shares, rank=1),
    ]
    if with_flops and any(row.flops for row in rows):
        cells = tuple(f"{'+' if r.flops > 0 else '-'}{format_count(abs(r.flops))}" if r.flops else "0" for r in rows)
        columns.append(Column(name="FLOPs", cells=cells, rank=2))
    return columns


def _name(change: Change) -> str:
    name = operation_name(change.name) or "(the model itself)"
    if change.before is None:
        return f"{name} (added)"
    return f"{name} (removed)" if change.after is None else name


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{format_seconds(abs(seconds))}"
