"""A profile in words and tables of 80 columns: layers, operations, device, start-up, memory, what to try."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.core.profile import LOSS, MEANINGS, OPTIMIZER, ZERO_GRAD, Profile, Trial
from bench.core.record import Advice, Phase
from bench.core.units import format_seconds
from bench.report.advice import WORDS
from bench.report.columns import MISSING, bytes_column, counts_column, figure_column, timed_columns
from bench.report.facts import facts_text
from bench.report.figures import percent, plain, significant
from bench.report.layout import Column, Page, render
from bench.report.profile_doubt import doubt_lines, is_doubtful, marked
from bench.report.profile_memory import memory_text
from bench.report.profile_operators import operator_columns
from bench.report.profile_tree import LIMIT, Group, fold

_OBVIOUS = (LOSS, OPTIMIZER, ZERO_GRAD)


def profile_report(
    profile: Profile,
    *,
    all_layers: bool = False,
    width: int = 80,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """Write a whole profile.

    Args:
        profile: What was measured.
        all_layers: A row for every layer instead of a tree that is folded to what matters.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    groups = fold(profile.layers, None if all_layers else LIMIT)
    layers, operators = layer_columns(profile, groups), operator_columns(profile)
    parts = [
        page.wrap(headline(profile)),
        render(layers, page, total=True),
        "\n".join(page.wrap(line, "  ") for line in _legend(groups)),
        render(operators, page, total=True),
        "\n".join(page.wrap(line, "  ") for line in doubt_lines(layers, operators)),
        memory_text(profile.memory, page) if profile.memory else "",
        *("\n".join(page.wrap(line, "  ", "") for line in lines) for lines in _paragraphs(profile)),
    ]
    return "\n\n".join(part for part in parts if part)


def sentences(profile: Profile) -> list[str]:
    """Return everything that is said of a profile besides its tables."""
    return [line for lines in _paragraphs(profile) for line in lines]


def _paragraphs(profile: Profile) -> list[list[str]]:
    return [
        _device_lines(profile),
        _sync_lines(profile),
        _start_lines(profile),
        [_advice_text(advice) for advice in profile.advice],
        [_trial_text(trial) for trial in profile.trials],
        _notes(profile),
    ]


def headline(profile: Profile) -> str:
    """Say how long a step takes, with and without the profiler."""
    overhead = profile.overhead_fraction
    clock = "device" if profile.clock == "device" else "host"
    given = ""
    if overhead > 0:
        given = (
            "; the idle row gives way to what it added"
            if clock == "device"
            else "; rows are without that, taken off by the events in them"
        )
    return (
        f"{plain(profile.cell.id)}: a step takes {format_seconds(profile.step_seconds)} (median of"
        f" {len(profile.steps_seconds):,} plain steps, {clock} clock). Under the profiler"
        f" {format_seconds(profile.profiled_step_seconds)}, {overhead * 100:+.1f} %{given}."
    )


def layer_columns(profile: Profile, groups: Sequence[Group]) -> list[Column]:
    """Make the layers table; the last row is the step."""
    step = profile.step_seconds
    columns = [*groups, Group("step", profile.layers)]
    seconds = [group.seconds for group in columns]
    forward, backward = ([_phase(group, phase) for group in columns] for phase in (Phase.FORWARD, Phase.BACKWARD))
    flops = [_sum(layer.flops for layer in group.layers) for group in columns]
    touched = [_sum(layer.bytes_touched for layer in group.layers) for group in columns]
    activations = [_sum(layer.activation_bytes for layer in group.layers) for group in columns]
    intensity = [f / b if f and b else None for f, b in zip(flops, touched, strict=True)]
    rate = [_rate(group) for group in groups] + [flops[-1] / step if flops[-1] and step else None]
    none = [None] * len(columns)
    doubts = [*(is_doubtful(group.layers) for group in groups), False]  # the step was measured
    of_phase = {
        phase: [*(is_doubtful(group.layers, phase) for group in groups), False]
        for phase in (Phase.FORWARD, Phase.BACKWARD)
    }
    share = tuple(percent(value / step if value else None) for value in seconds)
    types = tuple(plain(group.layers[0].type) if len(group.layers) == 1 else "" for group in columns)
    return [
        Column(header="layer", cells=tuple(plain(group.label) for group in columns), right=False, key=True),
        Column(header="type", cells=types, right=False, rank=7),
        *marked(timed_columns("time", [value or None for value in seconds], none), doubts),
        *marked([Column(header="step %", cells=share)], doubts),
        *marked(timed_columns("fwd", forward, none, 1), of_phase[Phase.FORWARD]),
        *marked(timed_columns("bwd", backward, none, 1), of_phase[Phase.BACKWARD]),
        *counts_column("", flops, 2, "FLOPs"),
        *bytes_column("touched", touched, 3),
        *figure_column("FLOPs /byte", intensity, 3),
        *counts_column("", rate, 5, "FLOP/s"),
        *bytes_column("activ.", activations, 6),
    ]


def _rate(group: Group) -> float | None:
    """FLOP/s of a row; None where its time is doubtful."""
    flops, seconds = _sum(layer.flops for layer in group.layers), group.seconds
    return flops / seconds if flops and seconds and not is_doubtful(group.layers) else None


def _phase(group: Group, phase: Phase) -> float | None:
    return sum(layer.seconds_in(phase) for layer in group.layers) or None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _legend(groups: Sequence[Group]) -> list[str]:
    words = [
        f"{group.label} {MEANINGS[group.label]}"
        for group in groups
        if group.label in MEANINGS and group.label not in _OBVIOUS and group.seconds
    ]
    return ["; ".join(words)] if words else []


def _device_lines(profile: Profile) -> list[str]:
    """Say how host and device share a step, and why the device was idle."""
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
        lines.append(f"Reads a value{times} in {sync.phase.value} ({plain(sync.operation)}), {where}{code}")
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
            f"Compiled into {_plural(compiled.graphs, 'graph')}, {_plural(len(compiled.breaks), 'break')}{again}."
        )
        for one in compiled.breaks:
            where = f"{plain(one.file)}:{one.line}: " if one.file else ""
            lines.append(f"  Break: {where}{plain(one.reason)}")
        if compiled.batch_recompilations is not None:
            batches = " and ".join(map(str, compiled.batches_tried))
            lines.append(
                f"Batches of {batches} made it compile {_plural(compiled.batch_recompilations, 'graph')} more."
            )
    return lines


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _advice_text(advice: Advice) -> str:
    words = WORDS[advice.kind]
    facts = facts_text(advice.kind, [advice.facts])
    detail = f" ({facts})" if facts else ""
    return f"{words.title}{detail}: {words.meaning}. {words.remedy}"


def _trial_text(trial: Trial) -> str:
    """Say what an option brought."""
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
